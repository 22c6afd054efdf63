(func $f0
  i32.const 5
  local.set $n7
  i32.const 0
  local.set $n8
  i32.const 8
  local.get $sp
  local.get $r1
  i32.wrap_i64
  local.get $r1
  i64.const 32
  i64.shr_u
  i32.wrap_i64
  local.get $n7
  local.get $n8
  call $tail
  if
    local.get $base
    i64.load offset=64
    return
  end
  i32.const 3
  local.set $n9
  local.get $n9
  i64.extend_i32_u
  return
  unreachable)
