(func $f0
  local.get $sp
  i64.extend_i32_u
  i64.const -131391639519232
  i64.or
  local.set $w18
  local.get $base
  local.get $sp
  local.get $base
  i32.load offset=164
  i32.sub
  i32.const 640
  i32.div_u
  i32.const 2
  i32.shl
  i32.add
  i32.const 512
  i32.store offset=168
  i32.const 0
  local.set $n7
  local.get $r1
  local.set $r2
  local.get $r2
  i64.const 8
  i64.add
  local.set $r2
  local.get $n7
  i64.extend_i32_u
  local.set $w8
  block
    local.get $r1
    local.get $w9
    i64.sub
    local.get $w10
    i64.ge_u
    if
      local.get $sp
      local.get $r1
      i32.wrap_i64
      local.get $r1
      i64.const 32
      i64.shr_u
      i32.wrap_i64
      call $region
      if
        local.get $base
        i64.load offset=16
        local.set $w11
        local.get $base
        i64.load32_u offset=24
        local.set $w12
        local.get $w11
        local.set $w9
        local.get $w12
        local.set $w10
      end
    end
    block
      local.get $r2
      local.get $r1
      i64.const 1
      i64.add
      i64.sub
      local.set $w13
      local.get $w13
      i64.const 2147483647
      i64.ge_u
      br_if 0
      local.get $r1
      local.get $w9
      i64.sub
      local.get $w10
      i64.ge_u
      br_if 0
      local.get $r1
      local.get $w13
      i64.const 1
      i64.mul
      i64.add
      local.get $w9
      i64.sub
      local.get $w10
      i64.ge_u
      br_if 0
      local.get $w13
      i32.wrap_i64
      i32.const 1
      i32.add
      local.set $n14
      local.get $r1
      i32.wrap_i64
      local.set $n15
      block
        local.get $n14
        i32.const 4
        i32.lt_u
        br_if 0
        loop
          local.get $n15
          i32.load8_u offset=0
          local.set $n16
          local.get $w8
          local.get $n16
          i64.extend_i32_u
          i64.add
          local.set $w8
          local.get $n15
          i32.load8_u offset=1
          local.set $n16
          local.get $w8
          local.get $n16
          i64.extend_i32_u
          i64.add
          local.set $w8
          local.get $n15
          i32.load8_u offset=2
          local.set $n16
          local.get $w8
          local.get $n16
          i64.extend_i32_u
          i64.add
          local.set $w8
          local.get $n15
          i32.load8_u offset=3
          local.set $n16
          local.get $w8
          local.get $n16
          i64.extend_i32_u
          i64.add
          local.set $w8
          local.get $n15
          i32.const 4
          i32.add
          local.set $n15
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
        local.get $n15
        i32.load8_u offset=0
        local.set $n16
        local.get $w8
        local.get $n16
        i64.extend_i32_u
        i64.add
        local.set $w8
        local.get $n15
        i32.const 1
        i32.add
        local.set $n15
        local.get $n14
        i32.const 1
        i32.sub
        local.tee $n14
        br_if 0
      end
      br 1
    end
    loop
      local.get $r1
      local.tee $w17
      local.get $w9
      i64.sub
      local.get $w10
      i64.ge_u
      if
        local.get $base
        local.get $w8
        i64.store offset=48
        local.get $base
        local.get $r1
        i64.store offset=56
        local.get $base
        local.get $r2
        i64.store offset=64
        local.get $base
        local.get $w18
        i64.store offset=128
        local.get $base
        i32.const 8388608
        i32.store offset=40
        i32.const 12
        local.get $sp
        call $resume
        local.get $base
        i64.load offset=0
        return
      end
      local.get $w17
      i32.wrap_i64
      i32.load8_u offset=0
      local.set $n16
      local.get $w8
      local.get $n16
      i64.extend_i32_u
      i64.add
      local.set $w8
      local.get $r1
      i64.const 1
      i64.add
      local.set $r1
      local.get $r1
      local.get $r2
      i64.ne
      br_if 0
      br 1
    end
  end
  local.get $w8
  return
  unreachable)
