r6 = r1
call 1
r0 += 1
r1 = r0
call pc+1
exit
r0 = r1
exit
