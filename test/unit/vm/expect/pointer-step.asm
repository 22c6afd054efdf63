; only the lower half of r1 matters
r1 += 8
r0 = *(u32 *)(r1 +4)
exit
