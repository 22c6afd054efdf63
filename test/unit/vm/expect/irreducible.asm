; two entries into one cycle: a dispatcher
r0 = 0
r2 = *(u8 *)(r1 +0)
if r2 > 5 goto b
a:
r0 += 1
*(u8 *)(r1 +1) = r0
if r0 > 8 goto out
b:
r0 += 2
*(u8 *)(r1 +2) = r0
if r0 < 20 goto a
out:
exit
