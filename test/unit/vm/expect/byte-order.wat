(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i32.const 65535
  i32.and
  i32.const 16777472
  i32.mul
  i32.const 16
  i32.shr_u
  local.set $n7
  local.get $r1
  i32.wrap_i64
  local.set $n8
  local.get $n8
  i32.const 8
  i32.rotl
  i32.const 16711935
  i32.and
  local.get $n8
  i32.const 24
  i32.rotl
  i32.const -16711936
  i32.and
  i32.or
  local.set $n8
  local.get $r1
  local.set $r3
  local.get $r3
  local.set $w9
  local.get $w9
  i64.const 71777214294589695
  i64.and
  i64.const 8
  i64.shl
  local.get $w9
  i64.const 8
  i64.shr_u
  i64.const 71777214294589695
  i64.and
  i64.or
  local.set $w9
  local.get $w9
  i64.const 281470681808895
  i64.and
  i64.const 16
  i64.shl
  local.get $w9
  i64.const 16
  i64.shr_u
  i64.const 281470681808895
  i64.and
  i64.or
  local.set $w9
  local.get $w9
  i64.const 32
  i64.rotl
  local.set $r3
  local.get $n7
  local.get $n8
  i32.add
  local.set $n7
  local.get $n7
  local.get $r3
  i32.wrap_i64
  i32.add
  local.set $n7
  local.get $n7
  local.set $n7
  local.get $n7
  i64.extend_i32_u
  return
  unreachable)
