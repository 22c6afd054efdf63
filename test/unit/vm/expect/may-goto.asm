r0 = 0
again:
may_goto out
r0 += 1
if r0 < 5 goto again
out:
exit
