(func $f0
  local.get $r1
  i64.eqz
  i32.eqz
  if
    i32.const 1
    local.set $n7
    local.get $n7
    i64.extend_i32_u
    return
  end
  i32.const 2
  local.set $n7
  i32.const 24
  local.get $sp
  i32.const 5
  i32.const 0
  i32.const 0
  call $fault
  unreachable
  unreachable)
