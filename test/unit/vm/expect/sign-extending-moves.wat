(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i32.extend8_s
  local.set $n8
  local.get $n7
  i32.extend16_s
  local.set $n9
  local.get $n7
  local.set $n10
  local.get $n8
  local.get $n9
  i32.add
  local.set $n8
  local.get $n8
  local.get $n10
  i32.add
  local.set $n8
  local.get $n8
  i32.extend8_s
  local.set $n8
  local.get $n8
  i64.extend_i32_u
  return
  unreachable)
