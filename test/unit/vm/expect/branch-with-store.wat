(func $f0
  block
    i32.const 1
    local.set $n7
    local.get $r1
    i64.eqz
    br_if 0
    local.get $r1
    i32.wrap_i64
    local.set $n8
    local.get $n8
    i32.const 5
    i32.store8 offset=0
    br 0
  end
  local.get $n7
  i64.extend_i32_u
  return
  unreachable)
