; the region is looked up in front of the loop, a miss inside leaves it
r0 = 0
r2 = r1
r2 += 8
again:
r3 = *(u8 *)(r1 +0)
r0 += r3
r1 += 1
if r1 != r2 goto again
exit
