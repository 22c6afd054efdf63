/**
 * @module src/run
 * `bpftwin run` without the command line: a fresh kernel, a light skeleton loaded into it, and the report of what came out, as
 * plain data in the shape of `run -j`. Owns the report; the load is `loader/load-and-run.ts`, the kernel `kernel/`.
 */
import { ALL_ALGORITHMS } from '../crypto/algorithms.ts';
import { equalBytes, toHex } from '../crypto/bytes.ts';
import { sha256 } from '../crypto/digest.ts';
import { parseSignedMessage } from '../crypto/pkcs7.ts';
import { isRefusal } from '../crypto/rejection.ts';
import type { Certificate } from '../crypto/x509.ts';
import { errnoName } from '../isa/errno.ts';
import { InputError } from '../isa/errors.ts';
import type { EngineOptions, ProgramSnapshot, SystemCall } from '../kernel/api.ts';
import { Kernel } from '../kernel/kernel.ts';
import {
  destroySkeleton, isLoaded, KEY_SPEC_SESSION_KEYRING, loadAndRun, type LoadedSkeleton, type LoadFailure, type LoadOptions,
} from '../loader/load-and-run.ts';
import type { LightSkeleton } from '../loader/skeleton.ts';
import type { EngineStats, Fallback, Tier } from '../vm/types.ts';
import { keyringTypeName, mapTypeName, programTypeName } from './names.ts';
import { Policies, type Policy, type ReportedPolicy } from './policy.ts';

/** The keyrings that a signature can be checked against. */
export type KeyringName = 'session' | 'builtin' | 'secondary' | 'platform';

const KEYRING_IDS: Readonly<Record<KeyringName, number>> = { session: KEY_SPEC_SESSION_KEYRING, builtin: 0, secondary: 1, platform: 2 };

/** How to run a skeleton. */
export interface RunOptions {
  /** Kernel profile and user space; default `"7.3"`. */
  readonly kernel?: '7.3' | '6.18';
  /** Raw BTF of the kernel; called at most once. Without it the kernel has no types. */
  readonly kernelBTF?: () => Uint8Array;
  readonly certificates?: readonly Certificate[];
  /** Where the certificates go, and what `keyring_id` says; default `"session"`. */
  readonly keyring?: KeyringName;
  /** Strict mode: beyond Linux, canonical signatures by certificates that are valid at `now` (seconds since 1970). */
  readonly strict?: { readonly now: number };
  /** How programs are run; default: the machine's policy without an optimising compiler. */
  readonly engine?: EngineOptions;
  /** True: the report says what the engines have done. */
  readonly stats?: boolean;
  /** LSM policies that are attached before the skeleton is loaded. */
  readonly policies?: readonly Policy[];
  /** Called after each `bpf()` call of the load. */
  readonly onCall?: (call: SystemCall) => void;
  /** `ctx.log_level` and `log_size`. Default: none, and after a failure a second run that asks for the log. */
  readonly log?: { readonly level: number; readonly size: number };
}

export interface ReportedMap {
  /** As the kernel shows it, at most 15 characters. */
  readonly name: string;
  /** The skeleton's name. */
  readonly member: string;
  readonly type: string;
  readonly key_size: number;
  readonly value_size: number;
  readonly max_entries: number;
  readonly flags: number;
  readonly frozen: boolean;
  readonly id: number;
}

export interface ReportedProgram {
  readonly name: string;
  readonly member: string;
  readonly type: string;
  /** Instructions after verification. */
  readonly insns: number;
  readonly tag: string;
  /** `verified`, or `admitted` where the verifier's abstract interpretation did not run. */
  readonly verdict: 'verified' | 'admitted';
  readonly id: number;
}

export interface ReportedCall {
  readonly cmd: string;
  /** As the system call returns it to C: `-1` on failure. */
  readonly ret: number;
  readonly errno: number;
  /** Who called: the process, or the loader program. */
  readonly from: 'process' | 'loader';
}

/** What the engines of the machine have done. */
export interface ReportedEngine {
  /** What was asked for. */
  readonly tier: Tier;
  /** Runs of programs and of their callbacks by engine; a promoted one counts twice. */
  readonly runs: { readonly interpreter: number; readonly baseline: number; readonly optimised: number };
  /** Runs that began in the interpreter and were finished in compiled code. */
  readonly promoted: number;
  readonly modules: number;
  /** Bytes of WebAssembly. */
  readonly bytes: number;
  readonly emit_ms: number;
  readonly compile_ms: number;
  /** Programs that did not run on the tier that was asked for. */
  readonly fallbacks: readonly Fallback[];
}

/** The JSON of `run -j`. */
export interface RunReport {
  readonly kernel: string;
  readonly loader: {
    readonly insns: number;
    /** SHA-256 over the instructions, hex. */
    readonly digest: string;
    /** Bytes. */
    readonly metadata: number;
    readonly signature: {
      readonly present: boolean;
      readonly verdict: 'UNSIGNED' | 'VERIFIED';
      readonly keyring: { readonly type: string; readonly serial: number };
      readonly signer: string | null;
      /** Why the signature was refused, in words. */
      readonly reason: string | null;
    };
  };
  readonly result: { readonly errno: number; readonly name: string; readonly step: string | null; readonly call: string | null };
  /** What the loader program returned; `null` where it did not run. */
  readonly retval: number | null;
  readonly maps: readonly ReportedMap[];
  readonly progs: readonly ReportedProgram[];
  readonly calls: readonly ReportedCall[];
  readonly log: string;
  /** What LSM programs of {@link RunOptions.policies} did; absent without policies. */
  readonly policy?: readonly ReportedPolicy[];
  /** Where {@link RunOptions.stats} asks for it. */
  readonly engine?: ReportedEngine;
}

/** Large enough for the whole log of a loader and of the programs it loads. */
const RETRY_LOG = { level: 1, size: 16 * 1024 * 1024 } as const;

/**
 * Runs a light skeleton in a kernel of its own.
 *
 * @throws InputError where a certificate cannot be put into the keyring, or a policy not be attached
 *
 * @example
 * const report = runSkeleton(parseLightSkeleton(bytes, 'a.lskel.h'));
 * report.result.errno; // 0
 */
export function runSkeleton(skeleton: LightSkeleton, options: RunOptions = {}): RunReport {
  const report = new Run(skeleton, options, options.log).report();
  if (report.result.errno === 0 || options.log !== undefined) return report;
  // The kernel is deterministic, so the same load fails in the same way and this time says why.
  const { onCall: _silent, ...quiet } = options;
  const again = new Run(skeleton, quiet, RETRY_LOG).report();
  return again.result.errno === report.result.errno ? { ...report, log: again.log } : report;
}

class Run {
  readonly #skeleton: LightSkeleton;
  readonly #options: RunOptions;
  readonly #log: LoadOptions['log'];
  readonly #calls: SystemCall[] = [];
  readonly #kernel: Kernel;
  readonly #policies: Policies;
  /** Calls that load policies come before those of the skeleton, and are not reported. */
  #isLoading = false;
  #admission: ProgramSnapshot['signature'] = { verdict: 0, keyringType: 0, keyringSerial: 0 };

  constructor(skeleton: LightSkeleton, options: RunOptions, log: LoadOptions['log']) {
    this.#skeleton = skeleton;
    this.#options = options;
    this.#log = log;
    this.#kernel = this.#createKernel();
    this.#policies = new Policies(this.#kernel);
    for (const policy of options.policies ?? []) this.#policies.attach(policy);
    this.#policies.begin();
    this.#isLoading = true;
  }

  report(): RunReport {
    const kernel = this.#kernel;
    const { keyring = 'session', kernel: userSpace = '7.3' } = this.#options;
    const loadOptions = { userSpace, keyringID: KEYRING_IDS[keyring], ...(this.#log === undefined ? {} : { log: this.#log }) };
    const outcome = loadAndRun(kernel, this.#skeleton, loadOptions);
    const payload = isLoaded(outcome) ? this.#payload(outcome) : { maps: [], progs: [] };
    if (isLoaded(outcome)) destroySkeleton(kernel, outcome);
    return {
      kernel: userSpace,
      loader: {
        insns: this.#skeleton.instructions.length / 8,
        digest: toHex(sha256(this.#skeleton.instructions)),
        metadata: this.#skeleton.metadata.length,
        signature: this.#signature(),
      },
      result: this.#result(outcome),
      retval: outcome.retval ?? null,
      ...payload,
      calls: this.#calls.map(reportCall),
      log: this.#wholeLog(outcome),
      ...(this.#options.policies === undefined ? {} : { policy: this.#policies.report() }),
      ...(this.#options.stats === true ? { engine: reportEngine(kernel.engineStats, this.#options.engine?.tier ?? 'auto') } : {}),
    };
  }

  #createKernel(): Kernel {
    const { certificates = [], keyring = 'session', kernel = '7.3', kernelBTF, strict, engine } = this.#options;
    const blobs = certificates.map((certificate) => certificate.raw);
    const created = new Kernel({
      profile: kernel,
      ...(kernelBTF === undefined ? {} : { kernelBTF }),
      ...(engine === undefined ? {} : { engine }),
      ...(strict === undefined ? {} : { strict: true, realTimeOffset: strict.now }),
      ...(keyring === 'session' ? {} : { certificates: { [keyring]: blobs } }),
      observer: (call) => {
        if (!this.#isLoading) return;
        this.#calls.push(call);
        this.#options.onCall?.(call);
      },
    });
    created.hooks.attach('bpf_prog_load', (program) => {
      if (program.name === '__loader.prog') this.#admission = program.signature;
      return 0;
    });
    if (keyring === 'session') for (const certificate of certificates) this.#addKey(created, certificate);
    return created;
  }

  #addKey(kernel: Kernel, certificate: Certificate): void {
    const serial = kernel.addKey('asymmetric', certificate.subjectName, certificate.raw, KEY_SPEC_SESSION_KEYRING);
    if (serial < 0) throw new InputError(certificate.subjectName, '', `the kernel does not take this certificate: ${errnoName(-serial)}`);
  }

  #signature(): RunReport['loader']['signature'] {
    const { verdict, keyringType, keyringSerial } = this.#admission;
    // 6.18 checks the signature and keeps no record of the verdict.
    const verified = verdict === 1 || (this.#options.kernel === '6.18' && this.#kernel.keyrings.verification?.errno === 0);
    return {
      present: this.#skeleton.signature !== undefined,
      verdict: verified ? 'VERIFIED' : 'UNSIGNED',
      keyring: { type: keyringTypeName(keyringType), serial: keyringSerial },
      signer: verified ? this.#signer() : null,
      reason: verified ? null : this.#refusal(),
    };
  }

  #refusal(): string | null {
    const { verification } = this.#kernel.keyrings;
    return verification === undefined || verification.errno === 0 ? null : verification.reason;
  }

  /** The subject of the given certificate that a signer of the message names; its identifier where none was given. */
  #signer(): string | null {
    const { signature } = this.#skeleton;
    const message = signature === undefined ? undefined : parseSignedMessage(signature.bytes, { algorithms: ALL_ALGORITHMS });
    if (message === undefined || isRefusal(message)) return null;
    const [first] = message.signers;
    if (first === undefined) return null;
    const certificate = [...(this.#options.certificates ?? []), ...message.certificates].find(({ id, subjectKeyID }) =>
      equalBytes(id, first.id) || (subjectKeyID !== undefined && equalBytes(subjectKeyID, first.id)));
    return certificate?.subjectName ?? toHex(first.id);
  }

  #result(outcome: LoadedSkeleton | LoadFailure): RunReport['result'] {
    if (isLoaded(outcome)) return { errno: 0, name: '', step: null, call: null };
    const failing = this.#calls.findLast((call) => call.result < 0 && (outcome.step !== 'run of loader prog' || call.fromProgram));
    return {
      errno: outcome.errno,
      name: errnoName(outcome.errno),
      step: outcome.message,
      call: failing === undefined || -failing.result !== outcome.errno ? null : failing.name,
    };
  }

  /** Objects are named by their place in the context: the loader's own are gone by now. */
  #payload(loaded: LoadedSkeleton): { readonly maps: readonly ReportedMap[]; readonly progs: readonly ReportedProgram[] } {
    const objects = this.#kernel.objects();
    const idOf = (fd: number): number => objects.files.find((file) => file.fd === fd)?.id ?? 0;
    const maps = loaded.maps.flatMap(({ name: member, fd }): ReportedMap[] => {
      const map = objects.maps.find(({ id }) => id === idOf(fd));
      if (map === undefined) return [];
      return [{
        name: map.name, member, type: mapTypeName(map.type), key_size: map.keySize, value_size: map.valueSize, max_entries: map.maxEntries,
        flags: map.flags, frozen: map.frozen, id: map.id,
      }];
    });
    const progs = loaded.programs.flatMap(({ name: member, fd }): ReportedProgram[] => {
      const program = objects.programs.find(({ id }) => id === idOf(fd));
      if (program === undefined) return [];
      return [{
        name: program.name, member, type: programTypeName(program.type), insns: program.xlated.length / 8, tag: toHex(program.tag),
        verdict: program.fullyVerified ? 'verified' : 'admitted', id: program.id,
      }];
    });
    return { maps, progs };
  }

  /** Every load overwrites the one buffer, so the logs of the single calls are put together. */
  #wholeLog(outcome: LoadedSkeleton | LoadFailure): string {
    const logs = this.#calls.map((call) => call.log).filter((log) => log !== '');
    if (isLoaded(outcome)) return logs.join('');
    return logs.at(-1) ?? outcome.log;
  }
}

function reportEngine(stats: EngineStats, tier: Tier): ReportedEngine {
  const milliseconds = (value: number): number => Math.round(value * 1000) / 1000;
  return {
    tier, runs: { interpreter: stats.interpretedRuns, baseline: stats.baselineRuns, optimised: stats.optimisedRuns },
    promoted: stats.promotedRuns, modules: stats.compiledModules, bytes: stats.compiledBytes, emit_ms: milliseconds(stats.emitMilliseconds),
    compile_ms: milliseconds(stats.compileMilliseconds), fallbacks: stats.fallbacks,
  };
}

function reportCall(call: SystemCall): ReportedCall {
  const failed = call.result < 0;
  return { cmd: call.name, ret: failed ? -1 : call.result, errno: failed ? -call.result : 0, from: call.fromProgram ? 'loader' : 'process' };
}
