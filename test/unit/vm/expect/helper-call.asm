r6 = 4
r1 = 1
r2 = 2
r3 = 3
r4 = 4
r5 = 5
call 1
r0 += r6
exit
