(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  local.set $n8
  local.get $n8
  i64.extend_i32_u
  i64.const 40
  i64.shl
  local.set $w9
  local.get $w9
  i64.const 33
  i64.shr_u
  i32.wrap_i64
  local.set $n8
  local.get $n8
  i32.const 2
  i32.shr_u
  local.set $n8
  local.get $n8
  i64.extend_i32_u
  return
  unreachable)
