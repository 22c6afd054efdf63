(func $f0
  i32.const 0
  local.set $n7
  i32.const 3
  local.set $n8
  local.get $n7
  i64.extend_i32_u
  local.set $w9
  local.get $n8
  i64.extend_i32_u
  local.set $r2
  loop
    i32.const 4
    local.set $n10
    local.get $n10
    i64.extend_i32_u
    local.set $r3
    loop
      local.get $w9
      local.get $r3
      i64.add
      local.set $w9
      local.get $r3
      i64.const 1
      i64.sub
      local.set $r3
      local.get $r3
      i64.const 0
      i64.ne
      br_if 0
      local.get $r2
      i64.const 1
      i64.sub
      local.set $r2
      local.get $r2
      i64.const 0
      i64.ne
      br_if 1
      local.get $w9
      return
    end
  end
  unreachable)
