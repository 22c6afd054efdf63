w0 = w1
w0 += w2
w0 ^= 255
w0 <<= 3
exit
