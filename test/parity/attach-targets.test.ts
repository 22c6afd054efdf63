/**
 * What a program may be attached to, and what it sees there: kernel functions, LSM hooks, tracepoints, iterators, struct_ops members,
 * against the answers of Linux 7.3.4. `reads` has by kind, offset and size what a load of the context gave (`!` where it was
 * refused), followed by the messages about it; `range` is the range the return value had to lie in.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { BTF } from '../../btf/btf.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import { checkAttachTarget } from '../../verifier/attach_target.ts';
import { VerifierEnv } from '../../verifier/env.ts';
import type { AccessInfo } from '../../verifier/ops_types.ts';
import { isValidAccess, programReturnRange } from '../../verifier/progtypes/index.ts';
import { baseType, BPF_READ, BPF_WRITE, PTR_TO_BTF_ID, regTypeName, SCALAR_VALUE } from '../../verifier/regtypes.ts';
import type { BTFDescriptor, ProgramLoad, UserArray, VerifierEnvironment } from '../../verifier/types.ts';

interface Row {
  readonly name: string;
  readonly type: number;
  readonly attachType: number;
  readonly sleepable: boolean;
  readonly btfID: number;
  readonly errno: number;
  readonly message: string;
  readonly range?: string;
  readonly reads?: Readonly<Record<string, string>>;
}

const rows = JSON.parse(gunzipSync(readFileSync(new URL('data/attach-targets.json.gz', import.meta.url))).toString()) as readonly Row[];
const kernelBTF: BTFDescriptor = { kind: 'btf', id: 1, btf: BTF.parse(loadKernelBTF(), { name: 'vmlinux', isKernel: true }), isKernel: true };

const nothing: UserArray = { count: 0, recordSize: 8, isNull: true, read: () => undefined };
const environment: VerifierEnvironment = {
  resolveFD: () => -9, kernelBTF: () => kernelBTF, kernelSymbol: () => [0, -1], verifySignature: () => 0, resolveKeyring: () => undefined,
  onProgramLoad: () => 0, random: () => 0, now: () => 0, profile: '7.3',
};

function loadOf(row: Row): ProgramLoad {
  return {
    type: row.type, expectedAttachType: row.attachType, flags: row.sleepable ? 16 : 0, name: '', license: 'GPL', gplCompatible: true, kernelVersion: 0,
    ifindex: 0, instructions: new Uint8Array(16), attachBTFID: row.btfID, attachBTF: kernelBTF, attachProgram: undefined, btfFD: 0, funcInfo: nothing,
    lineInfo: nothing, coreRelos: nothing, fdArray: { present: false, count: 0, read: () => undefined }, signature: undefined,
    log: { level: 1, size: 65536, present: true }, capabilities: { bpf: true, perfmon: true, netAdmin: true, sysAdmin: true },
  };
}

/** Text of everything written to the log so far, with nothing left out. */
function logOf(env: VerifierEnv): string {
  return env.log.render().replace(/\0+$/, '');
}

function describeRead(env: VerifierEnv, info: AccessInfo, place: string): string {
  const [, kind, off, size] = /^([rw])(-?\d+)\/(\d+)$/.exec(place) ?? [];
  const before = logOf(env).length;
  Object.assign(info, { regType: SCALAR_VALUE, isLdsx: false, isRetval: false, ctxFieldSize: 0, btfIndex: 0, btfID: 0, refID: 0 });
  const allowed = isValidAccess(env, Number(off), Number(size), kind === 'w' ? BPF_WRITE : BPF_READ, info);
  const messages = logOf(env).slice(before).split('\n').filter((line) => line !== '');
  const isPointer = baseType(info.regType) === PTR_TO_BTF_ID;
  const name = isPointer ? env.btfAt(info.btfIndex)?.typeName(info.btfID) ?? '?' : '';
  return [allowed ? regTypeName(info.regType) + name : '!', ...messages].join('|');
}

describe('attach targets', () => {
  it('are accepted and refused as by Linux, with its messages', () => {
    for (const row of rows) {
      const env = new VerifierEnv(loadOf(row), environment);
      const error = checkAttachTarget(env);
      expect([row.name, error === 0 ? 0 : -error, logOf(env).trim()]).toEqual([row.name, row.errno, row.message]);
    }
  });
  it('give their programs the contexts that Linux gives', () => {
    const info: AccessInfo = { regType: 0, isLdsx: false, isRetval: false, ctxFieldSize: 0, btfIndex: 0, btfID: 0, refID: 0 };
    let reads = 0;
    for (const row of rows) {
      if (row.reads === undefined) continue;
      const env = new VerifierEnv(loadOf(row), environment);
      checkAttachTarget(env);
      for (const [place, want] of Object.entries(row.reads)) {
        reads++;
        const ours = describeRead(env, info, place);
        // Of a store only whether it was allowed is recorded.
        if (place.startsWith('w')) expect([row.name, ours.startsWith('!')]).toEqual([row.name, want.startsWith('!')]);
        else expect(`${row.name} ${place} ${ours}`).toBe(`${row.name} ${place} ${want}`);
      }
    }
    expect(reads).toBeGreaterThan(5000);
  });
  it('bind the return value as Linux does', () => {
    let ranges = 0;
    for (const row of rows) {
      if (row.errno !== 0 || row.range === undefined) continue;
      ranges++;
      const env = new VerifierEnv(loadOf(row), environment);
      checkAttachTarget(env);
      const range = programReturnRange(env);
      expect([row.name, range === undefined ? 'any' : `[${range.min}, ${range.max}]`]).toEqual([row.name, row.range]);
    }
    expect(ranges).toBeGreaterThan(100);
  });
});
