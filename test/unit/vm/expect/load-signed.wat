(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i64.load8_s offset=0
  local.set $r2
  local.get $n7
  i64.load16_s offset=2
  local.set $r3
  local.get $n7
  i64.load32_s offset=4
  local.set $w8
  local.get $w8
  local.get $r2
  i64.add
  local.set $w8
  local.get $w8
  local.get $r3
  i64.add
  local.set $w8
  local.get $w8
  return
  unreachable)
