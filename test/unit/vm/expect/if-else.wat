(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  block
    local.get $n7
    i32.load8_u offset=0
    local.set $n8
    local.get $n8
    i32.const 9
    i32.eq
    if
      local.get $n7
      i32.const 2
      i32.store8 offset=2
      br 1
    end
    local.get $n7
    i32.const 1
    i32.store8 offset=1
    br 0
  end
  local.get $n7
  i32.load8_u offset=1
  local.set $n9
  local.get $n9
  i64.extend_i32_u
  return
  unreachable)
