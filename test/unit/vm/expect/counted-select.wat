(func $f0
  local.get $sp
  i64.extend_i32_u
  i64.const -131391639519232
  i64.or
  local.set $w8
  local.get $base
  i64.load offset=8
  local.set $w7
  local.get $w7
  i64.const 6
  i64.lt_s
  if
    local.get $base
    local.get $w7
    i64.store offset=8
    local.get $base
    local.get $r1
    i64.store offset=56
    local.get $base
    local.get $w8
    i64.store offset=128
    local.get $base
    i32.const 8388608
    i32.store offset=40
    i32.const 0
    local.get $sp
    call $resume
    local.get $base
    i64.load offset=0
    return
  end
  local.get $w7
  i64.const 3
  i64.sub
  local.set $w7
  i32.const 1
  local.set $n9
  local.get $r1
  i64.const 10
  i64.gt_u
  local.set $n10
  local.get $w7
  local.get $r1
  i64.const 10
  i64.le_u
  i64.extend_i32_u
  i64.const 2
  i64.mul
  i64.sub
  local.set $w7
  local.get $n9
  i64.extend_i32_u
  local.set $w11
  i32.const 2
  local.set $n9
  local.get $n9
  i64.extend_i32_u
  local.get $r1
  i64.add
  local.set $w12
  local.get $w11
  local.get $w12
  local.get $n10
  select
  local.set $w12
  local.get $base
  local.get $w7
  i64.store offset=8
  local.get $w12
  return
  unreachable)
