r2 = *(u64 *)(r1 +0)
r0 = 1
if r2 s< -100 goto low
*(u32 *)(r1 +0) = 0
low:
exit
