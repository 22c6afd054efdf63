(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  block
    local.get $n7
    i32.load offset=0
    local.set $n8
    i32.const 1
    local.set $n9
    local.get $n8
    i32.const 100
    i32.lt_u
    br_if 0
    local.get $n7
    i32.const 0
    i32.store offset=0
    br 0
  end
  local.get $n9
  i64.extend_i32_u
  return
  unreachable)
