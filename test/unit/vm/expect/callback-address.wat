(func $f0
  i32.const -1073741792
  local.set $n7
  i32.const 1
  local.set $n8
  local.get $n8
  i64.extend_i32_u
  return
  unreachable)

(func $f1
  i32.const 0
  local.set $n7
  local.get $n7
  i64.extend_i32_u
  return
  unreachable)
