/**
 * @module verifier/log_levels
 * The bits of `log_level` (include/linux/bpf_verifier.h).
 */
export const BPF_LOG_LEVEL1 = 1;
export const BPF_LOG_LEVEL2 = 2;
export const BPF_LOG_STATS = 4;
export const BPF_LOG_FIXED = 8;
export const BPF_LOG_MASK = 15;
