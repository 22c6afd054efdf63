(func $f0
  i32.const 8388608
  local.set $n7
  i32.const 0
  local.set $n8
  local.get $n8
  i64.extend_i32_u
  local.set $w9
  loop
    block
      local.get $n7
      i32.eqz
      local.get $n7
      local.get $n7
      i32.const 0
      i32.ne
      i32.sub
      local.set $n7
      br_if 0
      local.get $w9
      i64.const 1
      i64.add
      local.set $w9
      local.get $w9
      i64.const 5
      i64.lt_u
      br_if 1
      br 0
    end
    local.get $w9
    return
  end
  unreachable)
