(func $f0
  i64.const 1234605616436508552
  local.set $w7
  i32.const 153
  local.set $n8
  local.get $w7
  local.get $n8
  i64.extend_i32_u
  i64.add
  local.set $w7
  local.get $w7
  return
  unreachable)
