(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  block
    local.get $n7
    i64.load offset=0
    local.set $r2
    i32.const 1
    local.set $n8
    local.get $r2
    i64.const -100
    i64.lt_s
    br_if 0
    local.get $n7
    i32.const 0
    i32.store offset=0
    br 0
  end
  local.get $n8
  i64.extend_i32_u
  return
  unreachable)
