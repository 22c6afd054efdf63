r0 = load_acquire((u32 *)(r1 +4))
store_release((u8 *)(r1 +0), r0)
exit
