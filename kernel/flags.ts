/**
 * @module kernel/flags
 * Flags of `include/uapi/linux/bpf.h` that are written as shifts there, under their own names.
 */
export const BPF_F_STRICT_ALIGNMENT: number = 1 << 0;
export const BPF_F_ANY_ALIGNMENT: number = 1 << 1;
export const BPF_F_TEST_RND_HI32: number = 1 << 2;
export const BPF_F_TEST_STATE_FREQ: number = 1 << 3;
export const BPF_F_SLEEPABLE: number = 1 << 4;
export const BPF_F_XDP_HAS_FRAGS: number = 1 << 5;
export const BPF_F_XDP_DEV_BOUND_ONLY: number = 1 << 6;
export const BPF_F_TEST_REG_INVARIANTS: number = 1 << 7;

export const BPF_F_ALLOW_OVERRIDE: number = 1 << 0;
export const BPF_F_ALLOW_MULTI: number = 1 << 1;
export const BPF_F_REPLACE: number = 1 << 2;
export const BPF_F_BEFORE: number = 1 << 3;
export const BPF_F_AFTER: number = 1 << 4;
export const BPF_F_ID: number = 1 << 5;
export const BPF_F_PREORDER: number = 1 << 6;
export const BPF_F_QUERY_EFFECTIVE: number = 1 << 0;

export const BPF_F_TEST_RUN_ON_CPU: number = 1 << 0;
export const BPF_F_TEST_XDP_LIVE_FRAMES: number = 1 << 1;
export const BPF_F_TEST_SKB_CHECKSUM_COMPLETE: number = 1 << 2;
