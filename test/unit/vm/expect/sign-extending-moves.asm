r0 = (s8)r1
r2 = (s16)r1
r3 = (s32)r1
r0 += r2
r0 += r3
w0 = (s8)w0
exit
