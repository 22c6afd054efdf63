(func $f0
  i32.const 5
  local.set $n7
  i32.const 0
  local.set $n8
  local.get $base
  local.get $r1
  i64.store offset=56
  local.get $base
  local.get $n7
  i64.extend_i32_u
  i64.store offset=64
  local.get $base
  local.get $n8
  i64.extend_i32_u
  i64.store offset=72
  i32.const 8
  local.get $sp
  call $tail
  if
    local.get $base
    i64.load offset=0
    return
  end
  i32.const 3
  local.set $n9
  local.get $n9
  i64.extend_i32_u
  return
  unreachable)
