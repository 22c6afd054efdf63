r0 = addr_space_cast(r1, 1, 0)
r0 = addr_space_cast(r0, 0, 1)
exit
