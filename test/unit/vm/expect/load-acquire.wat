(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i32.const 4
  i32.add
  local.set $n8
  local.get $n8
  i32.const 3
  i32.and
  if
    i32.const 0
    local.get $sp
    i32.const 1025
    local.get $n8
    i32.const 0
    call $fault
    unreachable
  end
  local.get $n8
  i32.load offset=0
  i64.extend_i32_u
  local.set $w9
  local.get $n7
  local.set $n8
  local.get $n8
  local.get $w9
  i32.wrap_i64
  i32.store8 offset=0
  local.get $w9
  return
  unreachable)
