(func $f0
  i32.const 0
  i32.const 77
  local.get $sp
  local.get $r1
  i32.wrap_i64
  local.get $r1
  i64.const 32
  i64.shr_u
  i32.wrap_i64
  local.get $r2
  i32.wrap_i64
  local.get $r2
  i64.const 32
  i64.shr_u
  i32.wrap_i64
  local.get $r3
  i32.wrap_i64
  local.get $r3
  i64.const 32
  i64.shr_u
  i32.wrap_i64
  local.get $r4
  i32.wrap_i64
  local.get $r4
  i64.const 32
  i64.shr_u
  i32.wrap_i64
  local.get $r5
  i32.wrap_i64
  local.get $r5
  i64.const 32
  i64.shr_u
  i32.wrap_i64
  call $kfunc
  i64.extend_i32_u
  local.get $base
  i64.load32_u offset=68
  i64.const 32
  i64.shl
  i64.or
  local.set $w7
  local.get $w7
  return
  unreachable)
