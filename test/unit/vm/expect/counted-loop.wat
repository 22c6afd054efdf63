(func $f0
  local.get $sp
  i64.extend_i32_u
  i64.const -131391639519232
  i64.or
  local.set $w8
  local.get $base
  i64.load offset=8
  local.set $w7
  local.get $w7
  i64.const 7
  i64.lt_s
  if
    local.get $base
    local.get $w7
    i64.store offset=8
    local.get $base
    local.get $w8
    i64.store offset=128
    local.get $base
    i32.const 8388608
    i32.store offset=40
    i32.const 0
    local.get $sp
    call $resume
    local.get $base
    i64.load offset=0
    return
  end
  local.get $w7
  i64.const 2
  i64.sub
  local.set $w7
  i32.const 0
  local.set $n9
  i32.const 10
  local.set $n10
  local.get $n9
  i64.extend_i32_u
  local.set $w11
  local.get $n10
  i64.extend_i32_u
  local.set $r2
  block
    block
      local.get $r2
      i64.const -1
      i64.add
      i64.const 0
      i64.sub
      local.set $w12
      local.get $w12
      i64.const 2147483647
      i64.ge_u
      br_if 0
      local.get $w7
      local.get $w12
      i64.const 3
      i64.mul
      i64.sub
      i64.const 3
      i64.sub
      local.tee $w13
      i64.const 7
      i64.lt_s
      br_if 0
      local.get $w13
      local.set $w7
      local.get $w12
      i32.wrap_i64
      i32.const 1
      i32.add
      local.set $n14
      block
        local.get $n14
        i32.const 4
        i32.lt_u
        br_if 0
        loop
          local.get $w11
          local.get $r2
          i64.add
          local.set $w11
          local.get $r2
          i64.const -1
          i64.add
          local.set $r2
          local.get $w11
          local.get $r2
          i64.add
          local.set $w11
          local.get $r2
          i64.const -1
          i64.add
          local.set $r2
          local.get $w11
          local.get $r2
          i64.add
          local.set $w11
          local.get $r2
          i64.const -1
          i64.add
          local.set $r2
          local.get $w11
          local.get $r2
          i64.add
          local.set $w11
          local.get $r2
          i64.const -1
          i64.add
          local.set $r2
          local.get $n14
          i32.const 4
          i32.sub
          local.tee $n14
          i32.const 4
          i32.ge_u
          br_if 0
        end
        local.get $n14
        i32.eqz
        if
          br 3
        end
      end
      loop
        local.get $w11
        local.get $r2
        i64.add
        local.set $w11
        local.get $r2
        i64.const -1
        i64.add
        local.set $r2
        local.get $n14
        i32.const 1
        i32.sub
        local.tee $n14
        br_if 0
      end
      br 1
    end
    loop
      local.get $w7
      i64.const 7
      i64.lt_s
      if
        local.get $base
        local.get $w7
        i64.store offset=8
        local.get $base
        local.get $w11
        i64.store offset=48
        local.get $base
        local.get $r2
        i64.store offset=64
        local.get $base
        local.get $w8
        i64.store offset=128
        local.get $base
        i32.const 8388608
        i32.store offset=40
        i32.const 8
        local.get $sp
        call $resume
        local.get $base
        i64.load offset=0
        return
      end
      local.get $w7
      i64.const 3
      i64.sub
      local.set $w7
      local.get $w11
      local.get $r2
      i64.add
      local.set $w11
      local.get $r2
      i64.const -1
      i64.add
      local.set $r2
      local.get $r2
      i64.const 0
      i64.ne
      br_if 0
      br 1
    end
  end
  local.get $w7
  i64.const 1
  i64.sub
  local.set $w7
  local.get $base
  local.get $w7
  i64.store offset=8
  local.get $w11
  return
  unreachable)
