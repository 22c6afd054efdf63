(func $f0
  local.get $r1
  local.set $w7
  i32.const 5
  local.set $n8
  local.get $w7
  local.get $n8
  i64.extend_i32_u
  i64.shl
  local.set $w7
  local.get $w7
  local.get $n8
  i64.extend_i32_u
  i64.shr_s
  local.set $w7
  local.get $w7
  i32.wrap_i64
  local.get $n8
  i32.shr_u
  local.set $n9
  local.get $n9
  i64.extend_i32_u
  return
  unreachable)
