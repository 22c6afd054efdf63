(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i32.const 1
  i32.store8 offset=0
  local.get $n7
  i64.const -1
  i64.store offset=8
  i32.const 0
  local.set $n8
  local.get $n8
  i64.extend_i32_u
  return
  unreachable)
