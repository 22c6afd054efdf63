; a short branch becomes a conditional move
r0 = 1
if r1 > 10 goto out
r0 = 2
out:
exit
