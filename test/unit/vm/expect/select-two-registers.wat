(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  i32.const 0
  local.set $n8
  local.get $n7
  i32.load offset=0
  local.set $n9
  local.get $n9
  i32.const 65535
  i32.le_u
  local.set $n10
  local.get $n9
  local.set $n11
  local.get $n8
  i64.extend_i32_u
  local.set $w12
  local.get $n9
  i32.const 16
  i32.shr_u
  local.set $n9
  local.get $n8
  i64.extend_i32_u
  i64.const 16
  i64.add
  local.set $w13
  local.get $n11
  local.get $n9
  local.get $n10
  select
  local.set $n9
  local.get $w12
  local.get $w13
  local.get $n10
  select
  local.set $w13
  local.get $w13
  local.get $n9
  i64.extend_i32_u
  i64.add
  local.set $w13
  local.get $w13
  return
  unreachable)
