/**
 * What context accesses become in the program that runs: against the xlated instructions that Linux 7.3.4 showed for programs of
 * one access. Keys of `xlated`: `r` loads r2, `rr` loads r1 over the context pointer, `s` loads with sign extension, `w` stores r2,
 * `wi` stores the immediate 7; then offset and size.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { BTF } from '../../btf/btf.ts';
import type { Instruction } from '../../isa/decode.ts';
import { disassembleProgram } from '../../isa/disasm.ts';
import { ldx, st, stx, toBytes } from '../../isa/encode.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import type { AccessInfo } from '../../verifier/ops_types.ts';
import { CONTEXT_RULES } from '../../verifier/progtypes/ctx_access.ts';
import { convertAccess } from '../../verifier/progtypes/ctx_convert.ts';
import { kernelLayout } from '../../verifier/progtypes/kernel_layout.ts';
import { PTR_TO_CTX, SCALAR_VALUE } from '../../verifier/regtypes.ts';

interface Row {
  readonly name: string;
  readonly type: number;
  readonly attachType: number;
  readonly xlated: Readonly<Record<string, string>>;
}

const rows = JSON.parse(gunzipSync(readFileSync(new URL('data/ctx-xlated.json.gz', import.meta.url))).toString()) as readonly Row[];
const kernel = kernelLayout(BTF.parse(loadKernelBTF(), { name: 'vmlinux', isKernel: true }));

function accessOf(kind: string, off: number, size: number): Instruction {
  const width = `u${size * 8}` as 'u8';
  switch (kind) {
    case 'r': return ldx(width, 'r2', 'r1', off);
    case 'rr': return ldx(width, 'r1', 'r1', off);
    case 's': return ldx(`s${size * 8}` as 's8', 'r2', 'r1', off);
    case 'w': return stx(width, 'r1', off, 'r2');
    default: return st(width, 'r1', off, 7);
  }
}

function fieldSize(row: Row, kind: string, off: number, size: number): number {
  const info: AccessInfo = { regType: SCALAR_VALUE, isLdsx: kind === 's', isRetval: false, ctxFieldSize: 0, btfIndex: 0, btfID: 0, refID: 0 };
  CONTEXT_RULES.get(row.type)?.({ off, size, isWrite: kind.startsWith('w'), info, facts: {
    loadedType: row.type, type: row.type, expectedAttachType: row.attachType, sleepable: false, attachName: '', attachStruct: '',
    attachesToProgram: false, capabilities: { bpf: true, perfmon: true, netAdmin: true, sysAdmin: true },
  } });
  return info.ctxFieldSize;
}

const text = (bytes: Uint8Array): readonly string[] => disassembleProgram(bytes).map((line) => line.text);

describe('context accesses become', () => {
  it.each(rows.map((row) => [row.name, row] as const))('%s', (_name, row) => {
    expect(Object.keys(row.xlated).length).toBeGreaterThan(1);
    for (const [key, hex] of Object.entries(row.xlated)) {
      const [, kind = '', off = '', size = ''] = /^([a-z]+)(\d+)\/(\d+)$/.exec(key) ?? [];
      const insn = accessOf(kind, Number(off), Number(size));
      const context = { kernel, progType: row.type, knowsTimestampType: kind !== 'w' && kind !== 'wi' && Number(off) === 180 };
      const ours = convertAccess(context, PTR_TO_CTX, insn, fieldSize(row, kind, Number(off), Number(size))) ?? [insn];
      const want = Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
      expect([key, ...text(toBytes(ours))]).toEqual([key, ...text(want)]);
      expect(toBytes(ours)).toEqual(want);
    }
  });
});
