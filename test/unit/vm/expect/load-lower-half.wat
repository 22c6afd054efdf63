(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i32.load offset=0
  local.set $n8
  local.get $n8
  local.set $n9
  local.get $n9
  i64.extend_i32_u
  return
  unreachable)
