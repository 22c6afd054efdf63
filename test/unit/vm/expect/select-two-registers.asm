r0 = 0
r2 = *(u32 *)(r1 +0)
if w2 <= 65535 goto small
w2 >>= 16
r0 += 16
small:
r0 += r2
exit
