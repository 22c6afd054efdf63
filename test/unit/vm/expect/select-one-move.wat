(func $f0
  i32.const 1
  local.set $n7
  local.get $r1
  i64.const 10
  i64.gt_u
  local.set $n8
  local.get $n7
  local.set $n9
  i32.const 2
  local.set $n7
  local.get $n9
  local.get $n7
  local.get $n8
  select
  local.set $n7
  local.get $n7
  i64.extend_i32_u
  return
  unreachable)
