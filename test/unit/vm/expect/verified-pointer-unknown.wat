(func $f0
  block
    local.get $r1
    i32.wrap_i64
    i32.load8_u offset=0
    local.set $n7
    local.get $r1
    local.set $r2
    local.get $r2
    local.get $n7
    i64.extend_i32_u
    i64.add
    local.set $r2
    local.get $r2
    local.get $r1
    i64.eq
    br_if 0
    local.get $r1
    i32.wrap_i64
    i64.load offset=16
    local.set $r3
    local.get $r3
    local.get $r1
    i64.gt_u
    br_if 0
    i32.const 1
    local.set $n7
    local.get $n7
    i64.extend_i32_u
    return
  end
  i32.const 2
  local.set $n7
  local.get $n7
  i64.extend_i32_u
  return
  unreachable)
