import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assembleText } from '../../../isa/asm.ts';
import {
  decodeInstruction, decodeProgram, NO_SPEC, programToBytes, SECOND_SLOT, specAt, type Instruction,
} from '../../../isa/decode.ts';
import { disassemble, disassembleProgram, formatXlated } from '../../../isa/disasm.ts';
import { assemble, raw, toBytes } from '../../../isa/encode.ts';
import * as E from '../../../isa/encode.ts';
import { InputError } from '../../../isa/errors.ts';
import { atomicError, immediate64Error, instructionError, registerError, reservedFieldError } from '../../../isa/fields.ts';
import { INSTRUCTIONS, LD_IMM64, LOADABLE_CODES, specByName, specOf, specsOfCode, type FieldUse, type InstructionSpec } from '../../../isa/instructions.ts';

const OPERAND_VALUES = { dst: 3, src: 4, off: -8, imm: 0x12345678 } as const;

function pick(use: FieldUse, operand: number): number {
  return use === 'operand' ? operand : use;
}

function sample(spec: InstructionSpec): Instruction {
  return {
    code: spec.code, dst: pick(spec.dst, OPERAND_VALUES.dst), src: pick(spec.src, OPERAND_VALUES.src), off: pick(spec.off, OPERAND_VALUES.off),
    imm: pick(spec.imm, OPERAND_VALUES.imm),
  };
}

const anyInstruction = fc.record({
  code: fc.integer({ min: 0, max: 255 }), dst: fc.integer({ min: 0, max: 15 }), src: fc.integer({ min: 0, max: 15 }),
  off: fc.oneof(fc.constantFrom(-1, 0, 1, 8, 16, 32), fc.integer({ min: -0x8000, max: 0x7fff })),
  imm: fc.oneof(fc.constantFrom(0, 1, 16, 32, 64, 0x10000, 0xe1, 0xf1, 0x100, 0x110), fc.integer()),
});

describe('the table', () => {
  it('names every row once', () => {
    expect(new Set(INSTRUCTIONS.map((spec) => spec.name)).size).toBe(INSTRUCTIONS.length);
    for (const spec of INSTRUCTIONS) expect(specByName(spec.name)).toBe(spec);
  });
  it('has no two rows that one instruction fits', () => {
    for (const spec of INSTRUCTIONS) {
      const insn = sample(spec);
      expect(specOf(insn.code, insn.dst, insn.src, insn.off, insn.imm)?.name).toBe(spec.name);
    }
  });
  it('counts the opcodes that Linux 7.3 loads', () => {
    // 27 ALU, 26 ALU64, 44 conditional jumps, 4 others and may_goto and gotox, 19 memory, 6 packet, one 64-bit immediate.
    expect(LOADABLE_CODES.reduce((sum, flag) => sum + flag, 0)).toBe(27 + 26 + 44 + 4 + 2 + 19 + 6 + 1);
    expect(LOADABLE_CODES[0x8f]).toBe(0);
    expect(LOADABLE_CODES[0x06]).toBe(1);
    expect(LOADABLE_CODES[0x0e]).toBe(0);
  });
});

describe.each(INSTRUCTIONS.map((spec) => [spec.name, spec] as const))('%s', (_name, spec) => {
  const insn = sample(spec);
  const items = spec.slots === 2 ? [insn, raw(0, 0, 0, 0, spec.src === 1 || spec.src === 4 || spec.src === 5 ? 0 : 7)] : [insn];
  const bytes = toBytes(items);

  it('decodes to its row and encodes to the same bytes', () => {
    const program = decodeProgram(bytes);
    expect(specAt(program, 0)).toBe(spec);
    if (spec.slots === 2) expect(program.spec[1]).toBe(SECOND_SLOT);
    expect(programToBytes(program)).toEqual(bytes);
    expect(decodeInstruction(bytes, 0)).toEqual(insn);
  });
  it('passes the field checks exactly if a program may be loaded with it', () => {
    const error = instructionError(insn, items[1]);
    if (spec.origin === 'internal') expect(error).toMatch(/^(unknown opcode|BPF_MOV uses reserved fields)/);
    else expect(error).toBeUndefined();
  });
  it('disassembles to text that assembles to the same bytes', () => {
    const [line] = disassembleProgram(bytes);
    // Modes of the kernel's own rewriting have no notation; names for pseudo loads are bpftool's; kfuncs with an offset name a BTF.
    const hasNotation = spec.origin !== 'internal' || spec.name === 'nospec' || spec.name === 'mov_percpu';
    if (!hasNotation || spec.name === 'call_kfunc' || spec.name === 'exit') return;
    const text = spec.kind === 'immediate64' ? formatXlated(bytes) : line?.text ?? '';
    if (spec.name === 'ld_imm64_btf_id' || spec.name === 'ld_imm64_map_idx') expect(assembleText(text)[1]).toBe(3);
    else expect(assembleText(text)).toEqual(bytes);
  });
  it('has a message for each reserved field that is set', () => {
    if (spec.origin === 'internal' || spec.kind === 'immediate64') return;
    for (const field of ['dst', 'src', 'off', 'imm'] as const) {
      if (spec[field] === 'operand') continue;
      const broken = { ...insn, [field]: spec[field] === 9 ? 10 : 9 };
      if (specOf(broken.code, broken.dst, broken.src, broken.off, broken.imm) !== undefined) continue;
      const isAtomic = (spec.code & 0xe7) === 0xc3;
      expect(isAtomic ? atomicError(broken) : reservedFieldError(broken), field).toBeTypeOf('string');
    }
  });
});

describe('disassembly', () => {
  // Pairs of instruction and the text that Linux prints.
  const pairs: readonly (readonly [E.Item, string])[] = [
    [E.mov64('r0', 1), '(b7) r0 = 1'],
    [E.mov64('r0', -1), '(b7) r0 = -1'],
    [E.mov32('r3', 'r4'), '(bc) w3 = w4'],
    [E.movsx64(8, 'r1', 'r2'), '(bf) r1 = (s8)r2'],
    [E.movsx64(32, 'r1', 'r2'), '(bf) r1 = (s32)r2'],
    [E.movsx32(16, 'r1', 'r2'), '(bc) w1 = (s16)w2'],
    [E.alu64('sdiv', 'r1', 'r2'), '(3f) r1 s/= r2'],
    [E.alu32('smod', 'r1', 7), '(94) w1 s%= 7'],
    [E.alu64('arsh', 'r1', 32), '(c7) r1 s>>= 32'],
    [E.neg64('r5'), '(87) r5 = -r5'],
    [E.neg32('r5'), '(84) w5 = -w5'],
    [E.byteSwap('be', 16, 'r1'), '(dc) r1 = be16 r1'],
    [E.byteSwap('le', 64, 'r1'), '(d4) r1 = le64 r1'],
    [E.byteSwap('bswap', 32, 'r1'), '(d7) r1 = bswap32 r1'],
    [E.castAddressSpace('kernel', 'r1', 'r2'), '(bf) r1 = addr_space_cast(r2, 0, 1)'],
    [E.castAddressSpace('user', 'r1', 'r2'), '(bf) r1 = addr_space_cast(r2, 1, 0)'],
    [E.ldx('u64', 'r1', 'r10', -8), '(79) r1 = *(u64 *)(r10 -8)'],
    [E.ldx('s8', 'r1', 'r2'), '(91) r1 = *(s8 *)(r2 +0)'],
    [E.stx('u16', 'r10', -2, 'r1'), '(6b) *(u16 *)(r10 -2) = r1'],
    [E.st('u32', 'r10', -4, -7), '(62) *(u32 *)(r10 -4) = -7'],
    [E.atomic('add', 'u32', 'r1', 4, 'r2'), '(c3) lock *(u32 *)(r1 +4) += r2'],
    [E.atomic('fetch_xor', 'u64', 'r1', 0, 'r2'), '(db) r2 = atomic64_fetch_xor((u64 *)(r1 +0), r2)'],
    [E.atomic('fetch_add', 'u32', 'r1', 0, 'r2'), '(c3) r2 = atomic_fetch_add((u32 *)(r1 +0), r2)'],
    [E.atomic('xchg', 'u64', 'r1', 0, 'r2'), '(db) r2 = atomic64_xchg((u64 *)(r1 +0), r2)'],
    [E.atomic('cmpxchg', 'u64', 'r1', -8, 'r2'), '(db) r0 = atomic64_cmpxchg((u64 *)(r1 -8), r0, r2)'],
    [E.loadAcquire('u8', 'r0', 'r1', 3), '(d3) r0 = load_acquire((u8 *)(r1 +3))'],
    [E.storeRelease('u16', 'r1', 2, 'r0'), '(cb) store_release((u16 *)(r1 +2), r0)'],
    [E.ldAbs('u16', 12), '(28) r0 = *(u16 *)skb[12]'],
    [E.ldInd('u8', 'r7', -1), '(50) r0 = *(u8 *)skb[r7 + -1]'],
    [E.ldImm64('r2', 0xffff888000000010n), '(18) r2 = 0xffff888000000010'],
    [E.ldImm64('r2', 0x100000000n), '(18) r2 = 0x100000000'],
    [E.jump('jeq', 'r1', -1, 3), '(15) if r1 == 0xffffffff goto pc+3'],
    [E.jump32('jset', 'r1', 'r2', -2), '(4e) if w1 & w2 goto pc-2'],
    [E.goto(0), '(05) goto pc+0'],
    [E.gotol(-70000), '(06) gotol pc-70000'],
    [E.gotox('r3'), '(0d) gotox r3'],
    [E.mayGoto(5), '(e5) may_goto pc+5'],
    [E.callHelper(1), '(85) call bpf_map_lookup_elem#1'],
    [E.callHelper(0), '(85) call bpf_unspec#0'],
    [E.callHelper(9999), '(85) call unknown#9999'],
    [E.callHelper(-5), '(85) call unknown#-5'],
    [E.callLocal(4), '(85) call pc+4'],
    [E.callKfunc(77), '(85) call kernel-function#77'],
    [E.exit(), '(95) exit'],
    [raw(0xc2), '(c2) nospec'],
    [raw(0xbf, 1, 2, -1), '(bf) r1 = &(void __percpu *)(r2)'],
    // Bytes that are no instruction: as the kernel prints them.
    [raw(0xe7, 1, 2, 0, 5), '(e7) r1 (null) 5'],
    [raw(0xff, 1, 2), '(ff) r1 (null) r2'],
    [raw(0xf5, 1, 2, 3, 4), '(f5) if r1 (null) 0x4 goto pc+3'],
    [raw(0x0e, 1, 2, 3), '(0e) if w1 jmp w2 goto pc+3'],
    [raw(0xe5, 1, 2, 3, 4), '(e5) if r1 (null) 0x4 goto pc+3'],
    [raw(0xdb, 1, 2, 0, 0x99), 'BUG_db'],
    [raw(0x03, 1, 2), 'BUG_03'],
    [raw(0x02), 'BUG_st_02'],
    [raw(0x99, 1, 2), 'BUG_ldx_99'],
    [raw(0x00), 'BUG_ld_00'],
    [raw(0x3f, 1, 2, 5), '(3f) r1 /= r2'],
    [raw(0x0f, 1, 2, 1), '(0f) r1 += r2'],
    [raw(0xd7, 1, 0, 0, 5), '(d7) r1 = bswap5 r1'],
    [raw(0xeb, 1, 2, 0, 0x100), '(eb) probe r1 = load_acquire((u16 *)(r2 +0))'],
  ];
  it.each(pairs)('%j is %s', (item, text) => {
    expect(disassembleProgram(assemble([item])).map((line) => line.text)).toEqual([text]);
  });
  it('names functions through callbacks', () => {
    const nameCall = (insn: Instruction): string | undefined => (insn.src === 2 ? 'bpf_kfunc' : undefined);
    expect(disassemble(E.callKfunc(77), 0, { nameCall })).toBe('(85) call bpf_kfunc#77');
    expect(disassemble(E.callHelper(500), 0, { nameCall })).toBe('(85) call unknown#500');
  });
  it('hides addresses from those who may not see them', () => {
    const [first] = E.ldMapFD('r1', 0x55);
    expect(disassemble(first!, 0xffff8880 | 0, { allowPointerLeaks: false })).toBe('(18) r1 = 0x0');
    expect(disassemble(E.ldImm64('r1', 5)[0]!, 1, { allowPointerLeaks: false })).toBe('(18) r1 = 0x100000005');
  });
  it('prints as bpftool does', () => {
    const bytes = assemble([E.ldMapFD('r1', 12), E.ldMapValue('r2', 12, 8), E.ldImm64Words('r3', 4, -3, 0), raw(0x85, 0, 1, 9, 2), E.callHelper(0), E.exit()]);
    expect(formatXlated(bytes)).toBe([
      '   0: (18) r1 = map[id:12]', '   2: (18) r2 = map[id:12][0]+8', '   4: (18) r3 = subprog[-3]', '   6: (85) call pc+9',
      '   7: (85) call bpf_unspec#0', '   8: (95) exit', ''].join('\n'));
    expect(formatXlated(assemble([E.exit()]), {}, true)).toBe('   0: (95) exit\n       95 00 00 00 00 00 00 00\n');
    expect(formatXlated(assemble([raw(0x85, 0, 1, 9, 1)]), { jitedFunctions: 2, nameOfFunction: (i) => `f${i}` })).toBe('   0: (85) call pc+9#f1\n');
    expect(formatXlated(assemble([raw(0x85, 0, 0, 0, 4660)]), { symbolOfCall: () => 'htab_map_lookup' })).toBe('   0: (85) call htab_map_lookup#4660\n');
  });
  it('gives a text for any bytes', () => {
    fc.assert(fc.property(anyInstruction, (insn) => disassemble(insn, 0).length > 0), { numRuns: 2000 });
  });
});

describe('field checks', () => {
  it('give a message exactly where no loadable row fits', () => {
    fc.assert(fc.property(anyInstruction, (insn) => {
      if (insn.code === LD_IMM64) return true;
      const spec = specOf(insn.code, insn.dst, insn.src, insn.off, insn.imm);
      const loadable = LOADABLE_CODES[insn.code] === 1;
      const bad = registerError(insn) !== undefined || !loadable || ((insn.code & 0xe7) !== 0xc3 && (spec === undefined || spec.origin === 'internal'));
      return (instructionError(insn, undefined) !== undefined) === bad;
    }), { numRuns: 5000 });
  });
  it('let arguments on the stack use R11', () => {
    expect(registerError(E.stx('u64', 'r11', -8, 'r1'))).toBeUndefined();
    expect(registerError(E.st('u64', 'r11', -16, 1))).toBeUndefined();
    expect(registerError(E.ldx('u64', 'r1', 'r11', 8))).toBeUndefined();
    expect(registerError(E.stx('u64', 'r11', 8, 'r1'))).toBe('R11 is invalid');
    expect(registerError(E.stx('u32', 'r11', -8, 'r1'))).toBe('R11 is invalid');
    expect(registerError(E.ldx('u64', 'r1', 'r11', 4))).toBe('R11 is invalid');
    expect(registerError(E.mov64('r12', 1))).toBe('R12 is invalid');
  });
  it('check both slots of a 64-bit immediate', () => {
    const good = raw(0, 0, 0, 0, 5);
    expect(immediate64Error(raw(0x18), undefined)).toBe('invalid bpf_ld_imm64 insn');
    expect(immediate64Error(raw(0x18), raw(0, 0, 0, 1))).toBe('invalid bpf_ld_imm64 insn');
    expect(immediate64Error(raw(0x18, 0, 0, 1), good)).toBe('BPF_LD_IMM64 uses reserved fields');
    expect(immediate64Error(raw(0x18, 0, 7), good)).toBe('unrecognized bpf_ld_imm64 insn');
    expect(immediate64Error(raw(0x18, 0, 1), good)).toBe('unrecognized bpf_ld_imm64 insn');
    expect(immediate64Error(raw(0x18, 0, 2), good)).toBeUndefined();
  });
  it('tell wrong atomics apart', () => {
    expect(atomicError(raw(0xdb, 1, 2, 0, 0xe0))).toBe('BPF_ATOMIC uses invalid atomic opcode e0');
    expect(atomicError(raw(0xdb, 1, 2, 0, -1))).toBe('BPF_ATOMIC uses invalid atomic opcode ffffffff');
    expect(atomicError(raw(0xd3, 1, 2, 0, 1))).toBe('invalid atomic operand size');
    expect(atomicError(raw(0xd3, 1, 2, 0, 0x100))).toBeUndefined();
  });
  it('have the kernel\'s texts', () => {
    const cases: readonly (readonly [Instruction, string])[] = [
      [raw(0x95, 1), 'BPF_EXIT uses reserved fields'], [raw(0xe5, 0, 0, 1, 3), 'invalid may_goto imm 3'], [raw(0x85, 0, 3), 'BPF_CALL uses reserved fields'],
      [raw(0x0d, 1, 1), 'BPF_JA|BPF_X uses reserved fields'], [raw(0x06, 0, 0, 1), 'BPF_JA uses reserved fields'], [raw(0x1d, 1, 2, 0, 1), 'BPF_JMP/JMP32 uses reserved fields'],
      [raw(0xbf, 1, 2, 1, 2), 'addr_space_cast insn can only convert between address space 1 and 0'], [raw(0xbc, 1, 2, 32), 'BPF_MOV uses reserved fields'],
      [raw(0x0f, 1, 2, 1), 'BPF_ALU uses reserved fields'], [raw(0xd7, 1, 0, 0, 8), 'BPF_END uses reserved fields'], [raw(0x87, 1, 0, 0, 8), 'BPF_NEG uses reserved fields'],
      [raw(0x79, 1, 2, 0, 1), 'BPF_LDX uses reserved fields'], [raw(0x7b, 1, 2, 0, 1), 'BPF_STX uses reserved fields'], [raw(0x7a, 1, 2), 'BPF_ST uses reserved fields'],
      [raw(0x20, 1), 'BPF_LD_[ABS|IND] uses reserved fields'], [raw(0x00), 'unknown opcode 00'],
    ];
    for (const [insn, text] of cases) expect(instructionError(insn, undefined)).toBe(text);
    expect(instructionError(raw(0x95, 0, 0, 5), undefined)).toBeUndefined();
  });
});

describe('decoding', () => {
  it('refuses a program that ends within an instruction', () => {
    expect(() => decodeProgram(new Uint8Array(12))).toThrow(InputError);
  });
  it('gives every byte sequence back', () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 0, maxLength: 80 }), (bytes) => {
      const whole = bytes.slice(0, bytes.length - (bytes.length % 8));
      expect(programToBytes(decodeProgram(whole))).toEqual(whole);
    }));
  });
  it('marks what is no instruction', () => {
    expect(decodeProgram(toBytes([raw(0x95, 1)])).spec[0]).toBe(NO_SPEC);
    expect(decodeProgram(toBytes([raw(0x18), raw(0x18), raw(0x95)])).spec.slice(1)).toEqual(new Uint16Array([SECOND_SLOT, specByName('exit')!.index]));
  });
});

describe('building', () => {
  it('resolves labels in off and imm', () => {
    const bytes = assemble([E.jump('jeq', 'r1', 0, 'end'), E.ldFunction('r2', 'f'), E.gotol('end'), E.callLocal('f'), E.label('end'), E.exit(), E.label('f'), E.exit()]);
    expect(disassembleProgram(bytes).map((line) => line.text)).toEqual(
      ['(15) if r1 == 0x0 goto pc+4', '(18) r2 = 0x4', '(06) gotol pc+1', '(85) call pc+1', '(95) exit', '(95) exit']);
  });
  it('refuses what does not fit', () => {
    expect(() => assemble([E.goto('nowhere')])).toThrow('label nowhere is not defined');
    expect(() => assemble([E.label('a'), E.label('a')])).toThrow('defined twice');
    expect(() => E.goto(40000)).toThrow(RangeError);
    expect(() => E.mov64('r0', 2 ** 33)).toThrow(RangeError);
  });
});

describe('text assembly', () => {
  it('takes listings with slot numbers and opcodes, comments, labels', () => {
    const text = '0: (b7) r0 = 0 ; comment\n// nothing\nloop:\n  r0 += 1\n  if r0 < 10 goto loop\n exit\n';
    expect(disassembleProgram(assembleText(text)).map((line) => line.text)).toEqual(['(b7) r0 = 0', '(07) r0 += 1', '(a5) if r0 < 0xa goto pc-2', '(95) exit']);
  });
  it('names the line of an error', () => {
    expect(() => assembleText('exit\nr1 = r99', 'x.s')).toThrow(/^x\.s: line 2: /);
    expect(() => assembleText('r1 = w2')).toThrow(InputError);
    expect(() => assembleText('goto x')).toThrow(InputError);
    expect(() => assembleText('r1 = 99999999999')).toThrow(InputError);
  });
  it('assembles what the disassembler prints of valid programs', () => {
    const loadable = INSTRUCTIONS.filter((spec) => spec.origin !== 'internal' && spec.slots === 1 && spec.name !== 'call_kfunc');
    const insn = fc.tuple(fc.constantFrom(...loadable), anyInstruction).map(([spec, any]): Instruction => ({
      code: spec.code, dst: pick(spec.dst, any.dst % 11), src: pick(spec.src, any.src % 11), off: pick(spec.off, spec.kind === 'exit' ? 0 : any.off), imm: pick(spec.imm, any.imm),
    }));
    fc.assert(fc.property(fc.array(insn, { minLength: 1, maxLength: 20 }), (insns) => {
      const bytes = toBytes(insns);
      expect(assembleText(disassembleProgram(bytes).map((line) => `${line.index}: ${line.text}`).join('\n'))).toEqual(bytes);
    }), { numRuns: 300 });
  });
  it('rows of an opcode are found by the byte alone', () => {
    expect(specsOfCode(0xbf).map((spec) => spec.name)).toContain('cast_to_user');
    expect(specsOfCode(0x00)).toEqual([]);
  });
});
