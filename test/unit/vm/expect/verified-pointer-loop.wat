(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i32.load8_u offset=0
  local.set $n8
  local.get $n7
  local.set $n9
  local.get $n9
  i32.const 8
  i32.add
  local.set $n9
  local.get $n7
  local.set $n10
  local.get $n10
  i32.const 40
  i32.add
  local.set $n10
  local.get $n8
  i64.extend_i32_u
  local.set $w11
  loop
    local.get $n9
    i32.load8_u offset=0
    local.set $n12
    local.get $w11
    local.get $n12
    i64.extend_i32_u
    i64.add
    local.set $w11
    local.get $n9
    i32.const 1
    i32.add
    local.set $n9
    local.get $n9
    local.get $n10
    i32.ne
    br_if 0
    local.get $w11
    return
  end
  unreachable)
