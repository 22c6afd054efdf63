(func $f0
  local.get $r1
  local.set $w7
  local.get $w7
  local.get $r2
  i64.add
  local.set $w7
  local.get $w7
  i64.const -5
  i64.add
  local.set $w7
  local.get $w7
  return
  unreachable)
