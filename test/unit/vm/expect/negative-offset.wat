(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i32.const 16
  i32.add
  local.set $n7
  local.get $n7
  i32.const -8
  i32.add
  i64.load offset=0
  local.set $w8
  local.get $w8
  return
  unreachable)
