(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i32.load8_u offset=0
  local.set $n8
  local.get $n7
  i32.load16_u offset=2
  local.set $n9
  local.get $n7
  i32.load offset=4
  local.set $n10
  local.get $n7
  i64.load offset=8
  local.set $w11
  local.get $w11
  local.get $n8
  i64.extend_i32_u
  i64.add
  local.set $w11
  local.get $w11
  local.get $n9
  i64.extend_i32_u
  i64.add
  local.set $w11
  local.get $w11
  local.get $n10
  i64.extend_i32_u
  i64.add
  local.set $w11
  local.get $w11
  return
  unreachable)
