; a store has to stay behind its condition
r0 = 1
if r1 == 0 goto out
*(u8 *)(r1 +0) = 5
out:
exit
