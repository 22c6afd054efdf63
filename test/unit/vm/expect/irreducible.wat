(func $f0
  local.get $r1
  i32.wrap_i64
  local.set $n7
  loop
    block
      block
        block
          block
            local.get $n8
            br_table 0 1 2 3
          end
          i32.const 0
          local.set $n9
          local.get $n7
          i32.load8_u offset=0
          local.set $n10
          local.get $n10
          i32.const 5
          i32.gt_u
          if
            local.get $n9
            i64.extend_i32_u
            local.set $w11
            i32.const 1
            local.set $n8
            br 4
          end
          local.get $n9
          i64.extend_i32_u
          local.set $w11
          i32.const 2
          local.set $n8
          br 3
        end
        local.get $w11
        i64.const 2
        i64.add
        local.set $w11
        local.get $n7
        local.get $w11
        i32.wrap_i64
        i32.store8 offset=2
        local.get $w11
        i64.const 20
        i64.lt_u
        if
          i32.const 2
          local.set $n8
          br 3
        end
        i32.const 3
        local.set $n8
        br 2
      end
      local.get $w11
      i64.const 1
      i64.add
      local.set $w11
      local.get $n7
      local.get $w11
      i32.wrap_i64
      i32.store8 offset=1
      local.get $w11
      i64.const 8
      i64.gt_u
      if
        i32.const 3
        local.set $n8
        br 2
      end
      i32.const 1
      local.set $n8
      br 1
    end
    local.get $w11
    return
  end
  unreachable)
