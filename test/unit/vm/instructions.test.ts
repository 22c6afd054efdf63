import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { INSTRUCTIONS, type InstructionSpec } from '../../../isa/instructions.ts';
import { assemble, byteSwap, exit, jump, jump32, label, ldImm64, ldx, mov64, raw, st, stx, toBytes, type Item, type Register } from '../../../isa/encode.ts';
import type { Instruction } from '../../../isa/decode.ts';
import { KERNEL_HI } from '../../../vm/address-space.ts';
import { runBatchEverywhere, runEverywhere, type Scenario } from './engines.ts';
import { arithmetic, atomicResult, condition, signExtended, swapped, truncated } from './reference.ts';

const EDGES = [
  0n, 1n, 2n, 7n, 31n, 32n, 33n, 63n, 64n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0x100000000n,
  0x180000000n, 0x7fffffffffffffffn, 0x8000000000000000n, 0x8000000000000001n, 0xffffffff00000000n, 0xfffffffffffffffen, 0xffffffffffffffffn,
  0xffffffff80000000n, 0x123456789abcdef0n,
];
const value64 = fc.oneof(fc.constantFrom(...EDGES), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));
const value32 = fc.oneof(
  fc.constantFrom(0, 1, -1, 2, 31, 32, 33, 63, 64, -2147483648, 2147483647, 255, 65535, -128),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
);
/** Few programs, each for many values: compiling costs more than running. */
const RUNS = { numRuns: 2 };
const pairs = fc.array(fc.tuple(value64, value64), { minLength: 12, maxLength: 24 });
const singles = fc.array(value64, { minLength: 8, maxLength: 16 });
const memories24 = fc.array(fc.uint8Array({ minLength: 24, maxLength: 24 }), { minLength: 6, maxLength: 12 });
const IMMEDIATE_RUNS = { numRuns: 6 };

/** r6 = dst, r7 = src, from memory; the instruction; r0 = the destination register. One result for each pair. */
function results(values: readonly (readonly [dst: bigint, src: bigint])[], body: readonly Instruction[], result: Register = 'r6'): readonly bigint[] {
  const instructions = toBytes([ldx('u64', 'r6', 'r1', 0), ldx('u64', 'r7', 'r1', 8), ...body, mov64('r0', result), exit()]);
  const memories = values.map(([dst, src]) => Uint8Array.from([...bytesOf(dst, 8), ...bytesOf(src, 8)]));
  return runBatchEverywhere({ instructions }, memories).map(({ r0: value, fault }) => {
    expect(fault).toBe(undefined);
    return value;
  });
}

function r0(instructions: Uint8Array, scenario: Partial<Scenario> = {}): bigint {
  const { r0: result, fault } = runEverywhere({ instructions, ...scenario });
  expect(fault).toBe(undefined);
  return result;
}

const imm64 = (imm: number): bigint => BigInt.asUintN(64, BigInt(imm));

function bytesOf(value: bigint, size: number): number[] {
  return Array.from({ length: size }, (_, byte) => Number((value >> BigInt(8 * byte)) & 0xffn));
}

function valueOf(bytes: Uint8Array, at: number, size: number): bigint {
  let value = 0n;
  for (let byte = size - 1; byte >= 0; byte--) value = (value << 8n) | BigInt(bytes[at + byte] ?? 0);
  return value;
}

function isConstantJump(source: string): { numRuns: number } {
  return { numRuns: source === 'k' ? 5 : 3 };
}

/** What there is to test of one row; `undefined` for rows that have tests of their own below or in other files. */
function checkOf(spec: InstructionSpec): (() => void) | undefined {
  const { kind, operation, width, source, code } = spec;
  const off = typeof spec.off === 'number' ? spec.off : 0;
  switch (kind) {
    case 'alu':
    case 'mov':
      if (operation.startsWith('movsx')) {
        return () => fc.assert(fc.property(pairs, (values) => {
          expect(results(values, [raw(code, 6, 7, off)])).toEqual(values.map(([, src]) => signExtended(src, off, width)));
        }), RUNS);
      }
      if (source === 'x') {
        return () => fc.assert(fc.property(pairs, fc.boolean(), (values, same) => {
          const expected = values.map(([dst, src]) => arithmetic(operation, width, dst, same ? dst : src));
          expect(results(values, [raw(code, 6, same ? 6 : 7, off)])).toEqual(expected);
        }), { numRuns: 4 });
      }
      return () => fc.assert(fc.property(singles, value32, (values, imm) => {
        const expected = values.map((dst) => arithmetic(operation, width, dst, imm64(imm)));
        expect(results(values.map((dst) => [dst, 0n]), [raw(code, 6, 0, off, imm)])).toEqual(expected);
      }), IMMEDIATE_RUNS);
    case 'neg':
      return () => fc.assert(fc.property(pairs, (values) => {
        expect(results(values, [raw(code, 6)])).toEqual(values.map(([dst]) => arithmetic('sub', width, 0n, dst)));
      }), RUNS);
    case 'end':
      return () => fc.assert(fc.property(pairs, (values) => {
        const expected = values.map(([dst]) => (operation === 'be' ? swapped(dst, width) : truncated(dst, width)));
        expect(results(values, [raw(code, 6, 0, 0, width)])).toEqual(expected);
      }), RUNS);
    case 'swap':
      return () => fc.assert(fc.property(pairs, (values) => {
        expect(results(values, [raw(code, 6, 0, 0, width)])).toEqual(values.map(([dst]) => swapped(dst, width)));
      }), RUNS);
    case 'jump':
      return () => fc.assert(fc.property(pairs, value32, fc.boolean(), (values, imm, same) => {
        const isConstant = source === 'k';
        const body = [raw(code, 6, isConstant ? 0 : same ? 6 : 7, 1, isConstant ? imm : 0), mov64('r8', 1)];
        const expected = values.map(([dst, src]) => (condition(operation, width, dst, isConstant ? imm64(imm) : same ? dst : src) ? 0n : 1n));
        expect(results(values, body, 'r8')).toEqual(expected);
        // The same with a side effect between, which no conditional move can replace.
        const stored = [raw(code, 6, isConstant ? 0 : same ? 6 : 7, 2, isConstant ? imm : 0), mov64('r8', 1), stx('u64', 'r1', 0, 'r8')];
        expect(results(values, stored, 'r8')).toEqual(expected);
      }), isConstantJump(source));
    case 'load':
      if (spec.name.startsWith('arena_')) return undefined;
      return () => fc.assert(fc.property(memories24, fc.integer({ min: -8, max: 8 }), (memories, at) => {
        const instructions = assemble([mov64('r8', 'r1'), raw(0x07, 8, 0, 0, 8), raw(code, 6, 8, at), mov64('r0', 'r6'), exit()]);
        const expected = memories.map((memory) => {
          const loaded = valueOf(memory, 8 + at, width / 8);
          return spec.signed ? signExtended(loaded, width, 64) : loaded;
        });
        expect(runBatchEverywhere({ instructions }, memories).map((outcome) => outcome.r0)).toEqual(expected);
      }), RUNS);
    case 'store':
    case 'storeImmediate':
      if (spec.name.startsWith('arena_')) return undefined;
      return () => fc.assert(fc.property(memories24, value32, fc.integer({ min: -8, max: 8 }), (memories, imm, at) => {
        const isConstant = kind === 'storeImmediate';
        const instructions = assemble([
          mov64('r8', 'r1'), raw(0x07, 8, 0, 0, 8), ldx('u64', 'r7', 'r1', 0), raw(code, 8, isConstant ? 0 : 7, at, isConstant ? imm : 0), exit(),
        ]);
        const expected = memories.map((memory) => {
          const after = memory.slice();
          after.set(bytesOf(isConstant ? imm64(imm) : valueOf(memory, 0, 8), width / 8), 8 + at);
          return after;
        });
        expect(runBatchEverywhere({ instructions }, memories).map((outcome) => outcome.memory)).toEqual(expected);
      }), RUNS);
    case 'atomic':
      if (spec.name.startsWith('probe_')) return undefined;
      return () => fc.assert(fc.property(fc.array(fc.tuple(value64, value64, value64, fc.boolean()), { minLength: 8, maxLength: 16 }), (values) => {
        const size = width / 8;
        const fetches = operation.startsWith('fetch_') || operation === 'xchg' || operation === 'cmpxchg';
        const instructions = assemble([
          ldx('u64', 'r7', 'r1', 16), ldx('u64', 'r0', 'r1', 24), raw(code, 1, 7, 0, spec.imm as number),
          mov64('r0', operation === 'cmpxchg' ? 'r0' : 'r7'), exit(),
        ]);
        const cases = values.map(([old, src, other, equal]) => {
          const compared = !equal ? other : width === 64 ? old : (other & 0xffffffff00000000n) | (old & 0xffffffffn);
          const memory = Uint8Array.from([old, ~old, src, compared].flatMap((value) => bytesOf(value, 8)));
          const after = memory.slice();
          after.set(bytesOf(atomicResult(operation, width, truncated(old, width), src, compared), size));
          return { memory, after, r0: fetches ? truncated(old, width) : src };
        });
        const outcomes = runBatchEverywhere({ instructions }, cases.map(({ memory }) => memory));
        expect(outcomes.map((outcome) => outcome.memory)).toEqual(cases.map(({ after }) => after));
        expect(outcomes.map((outcome) => outcome.r0)).toEqual(cases.map((one) => one.r0));
      }), RUNS);
    case 'loadAcquire':
      if (spec.name.startsWith('probe_')) return undefined;
      return () => fc.assert(fc.property(memories24, (memories) => {
        const instructions = assemble([raw(code, 6, 1, 8, spec.imm as number), mov64('r0', 'r6'), exit()]);
        expect(runBatchEverywhere({ instructions }, memories).map((outcome) => outcome.r0)).toEqual(memories.map((memory) => valueOf(memory, 8, width / 8)));
      }), RUNS);
    case 'storeRelease':
      if (spec.name.startsWith('probe_')) return undefined;
      return () => fc.assert(fc.property(memories24, (memories) => {
        const instructions = assemble([ldx('u64', 'r7', 'r1', 0), raw(code, 1, 7, 8, spec.imm as number), exit()]);
        const expected = memories.map((memory) => {
          const after = memory.slice();
          after.set(memory.subarray(0, width / 8), 8);
          return after;
        });
        expect(runBatchEverywhere({ instructions }, memories).map((outcome) => outcome.memory)).toEqual(expected);
      }), RUNS);
    case 'goto':
      return () => {
        const jump = raw(code, 0, 0, spec.off === 'operand' ? 1 : 0, spec.imm === 'operand' ? 1 : 0);
        expect(results([[5n, 0n]], [jump, mov64('r6', 9)])).toEqual([5n]);
      };
    case 'immediate64':
      if (spec.src === 4) return undefined;
      // A rewritten program holds final addresses: the pseudo value in the source field changes nothing.
      return () => fc.assert(fc.property(value32, value32, (lo, hi) => {
        const expected = (imm64(hi) << 32n) | BigInt(lo >>> 0);
        expect(results([[0n, 0n]], [raw(code, 6, spec.src as number, 0, lo), raw(0, 0, 0, 0, hi)])).toEqual([truncated(expected, 64)]);
      }), { numRuns: 10 });
    case 'nospec':
      return () => expect(results([[5n, 0n]], [raw(code)])).toEqual([5n]);
    default:
      return undefined;
  }
}

/** Rows whose meaning depends on the surroundings: where their tests are. */
const ELSEWHERE: ReadonlyMap<string, string> = new Map([
  ...['ldx_u8', 'ldx_u16', 'ldx_u32', 'ldx_u64', 'ldx_s8', 'ldx_s16', 'ldx_s32', 'stx_u8', 'stx_u16', 'stx_u32', 'stx_u64', 'st_u8', 'st_u16',
    'st_u32', 'st_u64'].map((name) => [`arena_${name}`, 'arena.test.ts'] as const),
  ...INSTRUCTIONS.filter((spec) => spec.name.startsWith('probe_') && spec.kind !== 'load').map((spec) => [spec.name, 'arena.test.ts'] as const),
  ...INSTRUCTIONS.filter((spec) => spec.kind === 'packet').map((spec) => [spec.name, 'control.test.ts'] as const),
  ['cast_to_kernel', 'arena.test.ts'], ['cast_to_user', 'arena.test.ts'], ['mov_percpu', 'control.test.ts'],
  ['ld_imm64_func', 'control.test.ts'], ['gotox', 'control.test.ts'], ['may_goto', 'control.test.ts'], ['call_helper', 'control.test.ts'],
  ['call_local', 'control.test.ts'], ['call_kfunc', 'control.test.ts'], ['exit', 'control.test.ts'], ['tail_call', 'control.test.ts'],
]);

describe('instructions of the table, from their definition', () => {
  for (const spec of INSTRUCTIONS) {
    const check = checkOf(spec);
    if (check === undefined) {
      test(`${spec.name} is tested elsewhere`, () => expect(ELSEWHERE.has(spec.name)).toBe(true));
    } else test(spec.name, check);
  }
});

/** Jumps that leave, as filters have them; the engines may compare what is not swapped, or take a difference, where nothing reads it later. */
describe('a number in network order, compared with a constant', () => {
  const values = [0n, 0x800n, 0x900n, 8n, 0xffffn, 0x0800_0008n, 0x1_0000_0800n, 0x0c0b_0a00n, 0xffff_ffffn, 0x8000_0000n, 0x80n, 0x1_0008n, 0xffff_ffff_ffff_0008n];
  for (const [width, constants] of [[16, [0x800, -1, 0x10008]], [32, [0x8000000, -1, 0xa0b0c]]] as const) {
    test.each(constants)(`be${width} and %i`, (constant) => {
      const shapes: readonly (readonly Item[])[] = (['jeq', 'jne'] as const).flatMap((how) => [jump(how, 'r6', constant, 'out'), jump32(how, 'r6', constant, 'out')].flatMap((leave) =>
        [[ldx('u64', 'r6', 'r1')], [ldx('u16', 'r6', 'r1')]].flatMap((load) => [mov64('r2', 0), mov64('r2', 'r6')].map((later) =>
          [mov64('r0', 7), ...load, byteSwap('be', width, 'r6'), leave, st('u8', 'r1', 0, 1), later, mov64('r0', 'r2'), label('out'), exit()]))));
      for (const shape of shapes) {
        const memories = values.map((value) => Uint8Array.from(bytesOf(value, 8)));
        runBatchEverywhere({ instructions: assemble(shape), image: { verified: true } }, memories);
      }
    });
  }

  test('leaves where it should', () => {
    const filter = assemble([mov64('r0', 2), ldx('u16', 'r6', 'r1', 2), byteSwap('be', 16, 'r6'), jump('jne', 'r6', 0x806, 'out'), mov64('r0', 3), label('out'), exit()]);
    const run = (...memory: number[]): bigint => r0(filter, { memory: Uint8Array.from([0, 0, ...memory, 0, 0, 0, 0]), image: { verified: true } });
    expect([run(8, 6), run(6, 8), run(8, 7), run(0, 0)]).toEqual([3n, 2n, 2n, 2n]);
  });
});

describe('registers at entry', () => {
  test.each(['r0', 'r3', 'r4', 'r5', 'r6', 'r7', 'r8', 'r9'] as const)('%s is 0', (register) => {
    expect(r0(toBytes([mov64('r0', register), exit()]), { memory: new Uint8Array(8) })).toBe(0n);
  });
  test('r10 points behind 512 bytes of stack', () => {
    const instructions = toBytes([...ldImm64('r1', 0x1122334455667788n), stx('u64', 'r10', -512, 'r1'), ldx('u64', 'r0', 'r10', -512), exit()]);
    expect(r0(instructions)).toBe(0x1122334455667788n);
    expect(r0(toBytes([mov64('r0', 'r10'), raw(0x77, 0, 0, 0, 32), exit()]))).toBe(BigInt(KERNEL_HI >>> 0));
  });
});
