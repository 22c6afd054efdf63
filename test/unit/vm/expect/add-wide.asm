r0 = r1
r0 += r2
r0 += -5
exit
