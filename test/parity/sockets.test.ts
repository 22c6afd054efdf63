/**
 * Pointers to sockets that programs get: what may be read behind them and what the reads become; prologues of programs that write
 * packets; classic packet loads; return values. Against Linux 7.3.4 (call targets, which depend on the build, are zeroed).
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { BTF } from '../../btf/btf.ts';
import { decodeInstruction } from '../../isa/decode.ts';
import { ldx, toBytes } from '../../isa/encode.ts';
import { BPF_FUNC_skb_pull_data } from '../../isa/uapi.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import { VerifierEnv } from '../../verifier/env.ts';
import type { AccessInfo } from '../../verifier/ops_types.ts';
import { sockAccess, sockCommonAccess, tcpSockAccess, xdpSockAccess, type ContextRule } from '../../verifier/progtypes/ctx_access.ts';
import { convertAccess } from '../../verifier/progtypes/ctx_convert.ts';
import type { ProgramFacts } from '../../verifier/progtypes/funcs.ts';
import { programReturnRange } from '../../verifier/progtypes/index.ts';
import { kernelLayout } from '../../verifier/progtypes/kernel_layout.ts';
import { packetLoad, prologueOf } from '../../verifier/progtypes/prologue.ts';
import { PTR_TO_SOCK_COMMON, PTR_TO_SOCKET, PTR_TO_TCP_SOCK, PTR_TO_XDP_SOCK, SCALAR_VALUE } from '../../verifier/regtypes.ts';
import type { ProgramLoad, UserArray, VerifierEnvironment } from '../../verifier/types.ts';

interface Sockets {
  readonly access: Readonly<Record<string, string>>;
  readonly xlated: Readonly<Record<string, string>>;
}
interface Data {
  readonly sock_common: Sockets;
  readonly sock: Sockets;
  readonly tcp_sock: Sockets;
  readonly prologues: readonly { readonly name: string; readonly type: number; readonly first: string; readonly xlated: string }[];
  readonly packetLoads: readonly { readonly insn: string; readonly xlated: string }[];
}
interface RangeRow {
  readonly name: string;
  readonly type: number;
  readonly attachType: number;
  readonly range: string;
}

const read = (name: string): Buffer => readFileSync(new URL(`data/${name}`, import.meta.url));
const data = JSON.parse(gunzipSync(read('sockets.json.gz')).toString()) as Data;
const ranges = JSON.parse(read('return-ranges.json').toString()) as readonly RangeRow[];
const kernel = kernelLayout(BTF.parse(loadKernelBTF(), { name: 'vmlinux', isKernel: true }));
const context = { kernel, progType: 3, knowsTimestampType: false };

const capabilities = { bpf: true, perfmon: true, netAdmin: true, sysAdmin: true };
const facts: ProgramFacts = {
  loadedType: 3, type: 3, expectedAttachType: 0, sleepable: false, capabilities, attachName: '', attachStruct: '', attachesToProgram: false,
};

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function judge(rule: ContextRule, kind: string, off: number, size: number): AccessInfo | undefined {
  const info: AccessInfo = { regType: SCALAR_VALUE, isLdsx: kind === 's', isRetval: false, ctxFieldSize: 0, btfIndex: 0, btfID: 0, refID: 0 };
  return rule({ off, size, isWrite: false, info, facts }) ? info : undefined;
}

const KINDS: readonly (readonly [string, Sockets, ContextRule, number])[] = [
  ['sock_common', data.sock_common, sockCommonAccess, PTR_TO_SOCK_COMMON], ['sock', data.sock, sockAccess, PTR_TO_SOCKET],
  ['tcp_sock', data.tcp_sock, tcpSockAccess, PTR_TO_TCP_SOCK],
];

describe.each(KINDS)('pointers to %s', (_name, sockets, rule, pointer) => {
  it('allow the reads that Linux allows', () => {
    for (const [key, letters] of Object.entries(sockets.access)) {
      const size = Number(key.slice(1));
      const ours = Array.from(letters, (_, i) => (judge(rule, key.slice(0, 1), i * size, size) === undefined ? '.' : '+')).join('');
      expect(`${key} ${ours}`).toBe(`${key} ${letters}`);
    }
  });
  it('turn reads into those of the kernel\'s structures', () => {
    for (const [key, hex] of Object.entries(sockets.xlated)) {
      const [, kind = '', off = '', width = ''] = /^([a-z]+)(\d+)\/(\d+)$/.exec(key) ?? [];
      const size = Number(width);
      const insn = ldx(`${kind === 's' ? 's' : 'u'}${size * 8}` as 'u8', kind === 'rr' ? 'r6' : 'r2', 'r6', Number(off));
      const ours = convertAccess(context, pointer, insn, judge(rule, kind, Number(off), size)?.ctxFieldSize ?? 0) ?? [];
      expect(`${key} ${hexOf(toBytes(ours))}`).toBe(`${key} ${hex}`);
    }
  });
});

describe('pointers to the rest', () => {
  it('leaves accesses without a conversion to the caller, as Linux fails on them', () => {
    expect(convertAccess(context, PTR_TO_TCP_SOCK, ldx('u32', 'r2', 'r6', 84), 0)).toEqual([]);
  });
  it('reads the queue of an AF_XDP socket', () => {
    expect(judge(xdpSockAccess, 'r', 0, 4)).toBeDefined();
    expect(judge(xdpSockAccess, 'r', 0, 2)).toBeUndefined();
    expect(convertAccess(context, PTR_TO_XDP_SOCK, ldx('u32', 'r2', 'r6', 0), 0)).toHaveLength(1);
  });
});

describe('what programs get besides', () => {
  it('is a prologue where they write packets', () => {
    for (const { name, type, first, xlated } of data.prologues) {
      const ours = hexOf(toBytes(prologueOf(kernel, type, true, decodeInstruction(bytesOf(first), 0))));
      // The pull of data is a call by number before the calls are resolved, and the program's first instruction not yet converted.
      const want = xlated === '' ? '' : xlated.slice(0, 5 * 16) + `85000000${hexOf(toBytes([{ code: 0, dst: 0, src: 0, off: 0, imm: BPF_FUNC_skb_pull_data }])).slice(8)}`
        + xlated.slice(6 * 16, 10 * 16) + first;
      expect(`${name} ${ours}`).toBe(`${name} ${want}`);
      expect(prologueOf(kernel, type, false, decodeInstruction(bytesOf(first), 0))).toEqual([]);
    }
  });
  it('are calls for classic packet loads', () => {
    for (const { insn, xlated } of data.packetLoads) {
      const called: string[] = [];
      const ours = packetLoad(decodeInstruction(bytesOf(insn), 0), (name) => {
        called.push(name);
        return 0;
      });
      expect(hexOf(toBytes(ours))).toBe(xlated);
      expect(called).toHaveLength(1);
    }
  });
});

describe('return values', () => {
  const nothing: UserArray = { count: 0, recordSize: 8, isNull: true, read: () => undefined };
  const environment: VerifierEnvironment = {
    resolveFD: () => -9, kernelBTF: () => undefined, kernelSymbol: () => undefined, verifySignature: () => 0, resolveKeyring: () => undefined,
    onProgramLoad: () => 0, random: () => 0, now: () => 0, profile: '7.3',
  };
  const loadOf = (row: RangeRow): ProgramLoad => ({
    type: row.type, expectedAttachType: row.attachType, flags: 0, name: '', license: 'GPL', gplCompatible: true, kernelVersion: 0, ifindex: 0,
    instructions: new Uint8Array(16), attachBTFID: 0, attachBTF: undefined, attachProgram: undefined, btfFD: 0, funcInfo: nothing, lineInfo: nothing,
    coreRelos: nothing, fdArray: { present: false, count: 0, read: () => undefined }, signature: undefined, log: { level: 0, size: 0, present: false },
    capabilities,
  });
  it('are bound by type and attach type as by Linux', () => {
    for (const row of ranges) {
      const range = programReturnRange(new VerifierEnv(loadOf(row), environment));
      expect(`${row.name} ${range === undefined ? 'any' : `[${range.min}, ${range.max}]`}`).toBe(`${row.name} ${row.range}`);
    }
  });
});
