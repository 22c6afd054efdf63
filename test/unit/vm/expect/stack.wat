(func $f0
  local.get $sp
  i32.const -8
  i32.add
  local.get $r1
  i64.store offset=0
  local.get $sp
  local.set $n7
  local.get $n7
  i32.const -8
  i32.add
  local.set $n7
  local.get $n7
  i64.load offset=0
  local.set $w8
  local.get $w8
  return
  unreachable)
