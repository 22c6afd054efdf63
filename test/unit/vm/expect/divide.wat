(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  local.get $n7
  i64.load offset=0
  local.set $w8
  local.get $n7
  i64.load offset=8
  local.set $r2
  local.get $r2
  i64.eqz
  if (result i64)
    i64.const 0
  else
    local.get $w8
    local.get $r2
    i64.div_u
  end
  local.set $w8
  local.get $w8
  i64.const 10
  i64.rem_u
  local.set $w8
  local.get $w8
  return
  unreachable)
