(func $f0
  local.get $base
  local.get $r1
  i64.store offset=56
  local.get $base
  local.get $r2
  i64.store offset=64
  local.get $base
  local.get $r3
  i64.store offset=72
  local.get $base
  local.get $r4
  i64.store offset=80
  local.get $base
  local.get $r5
  i64.store offset=88
  i32.const 0
  i32.const 77
  local.get $sp
  call $kfunc
  i64.extend_i32_u
  local.get $base
  i64.load32_u offset=4
  i64.const 32
  i64.shl
  i64.or
  local.set $w7
  local.get $w7
  return
  unreachable)
