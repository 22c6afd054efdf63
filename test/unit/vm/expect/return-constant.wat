(func $f0
  i32.const 7
  local.set $n7
  local.get $n7
  i64.extend_i32_u
  return
  unreachable)
