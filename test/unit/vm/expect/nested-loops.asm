r0 = 0
r2 = 3
outer:
r3 = 4
inner:
r0 += r3
r3 -= 1
if r3 != 0 goto inner
r2 -= 1
if r2 != 0 goto outer
exit
