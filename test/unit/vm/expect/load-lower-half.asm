; the upper half of the loaded value is dropped
r2 = *(u64 *)(r1 +0)
w0 = w2
exit
