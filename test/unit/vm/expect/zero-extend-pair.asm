r0 = r1
r0 <<= 32
r0 >>= 32
exit
