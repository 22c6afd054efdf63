; inside the frame nothing is to be tested
*(u64 *)(r10 -8) = 5
r0 = *(u64 *)(r10 -8)
exit
