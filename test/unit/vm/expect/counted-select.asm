r0 = 1
if r1 > 10 goto out
r0 = 2
r0 += r1
out:
exit
