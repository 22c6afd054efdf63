; a pointer that an unknown number was added to, and one out of memory, compare whole
r0 = *(u8 *)(r1 +0)
r2 = r1
r2 += r0
if r2 == r1 goto same
r3 = *(u64 *)(r1 +16)
if r3 > r1 goto same
r0 = 1
exit
same:
r0 = 2
exit
