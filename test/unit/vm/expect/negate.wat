(func $f0
  local.get $r1
  local.set $w7
  i64.const 0
  local.get $w7
  i64.sub
  local.set $w7
  local.get $r1
  i32.wrap_i64
  local.set $n8
  i32.const 0
  local.get $n8
  i32.sub
  local.set $n8
  local.get $w7
  local.get $n8
  i64.extend_i32_u
  i64.add
  local.set $w7
  local.get $w7
  return
  unreachable)
