r1 = 1
call 1
r0 += 1
exit
