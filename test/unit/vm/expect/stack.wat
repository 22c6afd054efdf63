(func $f0
  local.get $sp
  i32.const 512
  i32.sub
  local.set $n7
  local.get $n7
  local.get $r1
  i64.store offset=504
  local.get $sp
  local.set $n8
  local.get $n8
  i32.const -8
  i32.add
  local.set $n8
  local.get $n8
  i64.load offset=0
  local.set $w9
  local.get $w9
  return
  unreachable)
