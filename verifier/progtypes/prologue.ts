/**
 * @module verifier/progtypes/prologue
 * Instructions that some program types get beyond their own: a prologue that makes a packet writable, and the call that a classic
 * packet load becomes. Behaviour of `bpf_unclone_prologue()` and `bpf_gen_ld_abs()` of `net/core/filter.c`, Linux 7.3.
 * Not here: the calls that Linux puts in front of `init` and behind `reset` and `destroy` of a `Qdisc_ops` (net/sched/bpf_qdisc.c); the
 * rewritten programs lack them.
 */
import type { Instruction } from '../../isa/decode.ts';
import { alu32, alu64, callHelper, encode, exit, jump, ldx, mov64, raw, type Item, type Register } from '../../isa/encode.ts';
import * as U from '../../isa/uapi.ts';
import type { KernelLayout } from './kernel_layout.ts';

/** Bit of the byte at `__cloned_offset` in `struct sk_buff`. */
const CLONED = 1;
const TC_ACT_SHOT = 2;
const SK_DROP = 0;

/** What a program returns when its packet cannot be made writable. */
const DROP_VERDICTS: ReadonlyMap<number, number> = new Map([
  [U.BPF_PROG_TYPE_SCHED_CLS, TC_ACT_SHOT], [U.BPF_PROG_TYPE_SCHED_ACT, TC_ACT_SHOT], [U.BPF_PROG_TYPE_LWT_XMIT, TC_ACT_SHOT],
  [U.BPF_PROG_TYPE_SK_SKB, SK_DROP],
]);

/**
 * What stands before a program that writes into its packet directly; empty where nothing need. The last instruction is the
 * program's own first one, which the whole replaces.
 */
export function prologueOf(kernel: KernelLayout, progType: number, directWrite: boolean, first: Instruction): readonly Instruction[] {
  const verdict = DROP_VERDICTS.get(progType);
  if (verdict === undefined || !directWrite) return [];
  return encode([
    ldx('u8', 'r6', 'r1', kernel.place('sk_buff.__cloned_offset').offset),
    alu32('and', 'r6', CLONED),
    jump('jeq', 'r6', 0, 7),
    mov64('r6', 'r1'),
    alu64('xor', 'r2', 'r2'),
    callHelper(U.BPF_FUNC_skb_pull_data),
    jump('jeq', 'r0', 0, 2),
    alu32('mov', 'r0', verdict),
    exit(),
    mov64('r1', 'r6'),
    first,
  ]);
}

/** Kernel functions that classic packet loads call, by the load's size bits. */
const LOAD_HELPERS: ReadonlyMap<number, string> = new Map([
  [U.BPF_B, 'bpf_skb_load_helper_8_no_cache'], [U.BPF_H, 'bpf_skb_load_helper_16_no_cache'], [U.BPF_W, 'bpf_skb_load_helper_32_no_cache'],
]);

/**
 * The instructions that a classic packet load becomes.
 * @param callImmediate `imm` of a call of the kernel function of that name
 */
export function packetLoad(insn: Instruction, callImmediate: (name: string) => number): readonly Instruction[] {
  const isIndirect = (insn.code & 0xe0) === U.BPF_IND;
  const offset: Item[] = isIndirect ? [mov64('r2', `r${insn.src}` as Register)] : [mov64('r2', insn.imm)];
  if (isIndirect && insn.imm !== 0) offset.push(alu64('add', 'r2', insn.imm));
  const helper = LOAD_HELPERS.get(insn.code & 0x18) ?? '';
  return encode([
    offset,
    mov64('r1', 'r6'),
    raw(U.BPF_JMP | U.BPF_CALL, 0, 0, 0, callImmediate(helper)),
    jump('jsge', 'r0', 0, 2),
    alu32('xor', 'r0', 'r0'),
    exit(),
  ]);
}
