(func $f0
  i32.const 1
  local.set $n7
  local.get $r1
  i32.wrap_i64
  local.set $n8
  local.get $n8
  i32.const 7
  i32.and
  if
    i32.const 4
    local.get $sp
    i32.const 2049
    local.get $n8
    local.get $r1
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    call $fault
    unreachable
  end
  local.get $n8
  i64.load offset=0
  local.set $w9
  local.get $n8
  local.get $w9
  local.get $n7
  i64.extend_i32_u
  i64.add
  i64.store offset=0
  local.get $r1
  i32.wrap_i64
  i32.const 8
  i32.add
  local.set $n8
  local.get $n8
  i32.const 7
  i32.and
  if
    i32.const 8
    local.get $sp
    i32.const 2049
    local.get $n8
    local.get $r1
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    call $fault
    unreachable
  end
  local.get $n8
  i64.load offset=0
  local.set $w9
  local.get $n8
  local.get $w9
  local.get $n7
  i64.extend_i32_u
  i64.add
  i64.store offset=0
  local.get $w9
  local.set $r2
  i32.const 9
  local.set $n10
  local.get $r1
  i32.wrap_i64
  i32.const 16
  i32.add
  local.set $n8
  local.get $n8
  i32.const 3
  i32.and
  if
    i32.const 16
    local.get $sp
    i32.const 1025
    local.get $n8
    local.get $r1
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    call $fault
    unreachable
  end
  local.get $n8
  i32.load offset=0
  local.set $n11
  local.get $n8
  local.get $r2
  i32.wrap_i64
  local.get $n11
  local.get $n11
  local.get $n10
  i32.eq
  select
  i32.store offset=0
  local.get $n11
  i64.extend_i32_u
  local.set $w12
  local.get $w12
  return
  unreachable)
