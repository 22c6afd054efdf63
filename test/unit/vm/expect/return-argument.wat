(func $f0
  local.get $r1
  local.set $w7
  local.get $w7
  return
  unreachable)
