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
  i64.const 5
  i64.lt_s
  if
    local.get $base
    local.get $w7
    i64.store offset=8
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
  i64.const 4
  i64.sub
  local.set $w7
  i32.const 1
  local.set $n9
  local.get $base
  local.get $w7
  i64.const 2
  i64.add
  i64.store offset=8
  local.get $base
  local.get $n9
  i64.extend_i32_u
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
  i32.const 4
  i32.const 1
  local.get $sp
  call $helper
  i64.extend_i32_u
  local.get $base
  i64.load32_u offset=4
  i64.const 32
  i64.shl
  i64.or
  local.set $w10
  local.get $base
  i64.load offset=8
  i64.const 2
  i64.sub
  local.set $w7
  local.get $w7
  i64.const 5
  i64.lt_s
  if
    local.get $base
    local.get $w7
    i64.const 2
    i64.add
    i64.store offset=8
    local.get $base
    local.get $w10
    i64.store offset=48
    local.get $base
    local.get $w8
    i64.store offset=128
    local.get $base
    i32.const 8388608
    i32.store offset=40
    i32.const 8
    local.get $sp
    call $resume
    local.get $base
    i64.load offset=0
    return
  end
  local.get $w10
  i64.const 1
  i64.add
  local.set $w10
  local.get $base
  local.get $w7
  i64.store offset=8
  local.get $w10
  return
  unreachable)
