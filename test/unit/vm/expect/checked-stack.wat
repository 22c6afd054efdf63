(func $f0
  local.get $sp
  i32.const 512
  i32.sub
  local.set $n10
  local.get $sp
  i64.extend_i32_u
  i64.const -131391639519232
  i64.or
  local.set $w7
  local.get $base
  local.get $sp
  local.get $base
  i32.load offset=164
  i32.sub
  i32.const 640
  i32.div_u
  i32.const 2
  i32.shl
  i32.add
  i32.const 512
  i32.store offset=168
  local.get $w7
  i64.const 512
  i64.sub
  local.set $w8
  i64.const 505
  local.set $w9
  local.get $n10
  i64.const 5
  i64.store offset=504
  local.get $n10
  i64.load offset=504
  local.set $w11
  local.get $w11
  return
  unreachable)
