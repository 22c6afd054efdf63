(func $f0
  global.get $count0
  i32.const 1
  i32.add
  global.set $count0
  i32.const 0
  local.set $n7
  i32.const 10
  local.set $n8
  local.get $n7
  i64.extend_i32_u
  local.set $w9
  local.get $n8
  i64.extend_i32_u
  local.set $r2
  loop
    global.get $count1
    i32.const 1
    i32.add
    global.set $count1
    local.get $w9
    local.get $r2
    i64.add
    local.set $w9
    local.get $r2
    i64.const -1
    i64.add
    local.set $r2
    local.get $r2
    i64.const 0
    i64.ne
    br_if 0
    global.get $count2
    i32.const 1
    i32.add
    global.set $count2
    local.get $w9
    return
  end
  unreachable)
