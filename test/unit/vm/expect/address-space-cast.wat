(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  local.tee $n8
  i64.extend_i32_u
  i64.const 0
  i64.const 0
  local.get $n8
  select
  i64.or
  local.set $w9
  local.get $w9
  i32.wrap_i64
  local.set $n10
  local.get $n10
  i64.extend_i32_u
  return
  unreachable)
