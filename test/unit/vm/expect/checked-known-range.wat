(func $f0
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
  local.get $r1
  local.tee $w7
  local.get $w8
  i64.sub
  local.get $w9
  i64.ge_u
  if
    local.get $w7
    local.get $w10
    i64.sub
    local.get $w11
    i64.lt_u
    if
      local.get $w10
      local.set $w8
      local.get $w12
      local.set $w13
      local.get $w14
      local.set $w15
      local.get $w11
      local.set $w9
    else
      i32.const 0
      local.get $sp
      local.get $w7
      i32.wrap_i64
      local.get $w7
      i64.const 32
      i64.shr_u
      i32.wrap_i64
      i32.const 8
      call $slow
      local.get $base
      i64.load offset=16
      local.set $w10
      local.get $base
      i64.load32_u offset=28
      local.set $w12
      local.get $base
      i64.load32_u offset=32
      local.set $w14
      local.get $base
      i64.load32_u offset=36
      local.set $w11
      local.get $w10
      local.set $w8
      local.get $w12
      local.set $w13
      local.get $w14
      local.set $w15
      local.get $w11
      local.set $w9
    end
  end
  local.get $w7
  i32.wrap_i64
  i64.load offset=0
  local.set $w16
  local.get $r1
  i32.wrap_i64
  i32.load offset=4
  local.set $n17
  local.get $w16
  local.get $n17
  i64.extend_i32_u
  i64.add
  local.set $w16
  local.get $r1
  i64.const 4
  i64.add
  local.set $r1
  local.get $r1
  i32.wrap_i64
  i32.load16_u offset=0
  local.set $n17
  local.get $w16
  local.get $n17
  i64.extend_i32_u
  i64.add
  local.set $w16
  local.get $w16
  return
  unreachable)
