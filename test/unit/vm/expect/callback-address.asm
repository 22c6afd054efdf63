r2 = subprog[f]
r0 = 1
exit
f:
r0 = 0
exit
