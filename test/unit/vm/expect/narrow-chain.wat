(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $r2
  i32.wrap_i64
  local.set $n8
  local.get $n7
  local.set $n9
  local.get $n9
  local.get $n8
  i32.add
  local.set $n9
  local.get $n9
  i32.const 255
  i32.xor
  local.set $n9
  local.get $n9
  i32.const 3
  i32.shl
  local.set $n9
  local.get $n9
  i64.extend_i32_u
  return
  unreachable)
