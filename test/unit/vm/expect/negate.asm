r0 = r1
r0 = -r0
w2 = w1
w2 = -w2
r0 += r2
exit
