(func $f0
  global.get $count0
  i32.const 1
  i32.add
  global.set $count0
  local.get $r1
  i32.wrap_i64
  local.set $n7
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
  local.set $w8
  global.get $count1
  i32.const 1
  i32.add
  global.set $count1
  local.get $w8
  i64.const 1
  i64.add
  local.set $w8
  local.get $w8
  local.set $r1
  local.get $sp
  local.get $base
  i32.load offset=152
  i32.ge_s
  if
    i32.const 16
    local.get $sp
    i32.const 2
    i32.const 0
    i32.const 0
    call $fault
    unreachable
  end
  local.get $r1
  local.get $r2
  local.get $r3
  local.get $r4
  local.get $r5
  local.get $sp
  i32.const 640
  i32.add
  local.get $base
  call $f1
  local.set $w8
  global.get $count2
  i32.const 1
  i32.add
  global.set $count2
  local.get $w8
  return
  unreachable)

(func $f1
  global.get $count3
  i32.const 1
  i32.add
  global.set $count3
  local.get $r1
  local.set $w7
  local.get $w7
  return
  unreachable)
