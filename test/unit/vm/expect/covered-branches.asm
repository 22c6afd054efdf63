r0 = 1
if r1 == 0 goto +1
r0 = 2
r0 += 3
exit
