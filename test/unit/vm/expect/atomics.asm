r2 = 1
lock *(u64 *)(r1 +0) += r2
r2 = atomic64_fetch_add((u64 *)(r1 +8), r2)
r0 = 9
r0 = atomic_cmpxchg((u32 *)(r1 +16), r0, r2)
exit
