/**
 * @module src/names
 * Kernel constants as the words that reports use: lower case, without the common prefix, as bpftool prints them.
 */
import * as U from '../isa/uapi.ts';

/** `array`, `hash_of_maps`, …; the number where Linux 7.3 has no such type. */
export function mapTypeName(type: number): string {
  return U.MAP_TYPE_NAMES[type]?.toLowerCase() ?? String(type);
}

/** `syscall`, `raw_tracepoint`, …; the number where Linux 7.3 has no such type. */
export function programTypeName(type: number): string {
  return U.PROG_TYPE_NAMES[type]?.toLowerCase() ?? String(type);
}

/** `trace_fentry`, `lsm_mac`, …; the number where Linux 7.3 has no such type. */
export function attachTypeName(type: number): string {
  return U.ATTACH_TYPE_NAMES[type]?.toLowerCase() ?? String(type);
}

const KEYRING_NAMES = ['NONE', 'BUILTIN', 'SECONDARY', 'PLATFORM', 'USER'];

/** `BPF_SIG_KEYRING_*` without the prefix. */
export function keyringTypeName(type: number): string {
  return KEYRING_NAMES[type] ?? String(type);
}

const CORE_KINDS = [
  'byte_off', 'byte_sz', 'field_exists', 'signed', 'lshift_u64', 'rshift_u64', 'local_type_id', 'target_type_id', 'type_exists', 'type_size',
  'enumval_exists', 'enumval_value', 'type_matches',
];

/** Name of a CO-RE relocation's kind, as libbpf's messages have it. */
export function coreKindName(kind: number): string {
  return CORE_KINDS[kind] ?? String(kind);
}
