r2 = *(u64 *)(r1 +0)
r0 = 1
if r2 & 8 goto set
*(u32 *)(r1 +0) = 0
set:
exit
