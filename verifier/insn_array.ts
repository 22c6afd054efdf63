/**
 * @module verifier/insn_array
 * Jump tables: maps whose entries are instructions of the program. What the verifier reads of them; reproduces
 * `bpf_insn_array_init` (kernel/bpf/bpf_insn_array.c) and `bpf_copy_insn_array_uniq` (kernel/bpf/cfg.c). That a table serves one
 * program only is a fact of the map's descriptor.
 */
import { EBUSY, EINVAL } from '../isa/errno.ts';
import { BPF_DW, BPF_IMM, BPF_LD } from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import type { MapDescriptor } from './types.ts';

const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;
/** Bytes of an entry of an instruction array: `struct bpf_insn_array_value`, which begins with the instruction as passed. */
const INSN_ARRAY_ENTRY = 16;

/** Instruction in one entry of a jump table, -1 where it cannot be read. */
function instructionArrayEntry(map: MapDescriptor, index: number): number {
  const value = map.readDirectValue(index * INSN_ARRAY_ENTRY, 4);
  return value === undefined ? -1 : value[0] >>> 0;
}

/** Targets of a jump table between two entries, sorted, each once (`bpf_copy_insn_array_uniq`); `-errno`. */
export function instructionArrayTargets(map: MapDescriptor, first: number, last: number): Int32Array | number {
  const targets = new Set<number>();
  for (let i = first; i <= last; i++) {
    const target = instructionArrayEntry(map, i);
    if (target < 0) return -EINVAL;
    targets.add(target);
  }
  return Int32Array.from([...targets].sort((a, b) => a - b));
}

/**
 * Checks that a jump table may be used: frozen, all its targets instructions of the program, no other program has it
 * (`bpf_insn_array_init`). 0, `-EINVAL` or `-EBUSY`.
 */
export function initInstructionArray(env: VerifierEnv, map: MapDescriptor): number {
  if (!map.frozen) return -EINVAL;
  for (let i = 0; i < map.maxEntries; i++) {
    const target = instructionArrayEntry(map, i);
    if (target < 0 || target >= env.insns.count || (target > 0 && env.insns.code[target - 1] === LD_IMM64)) return -EINVAL;
  }
  return map.isUsed === true ? -EBUSY : 0;
}
