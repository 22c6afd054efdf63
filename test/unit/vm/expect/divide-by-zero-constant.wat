(func $f0
  local.get $r1
  local.set $w7
  i64.const 0
  local.set $w7
  local.get $w7
  local.set $w7
  local.get $w7
  return
  unreachable)
