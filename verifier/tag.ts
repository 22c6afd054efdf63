/**
 * @module verifier/tag
 * A program's digest: SHA-256 over its instructions as passed, with map references by descriptor taken out because
 * descriptors are not stable (`bpf_prog_calc_tag`, kernel/bpf/core.c). The tag is its first eight bytes.
 */
import { sha256 } from '../crypto/digest.ts';
import { BPF_DW, BPF_IMM, BPF_LD, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE } from '../isa/uapi.ts';

const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;

/**
 * The 32-byte digest of `instructions` (8 bytes each).
 * @example digestAndTag(insns).subarray(0, 8) // the tag
 */
export function digestAndTag(instructions: Uint8Array): Uint8Array {
  return sha256WithoutMaps(instructions.slice());
}

/** The same, of a copy that is the caller's own: it is changed. */
export function sha256WithoutMaps(copy: Uint8Array): Uint8Array {
  let wasMapLoad = false;
  for (let at = 0; at + 8 <= copy.length; at += 8) {
    const src = copy[at + 1]! >> 4;
    if (!wasMapLoad && copy[at] === LD_IMM64 && (src === BPF_PSEUDO_MAP_FD || src === BPF_PSEUDO_MAP_VALUE)) {
      wasMapLoad = true;
      clearImmediate(copy, at);
    } else if (wasMapLoad && copy[at] === 0 && copy[at + 1] === 0 && copy[at + 2] === 0 && copy[at + 3] === 0) {
      wasMapLoad = false;
      clearImmediate(copy, at);
    } else {
      wasMapLoad = false;
    }
  }
  return sha256(copy);
}

function clearImmediate(bytes: Uint8Array, at: number): void {
  for (let i = 4; i < 8; i++) bytes[at + i] = 0;
}
