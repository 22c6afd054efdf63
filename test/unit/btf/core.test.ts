import { describe, expect, it } from 'vitest';
import { BTF } from '../../../btf/btf.ts';
import { essentialNameLength, resolveCoreRelocation, type CoreCandidate, type CoreRelocation, type CoreReporter } from '../../../btf/core.ts';
import { findCoreCandidates } from '../../../btf/core_apply.ts';
import { patchCoreInstruction } from '../../../btf/core_patch.ts';
import { E2BIG, EINVAL } from '../../../isa/errno.ts';
import * as U from '../../../isa/uapi.ts';
import { BTFBuilder } from './build.ts';

class Messages implements CoreReporter {
  readonly programName = 'p';
  readonly maxDepth = 32;
  readonly warnings: string[] = [];
  readonly details: string[] = [];

  warn(text: string): void {
    this.warnings.push(text.trimEnd());
  }

  debug(text: string): void {
    this.details.push(text.trimEnd());
  }
}

/** A program's BTF with one struct, and an access string in its strings. */
function program(access: string, build: (b: BTFBuilder, int: number) => number): { btf: BTF; relo: (kind: number) => CoreRelocation } {
  const b = new BTFBuilder();
  const int = b.int('int', 4, 1);
  const typeID = build(b, int);
  const accessStringOffset = b.string(access);
  const btf = BTF.parse(b.build());
  return { btf, relo: (kind) => ({ instructionOffset: 0, typeID, accessStringOffset, kind }) };
}

function target(build: (b: BTFBuilder, int: number) => void): BTF {
  const b = new BTFBuilder();
  build(b, b.int('int', 4, 1));
  return BTF.parse(b.build());
}

const structs = (btf: BTF, name: string): CoreCandidate[] => findCoreCandidates(btf, name, (kind) => kind === U.BTF_KIND_STRUCT);

describe('CO-RE', () => {
  it('cuts flavors off names', () => {
    const lengths = ['task_struct', 'task_struct___new', 'a___b___c', '___x', 'x____y', '_', ''].map(essentialNameLength);
    expect(lengths).toEqual([11, 11, 5, 4, 6, 1, 0]);
  });

  it('finds a field at its place in the target, through anonymous members', () => {
    const { btf, relo } = program('0:1', (b, int) => b.struct('s', 8, [['x', int, 0], ['y', int, 32]]));
    const kernel = target((b, int) => {
      const inner = b.struct('', 8, [['z', int, 0], ['y', int, 32]]);
      b.struct('s', 16, [['w', int, 0], ['', inner, 64]]);
    });
    const messages = new Messages();
    const result = resolveCoreRelocation(btf, relo(U.BPF_CORE_FIELD_BYTE_OFFSET), 3, structs(kernel, 's'), messages);
    expect(result).toMatchObject({ originalValue: 4n, newValue: 12n, poison: false, originalSize: 4, newSize: 4 });
    expect(messages.details[1]).toBe("prog 'p': relo #3: matching candidate #0 <byte_off> [3] STRUCT s.y (0:1:1 @ offset 12)");
  });

  it('poisons what the target lacks, and answers 0 to whether it exists', () => {
    const { btf, relo } = program('0:0', (b, int) => b.struct('s', 4, [['gone', int, 0]]));
    const kernel = target((b, int) => b.struct('s', 4, [['x', int, 0]]));
    expect(resolveCoreRelocation(btf, relo(U.BPF_CORE_FIELD_BYTE_OFFSET), 0, structs(kernel, 's'), new Messages())).toMatchObject({ poison: true });
    expect(resolveCoreRelocation(btf, relo(U.BPF_CORE_FIELD_EXISTS), 0, structs(kernel, 's'), new Messages()))
      .toMatchObject({ poison: false, newValue: 0n });
  });

  it('refuses candidates that disagree', () => {
    const { btf, relo } = program('0:0', (b, int) => b.struct('s', 4, [['x', int, 0]]));
    const kernel = target((b, int) => {
      b.struct('s', 4, [['x', int, 0]]);
      b.struct('s___old', 8, [['x', int, 32]]);
    });
    const messages = new Messages();
    expect(resolveCoreRelocation(btf, relo(U.BPF_CORE_FIELD_BYTE_OFFSET), 0, structs(kernel, 's'), messages)).toBe(-EINVAL);
    expect(messages.warnings).toEqual(["prog 'p': relo #0: field offset ambiguity: 32 != 0"]);
  });

  it.each(['', ':', '0:', 'x', '-1', '0:99', '0:0:0'])('refuses the access string %j', (access) => {
    const { btf, relo } = program(access, (b, int) => b.struct('s', 4, [['x', int, 0]]));
    expect(resolveCoreRelocation(btf, relo(U.BPF_CORE_FIELD_BYTE_OFFSET), 0, [], new Messages())).toBe(-EINVAL);
  });

  it('ends on nests of anonymous members that double at every level', () => {
    const { btf, relo } = program('0:0', (b, int) => b.struct('s', 4, [['x', int, 0]]));
    const kernel = target((b, int) => {
      let inner = b.struct('', 4, [['y', int, 0]]);
      for (let i = 0; i < 40; i++) inner = b.struct('', 4, [['', inner, 0], ['', inner, 0]], U.BTF_KIND_UNION);
      b.struct('s', 4, [['', inner, 0]]);
    });
    const result = resolveCoreRelocation(btf, relo(U.BPF_CORE_FIELD_BYTE_OFFSET), 0, structs(kernel, 's'), new Messages());
    expect([-EINVAL, -E2BIG]).toContain(result);
  });

  it('compares whole types', () => {
    const { btf, relo } = program('0', (b, int) => b.struct('s', 8, [['x', int, 0], ['e', b.enumeration('e', [['A', 1]]), 32]]));
    const same = target((b, int) => b.struct('s', 12, [['e', b.enumeration('e', [['B', 7], ['A', 3]]), 0], ['x', int, 32], ['z', int, 64]]));
    const less = target((b, int) => b.struct('s', 4, [['x', int, 0]]));
    const matches = (kernel: BTF): unknown => resolveCoreRelocation(btf, relo(U.BPF_CORE_TYPE_MATCHES), 0, structs(kernel, 's'), new Messages());
    expect(matches(same)).toMatchObject({ newValue: 1n });
    expect(matches(less)).toMatchObject({ newValue: 0n });
  });
});

describe('patching', () => {
  const result = {
    originalValue: 4n, newValue: 8n, poison: false, validate: true, failMemorySizeAdjust: false, originalSize: 0, newSize: 0,
  };
  const load = (): Uint8Array => Uint8Array.of(0x61, 0x10, 4, 0, 0, 0, 0, 0);

  it('changes offsets, immediates and sizes', () => {
    const insn = load();
    expect(patchCoreInstruction(insn, 0, 0, 0, { ...result, originalSize: 4, newSize: 8 }, new Messages())).toBe(0);
    expect([...insn]).toEqual([0x79, 0x10, 8, 0, 0, 0, 0, 0]);
    const add = Uint8Array.of(0x07, 1, 0, 0, 4, 0, 0, 0);
    expect(patchCoreInstruction(add, 0, 0, 0, { ...result, newValue: -1n & 0xffffffffffffffffn }, new Messages())).toBe(0);
    expect([...add.subarray(4)]).toEqual([255, 255, 255, 255]);
    const wide = Uint8Array.of(0x18, 1, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    expect(patchCoreInstruction(wide, 0, 0, 0, { ...result, newValue: 0x1_0000_0002n }, new Messages())).toBe(0);
    expect([wide[4], wide[12]]).toEqual([2, 1]);
  });

  it('poisons with a call that never verifies', () => {
    const insn = load();
    expect(patchCoreInstruction(insn, 0, 0, 0, { ...result, poison: true }, new Messages())).toBe(0);
    expect(insn[0]).toBe(0x85);
    expect(new DataView(insn.buffer).getInt32(4, true)).toBe(0xbad2310);
  });

  it('refuses other values, other instructions, and offsets that do not fit', () => {
    const messages = new Messages();
    expect(patchCoreInstruction(load(), 0, 7, 2, { ...result, originalValue: 5n }, messages)).toBe(-EINVAL);
    expect(patchCoreInstruction(load(), 0, 7, 2, { ...result, newValue: 40000n }, messages)).toBe(-34);
    expect(patchCoreInstruction(Uint8Array.of(0x95, 0, 0, 0, 0, 0, 0, 0), 0, 7, 2, result, messages)).toBe(-EINVAL);
    expect(patchCoreInstruction(Uint8Array.of(0x18, 0, 0, 0, 0, 0, 0, 0), 0, 7, 2, result, messages)).toBe(-EINVAL);
    expect(messages.warnings).toEqual([
      "prog 'p': relo #2: unexpected insn #7 (LDX/ST/STX) value: got 4, exp 5 -> 8",
      "prog 'p': relo #2: insn #7 (LDX/ST/STX) value too big: 40000",
      "prog 'p': relo #2: trying to relocate unrecognized insn #7, code:0x95, src:0x0, dst:0x0, off:0x0, imm:0x0",
      "prog 'p': relo #2: insn #7 (LDIMM64) has unexpected form",
    ]);
  });
});
