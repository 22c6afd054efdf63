(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i32.const 8
  i32.add
  local.set $n7
  local.get $n7
  i32.load offset=4
  local.set $n8
  local.get $n8
  i64.extend_i32_u
  return
  unreachable)
