(func $f0
  i32.const 4
  local.set $n7
  i32.const 1
  local.set $n8
  i32.const 2
  local.set $n9
  i32.const 3
  local.set $n10
  i32.const 4
  local.set $n11
  i32.const 5
  local.set $n12
  local.get $base
  local.get $n8
  i64.extend_i32_u
  i64.store offset=56
  local.get $base
  local.get $n9
  i64.extend_i32_u
  i64.store offset=64
  local.get $base
  local.get $n10
  i64.extend_i32_u
  i64.store offset=72
  local.get $base
  local.get $n11
  i64.extend_i32_u
  i64.store offset=80
  local.get $base
  local.get $n12
  i64.extend_i32_u
  i64.store offset=88
  i32.const 24
  i32.const 1
  local.get $sp
  call $helper
  i64.extend_i32_u
  local.get $base
  i64.load32_u offset=4
  i64.const 32
  i64.shl
  i64.or
  local.set $w13
  local.get $w13
  local.get $n7
  i64.extend_i32_u
  i64.add
  local.set $w13
  local.get $w13
  return
  unreachable)
