(func $f0
  i32.const 5
  local.set $n7
  local.get $sp
  local.get $base
  i32.load offset=152
  i32.ge_s
  if
    i32.const 4
    local.get $sp
    i32.const 2
    i32.const 0
    i32.const 0
    call $fault
    unreachable
  end
  local.get $n7
  i64.extend_i32_u
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
  local.get $w8
  i64.const 1
  i64.add
  local.set $w8
  local.get $w8
  return
  unreachable)

(func $f1
  local.get $r1
  local.set $w7
  local.get $w7
  local.get $r1
  i64.add
  local.set $w7
  local.get $w7
  return
  unreachable)
