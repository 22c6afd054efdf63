/** A verifier environment for tests of single analyses: a program from assembly text, no maps, the kernel's BTF. */
import { BTF } from '../../../btf/btf.ts';
import { assembleText } from '../../../isa/asm.ts';
import { BPF_PROG_TYPE_SCHED_CLS } from '../../../isa/uapi.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { createDiagnostics } from '../../../verifier/diagnostics.ts';
import { InsnAux, VerifierEnv } from '../../../verifier/env.ts';
import { addSubprogs, checkSubprogs } from '../../../verifier/subprogs.ts';
import type { BTFDescriptor, ProgramLoad, UserArray, VerifierEnvironment } from '../../../verifier/types.ts';

const none: UserArray = { count: 0, recordSize: 0, isNull: true, read: () => undefined };
let kernel: BTFDescriptor | undefined;

export function kernelBTF(): BTFDescriptor {
  kernel ??= { kind: 'btf', id: 1, btf: BTF.parse(loadKernelBTF(), { name: 'vmlinux', isKernel: true }), isKernel: true };
  return kernel;
}

export interface LoadOptions {
  readonly type?: number;
  readonly isPrivileged?: boolean;
  readonly attachBTFID?: number;
  readonly expectedAttachType?: number;
  readonly flags?: number;
  readonly logLevel?: number;
}

/** The environment of a program, its subprograms found. */
export function environmentOf(program: string, options: LoadOptions = {}): VerifierEnv {
  const isPrivileged = options.isPrivileged ?? true;
  const load: ProgramLoad = {
    type: options.type ?? BPF_PROG_TYPE_SCHED_CLS, expectedAttachType: options.expectedAttachType ?? 0, flags: options.flags ?? 0, name: '',
    license: 'GPL', gplCompatible: true, kernelVersion: 0, ifindex: 0, instructions: assembleText(program), attachBTFID: options.attachBTFID ?? 0,
    attachBTF: undefined, attachProgram: undefined, btfFD: 0, funcInfo: none, lineInfo: none, coreRelos: none,
    fdArray: { present: false, count: 0, read: () => undefined }, signature: undefined, log: { level: options.logLevel ?? 1, size: 1 << 20, present: true },
    capabilities: { bpf: isPrivileged, perfmon: isPrivileged, netAdmin: isPrivileged, sysAdmin: isPrivileged },
  };
  const environment: VerifierEnvironment = {
    resolveFD: () => -9, kernelBTF, kernelSymbol: () => [0, -1], verifySignature: () => -1, resolveKeyring: () => undefined,
    onProgramLoad: () => 0, random: () => 0, now: () => 0, profile: '7.3',
  };
  const env = new VerifierEnv(load, environment);
  env.aux = new InsnAux(env.insns.count);
  env.diag = createDiagnostics(env);
  if (addSubprogs(env) >= 0) checkSubprogs(env);
  return env;
}
