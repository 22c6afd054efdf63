/**
 * @module verifier/irq_flags
 * Saved interrupt flags in stack slots. Reproduces `process_irq_flag()` and what it calls in `kernel/bpf/verifier.c`.
 */
import { EACCES, EINVAL, ERANGE } from '../isa/errno.ts';
import { objectSpi } from './dynptr.ts';
import type { VerifierEnv } from './env.ts';
import { checkMemAccess } from './mem_access.ts';
import { acquireIRQ, inRCU, invalidateRCUProtectedRefs, irqDepth, releaseIRQ } from './refs.ts';
import { argName, markKnownZero, markNotInit } from './regs.ts';
import { BPF_WRITE, PTR_TO_STACK } from './regtypes.ts';
import { frameOfPointer, markSlotScratched } from './stack.ts';
import { REF_ID, REF_INSN, REF_WORDS, REG_A, REG_ID, REG_TYPE, SLOT_TYPES, STACK_INVALID, STACK_IRQ_FLAG, slotAt } from './state.ts';

/** Which family of kfuncs saved the flag. */
export const IRQ_NATIVE_KFUNC = 0, IRQ_LOCK_KFUNC = 1;

const spiOfFlag = (env: VerifierEnv, reg: number): number => objectSpi(env, reg, 'irq_flag', 1);
const familyName = (kfuncClass: number): string => (kfuncClass === IRQ_NATIVE_KFUNC ? 'native' : 'lock');

function slotTypesAre(env: VerifierEnv, slot: number, all: boolean): boolean {
  const types = (slot + SLOT_TYPES) << 2;
  for (let i = 0; i < 8; i++) if ((env.b[types + i] === STACK_IRQ_FLAG) !== all) return !all;
  return all;
}

/** Saves to, or restores from, the slot that the register at `reg` points at; 0 or `-errno`. */
export function processIRQFlag(env: VerifierEnv, reg: number, argno: number, isSave: boolean, kfuncClass: number): number {
  return isSave ? save(env, reg, argno, kfuncClass) : restore(env, reg, argno, kfuncClass);
}

function save(env: VerifierEnv, reg: number, argno: number, kfuncClass: number): number {
  const at = spiOfFlag(env, reg);
  const isFresh = at === -ERANGE || (at >= 0 && !slotTypesAre(env, slotAt(frameOfPointer(env, reg), at), false));
  if (!isFresh) {
    env.log.write(`expected uninitialized irq flag as ${argName(argno)}\n`);
    env.diag?.res(env.insnIdx, 'IRQ flag is already initialized',
      'Saving IRQ state requires an uninitialized stack slot for the IRQ flag, but this slot already contains tracked IRQ flag state.',
      'Use a fresh stack slot for this save operation, or restore the existing IRQ flag before reusing the slot.');
    return -EINVAL;
  }
  const err = checkMemAccess(env, env.insnIdx, reg, argno, 0, 8, BPF_WRITE, -1, false, false);
  if (err !== 0) return err;
  const spi = spiOfFlag(env, reg);
  if (spi < 0) return spi;
  const id = acquireIRQ(env, env.insnIdx);
  if (id < 0) return id;
  const { w, b } = env;
  const slot = slotAt(frameOfPointer(env, reg), spi);
  markKnownZero(w, slot);
  w[slot + REG_TYPE] = PTR_TO_STACK;
  w[slot + REG_ID] = id;
  w[slot + REG_A] = kfuncClass;
  b.fill(STACK_IRQ_FLAG, (slot + SLOT_TYPES) << 2, ((slot + SLOT_TYPES) << 2) + 8);
  markSlotScratched(env, spi);
  return 0;
}

function restore(env: VerifierEnv, reg: number, argno: number, kfuncClass: number): number {
  const { w, b } = env;
  const spi = spiOfFlag(env, reg);
  const slot = spi < 0 ? -1 : slotAt(frameOfPointer(env, reg), spi);
  if (slot < 0 || w[slot + REG_ID] === 0 || !slotTypesAre(env, slot, true)) {
    env.log.write(`expected an initialized irq flag as ${argName(argno)}\n`);
    env.diag?.res(env.insnIdx, 'uninitialized IRQ flag restore',
      'Restoring IRQ state requires a stack slot that was initialized by a matching IRQ save operation on this path.',
      'Pass the same stack slot that was previously initialized by the matching IRQ save kfunc.');
    return -EINVAL;
  }
  markSlotScratched(env, spi);
  if (w[slot + REG_A] !== kfuncClass) {
    const saved = familyName(w[slot + REG_A]!), used = familyName(kfuncClass);
    env.log.write(`irq flag acquired by ${saved} kfuncs cannot be restored with ${used} kfuncs\n`);
    env.diag?.irq(env.insnIdx, 'IRQ flag restore mismatch',
      `This IRQ flag was saved by ${saved} IRQ kfuncs, but the restore call belongs to the ${used} IRQ kfunc family. Save and restore operations must use the same family.`,
      'Restore the flag with the matching IRQ restore kfunc for the save operation that created it.', irqDepth(env.cur));
    return -EINVAL;
  }
  const err = releaseIRQ(env, w[slot + REG_ID]!);
  if (err !== 0) {
    env.log.write(`cannot restore irq state out of order, expected id=${env.cur.activeIRQID} acquired at insn_idx=${insnOf(env, env.cur.activeIRQID)}\n`);
    env.diag?.irq(env.insnIdx, 'IRQ flag restore out of order',
      'IRQ-disabled regions must be restored in last-in, first-out order, but this restore does not match the currently active IRQ flag.',
      'Restore nested IRQ flags in the reverse order they were saved.', irqDepth(env.cur));
    return err === -EACCES ? err : -EINVAL;
  }
  markNotInit(env, w, slot);
  b.fill(STACK_INVALID, (slot + SLOT_TYPES) << 2, ((slot + SLOT_TYPES) << 2) + 8);
  markSlotScratched(env, spi);
  if (!inRCU(env)) invalidateRCUProtectedRefs(env);
  return 0;
}

function insnOf(env: VerifierEnv, id: number): number {
  const { cur, w } = env;
  for (let i = 0; i < cur.acquiredRefs; i++) {
    const at = cur.refsAt + i * REF_WORDS;
    if (w[at + REF_ID] === id) return w[at + REF_INSN]!;
  }
  return 0;
}
