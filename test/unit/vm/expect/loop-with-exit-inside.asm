r0 = 0
r2 = 10
again:
r3 = *(u8 *)(r1 +0)
if r3 == r2 goto found
r2 += -1
if r2 != 0 goto again
exit
found:
r0 = 1
exit
