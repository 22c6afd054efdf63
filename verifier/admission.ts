/**
 * @module verifier/admission
 * What happens to a load before its program is looked at: digest, `fd_array`, the signature over instructions and frozen maps,
 * the keyring record, and the LSM hook, in the kernel's order and with its messages (`bpf_check`, `process_fd_array`,
 * `bpf_prog_verify_signature` in kernel/bpf/verifier.c of 7.3; kernel/bpf/syscall.c of 6.18). What a kernel version does is
 * data: {@link AdmissionRules}.
 *
 * Does not own: binding one map or BTF (verifier/insns.ts), keyrings and cryptography (behind the environment).
 */
import { E2BIG, EBUSY, EFAULT, EINVAL, ENOMEM, EPERM } from '../isa/errno.ts';
import { within } from '../isa/phases.ts';
import { BPF_DW, BPF_IMM, BPF_LD, BPF_MAP_TYPE_ARRAY } from '../isa/uapi.ts';
import type { VerifierEnv } from './env.ts';
import { addUsedBTF, addUsedMap } from './insns.ts';
import { digestAndTag } from './tag.ts';
import type { Admission, BTFDescriptor, MapDescriptor, ResolvedKeyring } from './types.ts';

const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;

/** Largest signature, in bytes (`KMALLOC_MAX_CACHE_SIZE`). */
export const MAX_SIGNATURE_SIZE = 8192;
/** Most entries of a continuous `fd_array`. */
export const MAX_FD_ARRAY_COUNT = 4096;
/** Most bytes that a signature may cover (`DYNPTR_MAX_SIZE`). */
export const MAX_SIGNED_SIZE: number = 2 ** 24 - 1;

/** How a kernel version admits programs. */
export interface AdmissionRules {
  /** The signature is checked by the system call, before the log exists and over the instructions alone; nothing is recorded. */
  readonly signatureInSystemCall: boolean;
  /** A signature of no bytes reaches the parser. */
  readonly emptySignatureIsParsed: boolean;
  /** Error of a signature that cannot be read from user memory. */
  readonly unreadableSignature: number;
  /** A last instruction that is half of a 16-byte load is refused here, not later. */
  readonly checksLastInstruction: boolean;
  /** Most entries of `fd_array`, and whether it may be null with a count. */
  readonly maxFDs: number;
  readonly nullFDArrayIsRefused: boolean;
}

const RULES_7_3: AdmissionRules = {
  signatureInSystemCall: false, emptySignatureIsParsed: false, unreadableSignature: EFAULT, checksLastInstruction: true,
  maxFDs: MAX_FD_ARRAY_COUNT, nullFDArrayIsRefused: true,
};
const RULES_6_18: AdmissionRules = {
  signatureInSystemCall: true, emptySignatureIsParsed: true, unreadableSignature: ENOMEM, checksLastInstruction: false,
  maxFDs: 0x3ffffffe, nullFDArrayIsRefused: false,
};

/** The rules of a kernel profile. */
export function admissionRules(profile: string): AdmissionRules {
  return profile === '6.18' ? RULES_6_18 : RULES_7_3;
}

/** What admission decided: 0 or `-errno`, and the record that LSM hooks and the program keep. */
export interface AdmissionOutcome {
  readonly error: number;
  readonly admission: Admission;
}

interface KeyringRecord {
  readonly verdict: 0 | 1;
  readonly keyringType: number;
  readonly keyringSerial: number;
}

const UNSIGNED: KeyringRecord = { verdict: 0, keyringType: 0, keyringSerial: 0 };

function record(env: VerifierEnv, keyring: KeyringRecord): Admission {
  const { verdict, keyringType, keyringSerial } = keyring;
  return { verdict, keyringType, keyringSerial, digest: env.signed ? env.digest : undefined, boundMaps: env.usedMaps };
}

function refuse(env: VerifierEnv, message: string, errno: number): number {
  env.log.write(`${message}\n`);
  return -errno;
}

/**
 * What comes before the log is set up: on kernels that check the signature in the system call, that check and the LSM hook.
 * @returns 0 or `-errno`
 */
export function admitBeforeLog(env: VerifierEnv): number {
  const rules = admissionRules(env.ext.profile), { signature, instructions } = env.load;
  if (!rules.signatureInSystemCall) return 0;
  if (signature !== undefined) {
    const read = readSignature(env, rules);
    if (typeof read === 'number') return read;
    const error = within(env.ext.phases, 'signature', () => env.ext.verifySignature([instructions], read.bytes, read.keyring));
    if (error !== 0) return error;
  }
  return env.ext.onProgramLoad(record(env, UNSIGNED));
}

/**
 * Everything from the first look at the instructions to the LSM hook; binds the maps and BTFs of a continuous `fd_array` and
 * leaves it, resolved, in the environment.
 * @example const { error, admission } = admit(env); if (error !== 0) return verdict(env, error);
 */
export function admit(env: VerifierEnv): AdmissionOutcome {
  const rules = admissionRules(env.ext.profile), { insns, load } = env;
  let keyring = UNSIGNED;
  if (rules.checksLastInstruction && insns.code[insns.count - 1] === LD_IMM64) return outcome(env, refuse(env, 'invalid bpf_ld_imm64 insn', EINVAL), keyring);
  env.signed = load.signature !== undefined && !rules.signatureInSystemCall;
  const { phases } = env.ext;
  if (env.signed) env.digest = within(phases, 'digest', () => digestAndTag(load.instructions));
  const bound = phases === undefined ? bindFDArray(env, rules) : within(phases, 'fd_array', () => bindFDArray(env, rules));
  if (bound !== 0) return outcome(env, bound, keyring);
  if (rules.signatureInSystemCall) return outcome(env, 0, keyring);
  if (env.signed) {
    const verified = verifySignature(env, rules);
    if (typeof verified === 'number') return outcome(env, verified, keyring);
    keyring = verified;
  }
  const admission = record(env, keyring);
  return { error: env.ext.onProgramLoad(admission), admission };
}

function outcome(env: VerifierEnv, error: number, keyring: KeyringRecord): AdmissionOutcome {
  return { error, admission: record(env, keyring) };
}

function bindFDArray(env: VerifierEnv, rules: AdmissionRules): number {
  const { fdArray } = env.load, count = fdArray.count >>> 0;
  if (count === 0) return 0;
  if (!fdArray.present && rules.nullFDArrayIsRefused) return refuse(env, `fd_array_cnt ${count} without fd_array is invalid`, EINVAL);
  if (count > rules.maxFDs) {
    return rules.signatureInSystemCall
      ? refuse(env, `fd_array_cnt is too big (${count})`, EINVAL)
      : refuse(env, `fd_array has too many entries (${count}, max ${rules.maxFDs})`, E2BIG);
  }
  const resolved: (MapDescriptor | BTFDescriptor)[] = [];
  for (let i = 0; i < count; i++) {
    const fd = fdArray.present ? fdArray.read(i) : undefined;
    if (fd === undefined) return -EFAULT;
    const object = env.ext.resolveFD(fd);
    if (typeof object === 'number' || object.kind === 'prog') {
      return refuse(env, `fd ${fd | 0} is not pointing to valid bpf_map or btf`, typeof object === 'number' ? -object : EINVAL);
    }
    const error = object.kind === 'map' ? addUsedMap(env, object, false) : addUsedBTF(env, object);
    if (error < 0) return error;
    resolved.push(object);
  }
  if (!rules.signatureInSystemCall) env.fdArray = resolved;
  return 0;
}

/** Size, keyring and bytes of the signature, in that order. */
function readSignature(env: VerifierEnv, rules: AdmissionRules): { readonly bytes: Uint8Array; readonly keyring: ResolvedKeyring } | number {
  const { signature } = env.load;
  if (signature === undefined || signature.size > MAX_SIGNATURE_SIZE) return -EINVAL;
  if (signature.size === 0 && !rules.emptySignatureIsParsed) return -EINVAL;
  const keyring = env.ext.resolveKeyring(signature.keyringID);
  if (keyring === undefined) {
    return rules.signatureInSystemCall ? -EINVAL : refuse(env, `cannot resolve signing keyring with keyring_id ${signature.keyringID}`, EINVAL);
  }
  const bytes = signature.size === 0 ? new Uint8Array(0) : signature.read();
  return bytes === undefined ? -rules.unreadableSignature : { bytes, keyring };
}

/** Why a map cannot be covered by a signature; 0 where it can. */
function checkSignedMap(env: VerifierEnv, map: MapDescriptor): number {
  const name = `signed program metadata map '${map.name}'`;
  if (map.type !== BPF_MAP_TYPE_ARRAY) return refuse(env, `${name} must be an array`, EINVAL);
  if (!map.frozen) return refuse(env, `${name} must be frozen`, EPERM);
  if (map.hasActiveWriters) return refuse(env, `${name} has active writers`, EBUSY);
  return map.exclusiveDigest === undefined ? refuse(env, `${name} must be exclusive`, EPERM) : 0;
}

/** The instructions and the contents of every bound map, or `-errno`. */
function signedParts(env: VerifierEnv): readonly Uint8Array[] | number {
  let size = env.load.instructions.length;
  for (const map of env.usedMaps) {
    const error = checkSignedMap(env, map);
    if (error !== 0) return error;
    size += map.valueSize;
  }
  if (size > MAX_SIGNED_SIZE) return refuse(env, `signed payload too large: ${size} bytes`, E2BIG);
  const parts: Uint8Array[] = [env.load.instructions];
  for (const map of env.usedMaps) {
    const contents = map.signedContents();
    if (typeof contents === 'number') return refuse(env, `failed to read signed metadata map '${map.name}': ${contents}`, -contents);
    parts.push(contents);
  }
  return parts;
}

function verifySignature(env: VerifierEnv, rules: AdmissionRules): KeyringRecord | number {
  const { phases } = env.ext;
  const read = within(phases, 'signature', () => readSignature(env, rules));
  if (typeof read === 'number') return read;
  const parts = within(phases, 'folding', () => signedParts(env));
  if (typeof parts === 'number') return parts;
  const error = within(phases, 'signature', () => env.ext.verifySignature(parts, read.bytes, read.keyring));
  if (error !== 0) return refuse(env, `signature verification failed: ${error}`, -error);
  env.log.write('signature verification passed\n');
  return { verdict: 1, keyringType: read.keyring.type, keyringSerial: read.keyring.serial };
}
