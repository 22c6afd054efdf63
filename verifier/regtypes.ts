/**
 * @module verifier/regtypes
 * The kinds a register, an argument and a return value can have, with their flags, under the kernel's names. Owns numbers
 * and tests on them only. Values follow `enum bpf_reg_type`, `bpf_arg_type`, `bpf_return_type`, `bpf_type_flag`
 * (include/linux/bpf.h), so that a flag taken from one of them can be put on another.
 */

/** Bits of the base kind; flags are above. */
export const BPF_BASE_TYPE_BITS = 8;
export const BPF_BASE_TYPE_MASK = 0xff;

export const PTR_MAYBE_NULL: number = 1 << 8;
export const MEM_RDONLY: number = 1 << 9;
export const MEM_RINGBUF: number = 1 << 10;
export const MEM_USER: number = 1 << 11;
export const MEM_PERCPU: number = 1 << 12;
export const OBJ_RELEASE: number = 1 << 13;
export const PTR_UNTRUSTED: number = 1 << 14;
export const MEM_UNINIT: number = 1 << 15;
export const DYNPTR_TYPE_LOCAL: number = 1 << 16;
export const DYNPTR_TYPE_RINGBUF: number = 1 << 17;
export const MEM_FIXED_SIZE: number = 1 << 18;
export const MEM_ALLOC: number = 1 << 19;
export const PTR_TRUSTED: number = 1 << 20;
export const MEM_RCU: number = 1 << 21;
export const NON_OWN_REF: number = 1 << 22;
export const DYNPTR_TYPE_SKB: number = 1 << 23;
export const DYNPTR_TYPE_XDP: number = 1 << 24;
export const MEM_ALIGNED: number = 1 << 25;
export const MEM_WRITE: number = 1 << 26;
export const DYNPTR_TYPE_SKB_META: number = 1 << 27;
export const DYNPTR_TYPE_FILE: number = 1 << 28;
export const DYNPTR_TYPE_FLAG_MASK: number =
  DYNPTR_TYPE_LOCAL | DYNPTR_TYPE_RINGBUF | DYNPTR_TYPE_SKB | DYNPTR_TYPE_XDP | DYNPTR_TYPE_SKB_META | DYNPTR_TYPE_FILE;

// enum bpf_reg_type
export const NOT_INIT = 0;
export const SCALAR_VALUE = 1;
export const PTR_TO_CTX = 2;
export const CONST_PTR_TO_MAP = 3;
export const PTR_TO_MAP_VALUE = 4;
export const PTR_TO_MAP_KEY = 5;
export const PTR_TO_STACK = 6;
export const PTR_TO_PACKET_META = 7;
export const PTR_TO_PACKET = 8;
export const PTR_TO_PACKET_END = 9;
export const PTR_TO_FLOW_KEYS = 10;
export const PTR_TO_SOCKET = 11;
export const PTR_TO_SOCK_COMMON = 12;
export const PTR_TO_TCP_SOCK = 13;
export const PTR_TO_TP_BUFFER = 14;
export const PTR_TO_XDP_SOCK = 15;
export const PTR_TO_BTF_ID = 16;
export const PTR_TO_MEM = 17;
export const PTR_TO_ARENA = 18;
export const PTR_TO_BUF = 19;
export const PTR_TO_FUNC = 20;
export const PTR_TO_INSN = 21;
export const CONST_PTR_TO_DYNPTR = 22;
export const PTR_TO_MAP_VALUE_OR_NULL: number = PTR_MAYBE_NULL | PTR_TO_MAP_VALUE;
export const PTR_TO_BTF_ID_OR_NULL: number = PTR_MAYBE_NULL | PTR_TO_BTF_ID;

// enum bpf_arg_type
export const ARG_DONTCARE = 0;
export const ARG_CONST_MAP_PTR = 1;
export const ARG_PTR_TO_MAP_KEY = 2;
export const ARG_PTR_TO_MAP_VALUE = 3;
export const ARG_PTR_TO_MEM = 4;
export const ARG_PTR_TO_ARENA = 5;
export const ARG_MEM_SIZE = 6;
export const ARG_MEM_SIZE_OR_ZERO = 7;
export const ARG_PTR_TO_CTX = 8;
export const ARG_ANYTHING = 9;
export const ARG_SCALAR = 10;
export const ARG_PTR_TO_SPIN_LOCK = 11;
export const ARG_PTR_TO_SOCK_COMMON = 12;
export const ARG_PTR_TO_SOCKET = 13;
export const ARG_PTR_TO_BTF_ID = 14;
export const ARG_PTR_TO_RINGBUF_MEM = 15;
export const ARG_CONST_ALLOC_SIZE_OR_ZERO = 16;
export const ARG_PTR_TO_BTF_ID_SOCK_COMMON = 17;
export const ARG_PTR_TO_PERCPU_BTF_ID = 18;
export const ARG_PTR_TO_FUNC = 19;
export const ARG_PTR_TO_STACK = 20;
export const ARG_PTR_TO_CONST_STR = 21;
export const ARG_PTR_TO_TIMER = 22;
export const ARG_KPTR_XCHG_DEST = 23;
export const ARG_PTR_TO_DYNPTR = 24;
export const ARG_PTR_TO_UNINIT_MEM: number = MEM_UNINIT | MEM_WRITE | ARG_PTR_TO_MEM;
export const ARG_PTR_TO_FIXED_SIZE_MEM: number = MEM_FIXED_SIZE | ARG_PTR_TO_MEM;

// enum bpf_return_type
export const RET_INTEGER = 0;
export const RET_VOID = 1;
export const RET_PTR_TO_MAP_VALUE = 2;
export const RET_PTR_TO_SOCKET = 3;
export const RET_PTR_TO_TCP_SOCK = 4;
export const RET_PTR_TO_SOCK_COMMON = 5;
export const RET_PTR_TO_MEM = 6;
export const RET_PTR_TO_MEM_OR_BTF_ID = 7;
export const RET_PTR_TO_BTF_ID = 8;

export const BPF_READ = 1;
export const BPF_WRITE = 2;

export const MAX_BPF_REG = 11;
export const MAX_BPF_STACK = 512;
export const BPF_REG_SIZE = 8;
export const MAX_CALL_FRAMES = 16;
export const MAX_BPF_FUNC_ARGS = 12;
export const MAX_BPF_FUNC_REG_ARGS = 5;
export const MAX_STACK_ARG_SLOTS = 7;
export const CALLER_SAVED_REGS = 6;
export const BPF_MAX_VAR_OFF: number = 1 << 29;
export const BPF_MAX_VAR_SIZ: number = 1 << 29;
export const MAX_PACKET_OFF = 0xffff;

/** The kind without its flags. */
export function baseType(type: number): number {
  return type & BPF_BASE_TYPE_MASK;
}

/** The flags without the kind. */
export function typeFlag(type: number): number {
  return type & ~BPF_BASE_TYPE_MASK;
}

export function typeMayBeNull(type: number): boolean {
  return (type & PTR_MAYBE_NULL) !== 0;
}

export function typeIsMapPtr(type: number): boolean {
  const base = type & BPF_BASE_TYPE_MASK;
  return base === CONST_PTR_TO_MAP || base === PTR_TO_MAP_KEY || base === PTR_TO_MAP_VALUE;
}

export function typeIsPktPointer(type: number): boolean {
  const base = type & BPF_BASE_TYPE_MASK;
  return base === PTR_TO_PACKET || base === PTR_TO_PACKET_META;
}

export function typeIsSkPointer(type: number): boolean {
  return type === PTR_TO_SOCKET || type === PTR_TO_SOCK_COMMON || type === PTR_TO_TCP_SOCK || type === PTR_TO_XDP_SOCK;
}

/** A pointer to an object that the program allocated (`bpf_obj_new`), not yet untrusted. */
export function typeIsPtrAllocObj(type: number): boolean {
  return (type & BPF_BASE_TYPE_MASK) === PTR_TO_BTF_ID && (type & MEM_ALLOC) !== 0 && (type & PTR_UNTRUSTED) === 0;
}

export function typeIsNonOwningRef(type: number): boolean {
  return typeIsPtrAllocObj(type) && (type & NON_OWN_REF) !== 0;
}

export function typeIsPtrToMemOrBTFID(type: number): boolean {
  const base = type & BPF_BASE_TYPE_MASK;
  return base === PTR_TO_MEM || base === PTR_TO_BTF_ID;
}

/** True where loads need fault protection (`BPF_PROBE_MEM`). */
export function mayFaultOnDeref(type: number): boolean {
  return type === PTR_TO_BTF_ID || (type & PTR_UNTRUSTED) !== 0;
}

export const BPF_REG_TRUSTED_MODIFIERS: number = MEM_ALLOC | PTR_TRUSTED | NON_OWN_REF;

export function typeHasUnsafeModifiers(type: number): boolean {
  return (type & ~BPF_BASE_TYPE_MASK & ~BPF_REG_TRUSTED_MODIFIERS) !== 0;
}

const REG_TYPE_NAMES: readonly string[] = [
  '?', 'scalar', 'ctx', 'map_ptr', 'map_value', 'map_key', 'fp', 'pkt_meta', 'pkt', 'pkt_end', 'flow_keys', 'sock', 'sock_common',
  'tcp_sock', 'tp_buffer', 'xdp_sock', 'ptr_', 'mem', 'arena', 'buf', 'func', 'insn', 'dynptr_ptr',
];

/**
 * The name of a register's kind in the log.
 * @example regTypeName(PTR_TO_BTF_ID | PTR_TRUSTED | PTR_MAYBE_NULL) // "trusted_ptr_or_null_"
 */
export function regTypeName(type: number): string {
  const base = type & BPF_BASE_TYPE_MASK;
  const prefix =
    (type & MEM_RDONLY ? 'rdonly_' : '') +
    (type & MEM_RINGBUF ? 'ringbuf_' : '') +
    (type & MEM_USER ? 'user_' : '') +
    (type & MEM_PERCPU ? 'percpu_' : '') +
    (type & MEM_RCU ? 'rcu_' : '') +
    (type & PTR_UNTRUSTED ? 'untrusted_' : '') +
    (type & PTR_TRUSTED ? 'trusted_' : '');
  const postfix = type & PTR_MAYBE_NULL ? (base === PTR_TO_BTF_ID ? 'or_null_' : '_or_null') : '';
  return prefix + (REG_TYPE_NAMES[base] ?? '') + postfix;
}
