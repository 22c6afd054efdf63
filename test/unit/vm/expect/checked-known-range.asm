; the second access lies in what the first has tested
r0 = *(u64 *)(r1 +0)
r2 = *(u32 *)(r1 +4)
r0 += r2
r1 += 4
r2 = *(u16 *)(r1 +0)
r0 += r2
exit
