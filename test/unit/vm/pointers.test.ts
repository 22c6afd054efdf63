/** Comparisons in verified programs: narrowed where both sides are pointers, whole everywhere else. */
import { expect, test } from 'vitest';
import { alu64, assemble, callHelper, exit, goto, jump, label, ldImm64, ldImm64Words, ldx, mov64, st, stx, type Item, type JumpCondition } from '../../../isa/encode.ts';
import { KERNEL_HI } from '../../../vm/address-space.ts';
import { runEverywhere, type Outcome } from './engines.ts';

const run = (items: readonly Item[], memory: Uint8Array = new Uint8Array(64)): Outcome =>
  runEverywhere({
    instructions: assemble(items), memory, image: { verified: true },
    environment: ({ memory: at }) => ({ helpers: [undefined, (call): void => call.setPointer(at)] }),
  });

/** 1 where the condition holds for r2 and r3, else 0. */
const compare = (condition: JumpCondition): readonly Item[] => [jump(condition, 'r2', 'r3', 'yes'), mov64('r0', 0), exit(), label('yes'), mov64('r0', 1), exit()];
const CONDITIONS = ['jeq', 'jne', 'jgt', 'jge', 'jlt', 'jle', 'jsgt', 'jsge', 'jslt', 'jsle'] as const;

test('two pointers into one region, near and far, in every way', () => {
  for (const condition of CONDITIONS) {
    for (const [a, b] of [[0, 0], [0, 8], [8, 0], [-60_000, 4], [4, 60_000], [-100_000, 100_000]] as const) {
      const outcome = run([ldx('u8', 'r0', 'r1'), mov64('r2', 'r1'), alu64('add', 'r2', a), mov64('r3', 'r1'), alu64('add', 'r3', b), compare(condition)]);
      const holds = { jeq: a === b, jne: a !== b, jgt: a > b, jge: a >= b, jlt: a < b, jle: a <= b, jsgt: a > b, jsge: a >= b, jslt: a < b, jsle: a <= b }[condition];
      expect(outcome.r0, `${condition} ${a} ${b}`).toBe(holds ? 1n : 0n);
    }
  }
});

test('values with the lower half of a pointer are not it', () => {
  const other: readonly (readonly Item[])[] = [
    // another upper half by an addition of a register
    [...ldImm64('r4', 1n << 32n), mov64('r3', 'r1'), alu64('add', 'r3', 'r4')],
    // out of memory, and back
    [...ldImm64('r4', 1n << 32n), mov64('r5', 'r1'), alu64('add', 'r5', 'r4'), stx('u64', 'r10', -8, 'r5'), ldx('u64', 'r3', 'r10', -8)],
    // shifted
    [mov64('r3', 'r1'), alu64('lsh', 'r3', 32), alu64('rsh', 'r3', 32)],
    // on one of two ways
    [mov64('r3', 'r1'), ...ldImm64('r4', 1n << 32n), ldx('u8', 'r5', 'r1', 1), jump('jne', 'r5', 0, 'keep'), alu64('add', 'r3', 'r4'), stx('u64', 'r10', -8, 'r3'), label('keep')],
    [mov64('r3', 'r1'), ...ldImm64('r4', 1n << 32n), ldx('u8', 'r5', 'r1', 1), jump('jne', 'r5', 0, 'keep'), mov64('r3', 'r4'), label('keep')],
    // a constant: of user space, and null
    [...ldImm64Words('r3', 0, 65536, 0x7f00)], [mov64('r3', 0)],
  ];
  for (const items of other) {
    for (const condition of CONDITIONS) {
      const { r0 } = run([ldx('u8', 'r0', 'r1'), mov64('r2', 'r1'), ...items, compare(condition)]);
      const differs = condition === 'jeq' ? 0n : condition === 'jne' ? 1n : r0;
      expect(r0).toBe(differs);
    }
  }
});

test('what a helper gives is no pointer until it is used', () => {
  const twice: readonly Item[] = [mov64('r6', 'r1'), callHelper(1), mov64('r2', 'r0'), mov64('r3', 'r6')];
  expect(run([...twice, compare('jeq')]).r0).toBe(1n);
  expect(run([...twice, ldx('u8', 'r4', 'r2'), st('u8', 'r3', 1, 7), compare('jeq')]).r0).toBe(1n);
});

test('a pointer that runs away in a loop', () => {
  // 70,000 steps of one without an access, then compared.
  const items: readonly Item[] = [
    ldx('u8', 'r0', 'r1'), mov64('r2', 'r1'), mov64('r4', 70_000), label('loop'), alu64('add', 'r2', 1), alu64('sub', 'r4', 1), jump('jne', 'r4', 0, 'loop'),
    mov64('r3', 'r1'), alu64('add', 'r3', 70_000), compare('jeq'),
  ];
  expect(run(items).r0).toBe(1n);
});

test('from one constant address to another, and the stack', () => {
  const items: readonly Item[] = [
    ...ldImm64Words('r2', 0, 70_000, KERNEL_HI), ...ldImm64Words('r3', 0, 70_010, KERNEL_HI), mov64('r5', 0), goto('test'),
    label('loop'), alu64('add', 'r5', 1), alu64('add', 'r2', 1), label('test'), jump('jne', 'r2', 'r3', 'loop'), mov64('r2', 'r10'), alu64('add', 'r2', -8), mov64('r3', 'r10'),
    jump('jge', 'r2', 'r3', 'bad'), mov64('r0', 'r5'), exit(), label('bad'), mov64('r0', 99), exit(),
  ];
  expect(run(items).r0).toBe(10n);
});
