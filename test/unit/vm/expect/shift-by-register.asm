r0 = r1
r2 = 5
r0 <<= r2
r0 s>>= r2
w0 >>= w2
exit
