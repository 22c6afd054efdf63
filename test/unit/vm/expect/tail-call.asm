r2 = 5
r3 = 0
call 12
r0 = 3
exit
