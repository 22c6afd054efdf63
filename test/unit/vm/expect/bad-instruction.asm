if r1 == 0 goto bad
r0 = 1
exit
bad:
r0 = 2
goto pc+5
