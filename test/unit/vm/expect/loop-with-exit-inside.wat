(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  i32.const 0
  local.set $n8
  i32.const 10
  local.set $n9
  local.get $n9
  i64.extend_i32_u
  local.set $r2
  loop
    local.get $n7
    i32.load8_u offset=0
    local.set $n10
    local.get $n10
    i64.extend_i32_u
    local.get $r2
    i64.eq
    if
      i32.const 1
      local.set $n8
      local.get $n8
      i64.extend_i32_u
      return
    end
    local.get $r2
    i64.const -1
    i64.add
    local.set $r2
    local.get $r2
    i64.const 0
    i64.ne
    br_if 0
    local.get $n8
    i64.extend_i32_u
    return
  end
  unreachable)
