; both sides have a zero upper half
r2 = *(u32 *)(r1 +0)
r0 = 1
if r2 s< 100 goto low
*(u32 *)(r1 +0) = 0
low:
exit
