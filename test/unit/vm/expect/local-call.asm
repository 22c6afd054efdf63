r1 = 5
call double
r0 += 1
exit
double:
r0 = r1
r0 += r1
exit
