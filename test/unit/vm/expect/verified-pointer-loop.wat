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
  block
    block
      local.get $n10
      local.get $n9
      i32.const 1
      i32.add
      i32.sub
      i64.extend_i32_u
      local.set $w12
      local.get $w12
      i64.const 2147483647
      i64.ge_u
      br_if 0
      local.get $w12
      i32.wrap_i64
      i32.const 1
      i32.add
      local.set $n13
      block
        local.get $n13
        i32.const 4
        i32.lt_u
        br_if 0
        loop
          local.get $n9
          i32.load8_u offset=0
          local.set $n14
          local.get $w11
          local.get $n14
          i64.extend_i32_u
          i64.add
          local.set $w11
          local.get $n9
          i32.load8_u offset=1
          local.set $n14
          local.get $w11
          local.get $n14
          i64.extend_i32_u
          i64.add
          local.set $w11
          local.get $n9
          i32.load8_u offset=2
          local.set $n14
          local.get $w11
          local.get $n14
          i64.extend_i32_u
          i64.add
          local.set $w11
          local.get $n9
          i32.load8_u offset=3
          local.set $n14
          local.get $w11
          local.get $n14
          i64.extend_i32_u
          i64.add
          local.set $w11
          local.get $n9
          i32.const 4
          i32.add
          local.set $n9
          local.get $n13
          i32.const 4
          i32.sub
          local.tee $n13
          i32.const 4
          i32.ge_u
          br_if 0
        end
        local.get $n13
        i32.eqz
        if
          br 3
        end
      end
      loop
        local.get $n9
        i32.load8_u offset=0
        local.set $n14
        local.get $w11
        local.get $n14
        i64.extend_i32_u
        i64.add
        local.set $w11
        local.get $n9
        i32.const 1
        i32.add
        local.set $n9
        local.get $n13
        i32.const 1
        i32.sub
        local.tee $n13
        br_if 0
      end
      br 1
    end
    loop
      local.get $n9
      i32.load8_u offset=0
      local.set $n14
      local.get $w11
      local.get $n14
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
      br 1
    end
  end
  local.get $w11
  return
  unreachable)
