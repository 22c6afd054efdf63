import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { INSTRUCTIONS, type InstructionSpec } from '../../../isa/instructions.ts';
import { exit, ldImm64, ldx, mov64, raw, stx, toBytes, type Register } from '../../../isa/encode.ts';
import type { Instruction } from '../../../isa/decode.ts';
import { KERNEL_HI } from '../../../vm/address-space.ts';
import { runEverywhere, type Scenario } from './engines.ts';
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
const RUNS = { numRuns: 25 };

/** r6 = dst, r7 = src; the instruction; r0 = the destination register. */
function program(dst: bigint, src: bigint, body: readonly Instruction[], result: Register = 'r6'): Uint8Array {
  return toBytes([...ldImm64('r6', dst), ...ldImm64('r7', src), ...body, mov64('r0', result), exit()]);
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

/** What there is to test of one row; `undefined` for rows that have tests of their own below or in other files. */
function checkOf(spec: InstructionSpec): (() => void) | undefined {
  const { kind, operation, width, source, code } = spec;
  const off = typeof spec.off === 'number' ? spec.off : 0;
  switch (kind) {
    case 'alu':
    case 'mov':
      if (operation.startsWith('movsx')) {
        return () => fc.assert(fc.property(value64, value64, (dst, src) => {
          expect(r0(program(dst, src, [raw(code, 6, 7, off)]))).toBe(signExtended(src, off, width));
        }), RUNS);
      }
      if (source === 'x') {
        return () => fc.assert(fc.property(value64, value64, fc.boolean(), (dst, src, same) => {
          const operand = same ? dst : src;
          expect(r0(program(dst, src, [raw(code, 6, same ? 6 : 7, off)]))).toBe(arithmetic(operation, width, dst, operand));
        }), RUNS);
      }
      return () => fc.assert(fc.property(value64, value32, (dst, imm) => {
        expect(r0(program(dst, 0n, [raw(code, 6, 0, off, imm)]))).toBe(arithmetic(operation, width, dst, imm64(imm)));
      }), RUNS);
    case 'neg':
      return () => fc.assert(fc.property(value64, (dst) => {
        expect(r0(program(dst, 0n, [raw(code, 6)]))).toBe(arithmetic('sub', width, 0n, dst));
      }), RUNS);
    case 'end':
      return () => fc.assert(fc.property(value64, (dst) => {
        expect(r0(program(dst, 0n, [raw(code, 6, 0, 0, width)]))).toBe(operation === 'be' ? swapped(dst, width) : truncated(dst, width));
      }), RUNS);
    case 'swap':
      return () => fc.assert(fc.property(value64, (dst) => {
        expect(r0(program(dst, 0n, [raw(code, 6, 0, 0, width)]))).toBe(swapped(dst, width));
      }), RUNS);
    case 'jump':
      return () => fc.assert(fc.property(value64, value64, value32, fc.boolean(), (dst, other, imm, same) => {
        const src = source === 'k' ? imm64(imm) : same ? dst : other;
        const body = [raw(code, 6, source === 'k' ? 0 : 7, 1, source === 'k' ? imm : 0), mov64('r8', 1)];
        const taken = r0(program(dst, source === 'k' ? 0n : src, body, 'r8')) === 0n;
        expect(taken).toBe(condition(operation, width, dst, src));
      }), RUNS);
    case 'load':
      if (spec.name.startsWith('arena_')) return undefined;
      return () => fc.assert(fc.property(fc.uint8Array({ minLength: 24, maxLength: 24 }), fc.integer({ min: -8, max: 8 }), (memory, at) => {
        const body = [mov64('r8', 'r1'), raw(0x07, 8, 0, 0, 8), raw(code, 6, 8, at)];
        const loaded = valueOf(memory, 8 + at, width / 8);
        expect(r0(program(0n, 0n, body), { memory })).toBe(spec.signed ? signExtended(loaded, width, 64) : loaded);
      }), RUNS);
    case 'store':
    case 'storeImmediate':
      if (spec.name.startsWith('arena_')) return undefined;
      return () => fc.assert(fc.property(value64, value32, fc.integer({ min: -8, max: 8 }), (src, imm, at) => {
        const memory = new Uint8Array(24).fill(0xa5);
        const body = [mov64('r8', 'r1'), raw(0x07, 8, 0, 0, 8), raw(code, 8, kind === 'store' ? 7 : 0, at, kind === 'store' ? 0 : imm)];
        const { memory: after } = runEverywhere({ instructions: program(0n, src, body), memory });
        const expected = memory.slice();
        expected.set(bytesOf(kind === 'store' ? src : imm64(imm), width / 8), 8 + at);
        expect(after).toEqual(expected);
      }), RUNS);
    case 'atomic':
      if (spec.name.startsWith('probe_')) return undefined;
      return () => fc.assert(fc.property(value64, value64, value64, fc.boolean(), (old, src, compared, equal) => {
        const size = width / 8;
        const memory = Uint8Array.from([...bytesOf(old, 8), ...bytesOf(~old, 8)]);
        const r0Before = equal ? (old & (width === 32 ? 0xffffffffn : ~0n)) | (compared & (width === 32 ? 0xffffffff00000000n : 0n)) : compared;
        const fetched = operation === 'cmpxchg' ? 'r0' : 'r7';
        const instructions = toBytes([
          ...ldImm64('r7', src), ...ldImm64('r0', r0Before), raw(code, 1, 7, 0, spec.imm as number), mov64('r0', fetched), exit(),
        ]);
        const outcome = runEverywhere({ instructions, memory });
        const before = truncated(old, width);
        const expected = memory.slice();
        expected.set(bytesOf(atomicResult(operation, width, before, src, r0Before), size));
        expect(outcome.memory).toEqual(expected);
        const fetches = operation.startsWith('fetch_') || operation === 'xchg' || operation === 'cmpxchg';
        expect(outcome.r0).toBe(fetches ? before : src);
      }), RUNS);
    case 'loadAcquire':
      if (spec.name.startsWith('probe_')) return undefined;
      return () => fc.assert(fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (memory) => {
        expect(r0(program(0n, 0n, [raw(code, 6, 1, 8, spec.imm as number)]), { memory })).toBe(valueOf(memory, 8, width / 8));
      }), RUNS);
    case 'storeRelease':
      if (spec.name.startsWith('probe_')) return undefined;
      return () => fc.assert(fc.property(value64, (src) => {
        const memory = new Uint8Array(16).fill(0x5a);
        const { memory: after } = runEverywhere({ instructions: program(0n, src, [raw(code, 1, 7, 8, spec.imm as number)]), memory });
        const expected = memory.slice();
        expected.set(bytesOf(src, width / 8), 8);
        expect(after).toEqual(expected);
      }), RUNS);
    case 'goto':
      return () => {
        const jump = raw(code, 0, 0, spec.off === 'operand' ? 1 : 0, spec.imm === 'operand' ? 1 : 0);
        expect(r0(program(5n, 0n, [jump, mov64('r6', 9)]))).toBe(5n);
      };
    case 'immediate64':
      if (spec.src === 4) return undefined;
      // A rewritten program holds final addresses: the pseudo value in the source field changes nothing.
      return () => fc.assert(fc.property(value32, value32, (lo, hi) => {
        const expected = (imm64(hi) << 32n) | BigInt(lo >>> 0);
        expect(r0(program(0n, 0n, [raw(code, 6, spec.src as number, 0, lo), raw(0, 0, 0, 0, hi)]))).toBe(truncated(expected, 64));
      }), RUNS);
    case 'nospec':
      return () => expect(r0(program(5n, 0n, [raw(code)]))).toBe(5n);
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
