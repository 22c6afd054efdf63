(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i32.load offset=0
  local.set $n8
  local.get $n7
  i32.load offset=8
  local.set $n9
  local.get $n9
  i32.eqz
  if (result i32)
    i32.const 0
  else
    local.get $n8
    local.get $n9
    i32.div_u
  end
  local.set $n8
  local.get $n8
  i64.extend_i32_u
  return
  unreachable)
