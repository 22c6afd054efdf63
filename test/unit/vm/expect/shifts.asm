r0 = r1
r0 <<= 40
r0 >>= 33
r0 s>>= 2
exit
