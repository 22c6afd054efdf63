import { describe, expect, test } from 'vitest';
import { INSTRUCTIONS } from '../../../isa/instructions.ts';
import { castAddressSpace, exit, ldImm64, mov64, raw, toBytes } from '../../../isa/encode.ts';
import type { Instruction } from '../../../isa/decode.ts';
import { runEverywhere, runOn, ENGINES, type Outcome } from './engines.ts';
import { AddressSpace } from '../../../vm/address-space.ts';
import type { ArenaWindow } from '../../../vm/types.ts';

const SIZE = 3 * 4096;
const USER_LO = 0x10000000;
const USER_HI = 0x7f12;

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** The scenario's memory is the arena: three pages, the middle one missing. */
function onArena(body: readonly Instruction[], fill = 0): Outcome {
  // Engines allocate alike, so the arena's offset is that of the same steps in a space of our own.
  const space = new AddressSpace({ initialBytes: 1 << 18 });
  const offset = space.alloc(SIZE, 'probe', 16);
  const arena: ArenaWindow = { offset, size: SIZE, userLo: USER_LO, userHi: USER_HI, present: Uint8Array.of(1, 0, 1) };
  return runEverywhere({ instructions: toBytes([...body, exit()]), memory: new Uint8Array(SIZE).fill(fill), image: { arena } });
}

describe('arena accesses', () => {
  const rows = INSTRUCTIONS.filter((spec) => spec.name.startsWith('arena_') || (spec.name.startsWith('probe_') && spec.kind !== 'load'));
  test.each(rows)('$name reaches present pages through the low half of the address, and no others', (spec) => {
    const value = 0x1122334485667788n;
    const mask = (1n << BigInt(spec.width)) - 1n;
    const imm = typeof spec.imm === 'number' ? spec.imm : -2;
    const isLoad = spec.kind === 'load' || spec.kind === 'loadAcquire';
    const at = (address: number): Instruction[] => [
      ...ldImm64('r6', BigInt(address)), ...ldImm64('r7', value), ...ldImm64('r0', 0x99n),
      raw(spec.code, isLoad ? 0 : 6, isLoad ? 6 : 7 * Number(spec.src === 'operand'), 8, imm),
    ];
    const inside = onArena(at(USER_LO + 8192), 0x81);
    const missing = onArena(at(USER_LO + 4096), 0x81);
    const outside = onArena(at(USER_LO + SIZE), 0x81);
    expect([inside.fault, missing.fault, outside.fault]).toEqual([undefined, undefined, undefined]);
    const filled = 0x8181818181818181n & mask;
    if (isLoad) {
      expect(inside.r0).toBe(BigInt.asUintN(64, spec.signed ? BigInt.asIntN(spec.width, filled) : filled));
      expect([missing.r0, outside.r0]).toEqual([0n, 0n]);
      return;
    }
    const unchanged = new Uint8Array(SIZE).fill(0x81);
    expect(same(missing.memory, unchanged)).toBe(true);
    expect(same(outside.memory, unchanged)).toBe(true);
    const changed = inside.memory.findIndex((byte) => byte !== 0x81);
    if (!(spec.operation === 'cmpxchg' || spec.operation === 'or' || spec.operation === 'fetch_or')) expect(changed).toBeGreaterThanOrEqual(8200);
    expect(same(inside.memory.subarray(8200 + spec.width / 8), unchanged.subarray(8200 + spec.width / 8))).toBe(true);
    if (spec.kind === 'store') expect(inside.memory[8200]).toBe(Number(value & 0xffn));
    if (spec.kind === 'storeImmediate') expect(inside.memory[8200 + spec.width / 8 - 1]).toBe(spec.width === 8 ? 0xfe : 0xff);
  });

  test('an access over the edge of a missing page is dropped whole', () => {
    const body = [...ldImm64('r6', BigInt(USER_LO + 4092)), mov64('r7', -1), raw(0x7b & 7 | 0xb8, 6, 7)];
    expect(onArena(body, 3).memory.every((byte) => byte === 3)).toBe(true);
  });

  test('a program without an arena reads 0', () => {
    const outcome = runEverywhere({ instructions: toBytes([mov64('r1', 5), mov64('r0', 7), raw(0xb9, 0, 1), exit()]) });
    expect(outcome).toMatchObject({ r0: 0n, fault: undefined });
  });
});

describe('address space casts', () => {
  test('to user: the window\'s upper half in front, null stays null', () => {
    expect(onArena([...ldImm64('r1', 0x5555555512345678n), castAddressSpace('user', 'r0', 'r1')]).r0).toBe((BigInt(USER_HI) << 32n) | 0x12345678n);
    expect(onArena([...ldImm64('r1', 0x5555555500000000n), castAddressSpace('user', 'r0', 'r1')]).r0).toBe(0n);
  });
  test('to the kernel: the lower half remains', () => {
    expect(onArena([...ldImm64('r1', 0x5555555587654321n), castAddressSpace('kernel', 'r0', 'r1')]).r0).toBe(0x87654321n);
  });
});

describe('loads through pointers that nobody trusts', () => {
  test.each(INSTRUCTIONS.filter((spec) => spec.name.startsWith('probe_ldx')))('$name of a wild address gives 0', (spec) => {
    for (const address of [0n, 8n, 0x7f0000010000n, 0xffff88807fffffffn, 0xffffffffffffffffn, 0xffff888000001000n]) {
      const instructions = toBytes([...ldImm64('r6', address), mov64('r0', 1), raw(spec.code, 0, 6), exit()]);
      for (const engine of ENGINES) expect(runOn(engine, { instructions })).toMatchObject({ r0: 0n, fault: undefined });
    }
  });
});
