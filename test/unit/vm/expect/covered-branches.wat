(func $f0
  block
    global.get $count0
    i32.const 1
    i32.add
    global.set $count0
    i32.const 1
    local.set $n7
    local.get $r1
    i64.eqz
    br_if 0
    global.get $count1
    i32.const 1
    i32.add
    global.set $count1
    i32.const 2
    local.set $n7
    br 0
  end
  global.get $count2
  i32.const 1
  i32.add
  global.set $count2
  local.get $n7
  i64.extend_i32_u
  i64.const 3
  i64.add
  local.set $w8
  local.get $w8
  return
  unreachable)
