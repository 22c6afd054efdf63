; in verified programs pointers compare by their lower halves: no 64-bit register
r0 = *(u8 *)(r1 +0)
r2 = r1
r2 += 8
r3 = r1
r3 += 40
next:
r4 = *(u8 *)(r2 +0)
r0 += r4
r2 += 1
if r2 != r3 goto next
exit
