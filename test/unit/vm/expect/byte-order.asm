r0 = r1
r0 = be16 r0
r2 = r1
r2 = be32 r2
r3 = r1
r3 = bswap64 r3
r0 += r2
r0 += r3
r0 = le32 r0
exit
