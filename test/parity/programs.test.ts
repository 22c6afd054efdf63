/**
 * Small programs of 95 kinds by program and attach type, and of several hundred attach targets, with one call of a helper or a kernel
 * function, one context access or one return value each: errno, whole log and rewritten instructions against Linux 7.3.4. Recorded
 * are a kind's number, log level, instructions, errno, and the first 12 hexadecimal digits of the SHA-256 of the masked log and of
 * the xlated instructions (`""` where they hold addresses). In the latter the targets of helper calls, which are the build's, are
 * zeroed.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { BTF } from '../../btf/btf.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import type { BTFDescriptor, ProgramLoad, UserArray, VerifierEnvironment } from '../../verifier/types.ts';
import { verify } from '../../verifier/verify.ts';

interface Kind {
  readonly type: number;
  readonly attachType: number;
  readonly flags: number;
  readonly btfID: number;
  readonly gpl: boolean;
  /** Effective capabilities, a decimal number of 64 bits. */
  readonly capabilities: string;
}
type Program = readonly [kind: number, logLevel: number, instructions: string, errno: number, log: string, xlated: string];

const data = JSON.parse(gunzipSync(readFileSync(new URL('data/programs.json.gz', import.meta.url))).toString()) as {
  readonly kinds: readonly Kind[];
  readonly programs: readonly Program[];
};
const kernelBTF: BTFDescriptor = { kind: 'btf', id: 1, btf: BTF.parse(loadKernelBTF(), { name: 'vmlinux', isKernel: true }), isKernel: true };
const nothing: UserArray = { count: 0, recordSize: 8, isNull: true, read: () => undefined };
const environment: VerifierEnvironment = {
  resolveFD: () => -9, kernelBTF: () => kernelBTF, kernelSymbol: () => [0, -1], verifySignature: () => 0, resolveKeyring: () => undefined,
  onProgramLoad: () => 0, random: () => 0, now: () => 0, profile: '7.3', cpuCount: 2,
};

const CAP_NET_ADMIN = 12n, CAP_SYS_ADMIN = 21n, CAP_PERFMON = 38n, CAP_BPF = 39n;

function loadOf(kind: Kind, level: number, instructions: string): ProgramLoad {
  const mask = BigInt(kind.capabilities);
  const has = (capability: bigint): boolean => ((mask >> capability) & 1n) === 1n;
  const sysAdmin = has(CAP_SYS_ADMIN);
  return {
    type: kind.type, expectedAttachType: kind.attachType, flags: kind.flags, name: '', license: kind.gpl ? 'GPL' : 'Proprietary', gplCompatible: kind.gpl,
    kernelVersion: 0, ifindex: 0, instructions: Uint8Array.from(Buffer.from(instructions, 'hex')), attachBTFID: kind.btfID,
    attachBTF: kind.btfID === 0 ? undefined : kernelBTF, attachProgram: undefined, btfFD: 0, funcInfo: nothing, lineInfo: nothing, coreRelos: nothing,
    fdArray: { present: false, count: 0, read: () => undefined }, signature: undefined, log: { level, size: 65536, present: true },
    capabilities: { bpf: sysAdmin || has(CAP_BPF), perfmon: sysAdmin || has(CAP_PERFMON), netAdmin: sysAdmin || has(CAP_NET_ADMIN), sysAdmin },
  };
}

const digest = (text: string): string => createHash('sha256').update(text, 'latin1').digest('hex').slice(0, 12);

/** As the recordings are masked: addresses, blanks before comments. */
function masked(log: string): string {
  return log.replace(/0xff[0-9a-f]{14}\b/g, '0xADDR').replace(/ +;/g, ' ;');
}

function withoutCallTargets(instructions: Uint8Array): string {
  const bytes = Buffer.from(instructions);
  for (let at = 0; at < bytes.length; at += 8) {
    if (bytes[at] === 0x85 && bytes[at + 1] === 0) bytes.fill(0, at + 4, at + 8);
  }
  return bytes.toString('hex');
}

describe('small programs of every kind', () => {
  it('are judged, explained and rewritten as by Linux', () => {
    expect(data.programs.length).toBeGreaterThan(4000);
    const differing: string[] = [];
    for (const [kind, level, instructions, errno, log, xlated] of data.programs) {
      const of = data.kinds[kind]!;
      const verdict = verify(loadOf(of, level, instructions), environment);
      const ours = [verdict.errno, digest(masked(verdict.log)), xlated === '' || verdict.program === undefined ? xlated : digest(withoutCallTargets(verdict.program.xlated.instructions))];
      if (ours.join() !== [errno, log, xlated].join()) differing.push(`type ${of.type}, attach type ${of.attachType}, target ${of.btfID}: ${instructions} at level ${level}: errno ${verdict.errno}, Linux ${errno}\n${verdict.log}`);
    }
    expect(differing).toEqual([]);
  });
});
