/**
 * @module src/fuzz/oracles/admission
 * A second opinion on every program that a kernel admits with a signature: the signed bytes are put together anew from user memory and
 * from the maps behind `fd_array`, and checked with the certificates directly. Sits on the LSM hook, so it sees every load, whoever makes it.
 * Owns the model of the contract (docs/signatures.md), not the admission itself.
 */
import { PROG_LOAD_ATTR, readInt, readLong } from '../../../isa/attr.ts';
import { INSTRUCTION_SIZE } from '../../../isa/decode.ts';
import { LD_IMM64 } from '../../../isa/instructions.ts';
import { BPF_MAP_TYPE_ARRAY, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE } from '../../../isa/uapi.ts';
import { equalBytes, toHex } from '../../../crypto/bytes.ts';
import { sha256 } from '../../../crypto/digest.ts';
import { certificateKeyring, verifyDetached } from '../../../crypto/verify.ts';
import type { Certificate } from '../../../crypto/x509.ts';
import { DISTRIBUTION_ALGORITHMS } from '../../../crypto/algorithms.ts';
import type { Kernel } from '../../../kernel/kernel.ts';
import type { BPFMap } from '../../../kernel/maps/map.ts';
import type { Finding } from '../types.ts';

const VERIFIED = 1;

/** Instructions as they are hashed: descriptors of maps are not part of a program. */
export function digestOf(instructions: Uint8Array): Uint8Array {
  const copy = instructions.slice();
  for (let at = 0; at + 2 * INSTRUCTION_SIZE <= copy.length; at += INSTRUCTION_SIZE) {
    const source = copy[at + 1]! >> 4;
    if (copy[at] !== LD_IMM64 || (source !== BPF_PSEUDO_MAP_FD && source !== BPF_PSEUDO_MAP_VALUE)) continue;
    copy.fill(0, at + 4, at + 8);
    if (copy.subarray(at + 8, at + 12).every((byte) => byte === 0)) copy.fill(0, at + 12, at + 16);
    at += INSTRUCTION_SIZE;
  }
  return sha256(copy);
}

const tampered = (trace: string, message: string): Finding => ({ oracle: 'tamper', trace, message });

/**
 * Watches a kernel's loads.
 * @example
 * const witness = new AdmissionWitness(kernel, [certificate]);
 * kernel.bpf(BPF_PROG_LOAD, attr, size);
 * witness.finding; // undefined
 */
export class AdmissionWitness {
  finding: Finding | undefined;
  /** Programs admitted with a signature. */
  verified = 0;
  readonly #kernel: Kernel;
  readonly #certificates: readonly Certificate[];

  /** @param recheck false to count only, where the second opinion is too dear for every input */
  constructor(kernel: Kernel, certificates: readonly Certificate[], recheck = true) {
    this.#kernel = kernel;
    this.#certificates = certificates;
    kernel.hooks.attach('bpf_prog_load', (program, attr, fromKernel) => {
      if (program.signature.verdict === VERIFIED) {
        this.verified++;
        if (recheck) this.finding ??= this.#checkVerified(attr, fromKernel);
      }
      return 0;
    });
  }

  /**
   * Exclusive maps are used by no program but their own; asked when loads are over, objects alive. A map that BPF_PROG_BIND_MAP binds is
   * held, not used: Linux does not compare there.
   */
  checkExclusive(): Finding | undefined {
    for (const program of this.#kernel.state.programs.values()) {
      for (const map of program.verified?.usedMaps ?? []) {
        const { exclusiveDigest } = map;
        if (exclusiveDigest === undefined || equalBytes(exclusiveDigest, digestOf(program.instructions))) continue;
        // Linux computes an unsigned program's digest after it has bound fd_array: until then the digest is zero, and a map may be exclusive to that.
        if (program.admission.verdict !== VERIFIED && exclusiveDigest.every((byte) => byte === 0)) continue;
        return tampered('exclusive map', `program ${program.name} uses map ${map.name}, which is exclusive to ${toHex(exclusiveDigest)}`);
      }
    }
    return undefined;
  }

  #checkVerified(attr: Uint8Array, fromKernel: boolean): Finding | undefined {
    const { memory, files } = this.#kernel.state;
    const view = new DataView(attr.buffer, attr.byteOffset, attr.byteLength);
    const read = (address: bigint, length: number): Uint8Array | undefined =>
      memory.copyFrom({ lo: Number(address & 0xffffffffn), hi: Number(BigInt.asIntN(32, address >> 32n)), kernel: fromKernel }, length);
    const instructions = read(readLong(view, 0, PROG_LOAD_ATTR.insns), readInt(view, 0, PROG_LOAD_ATTR.insn_cnt) * INSTRUCTION_SIZE);
    const signatureAt = readLong(view, 0, PROG_LOAD_ATTR.signature);
    const signature = read(signatureAt, readInt(view, 0, PROG_LOAD_ATTR.signature_size));
    if (signatureAt === 0n || signature === undefined || instructions === undefined) {
      return tampered('no signature', 'a program without a readable signature was recorded as verified');
    }
    const maps = new Set<BPFMap>();
    const count = readInt(view, 0, PROG_LOAD_ATTR.fd_array_cnt);
    const array = count === 0 ? new Uint8Array(0) : read(readLong(view, 0, PROG_LOAD_ATTR.fd_array), 4 * count);
    if (array === undefined) return tampered('fd_array', 'a verified program has no readable fd_array');
    const fds = new DataView(array.buffer, array.byteOffset, array.byteLength);
    for (let i = 0; i < count; i++) {
      const target = files.get(fds.getInt32(4 * i, true))?.target;
      if (target?.kind !== 'map') return tampered('fd_array', `entry ${i} of a verified program's fd_array is no map`);
      maps.add(target);
    }
    const parts: Uint8Array[] = [instructions];
    for (const map of maps) {
      const bad = map.type !== BPF_MAP_TYPE_ARRAY ? 'is no array'
        : !map.frozen ? 'is not frozen'
          : map.writers > 0 ? 'has writers'
            : map.maxEntries !== 1 ? 'has several elements'
              : map.exclusiveDigest === undefined ? 'is not exclusive'
                : equalBytes(map.exclusiveDigest, digestOf(instructions)) ? undefined : 'is exclusive to another program';
      if (bad !== undefined) return tampered(`map ${bad}`, `a verified program was admitted with map ${map.name}, which ${bad}`);
      const contents = this.#kernel.peekElement(map.id, new Uint8Array(4));
      if (contents === undefined) return tampered('map contents', `map ${map.name} cannot be read`);
      parts.push(contents);
    }
    const verification = verifyDetached(parts, signature, { algorithms: DISTRIBUTION_ALGORITHMS, keyring: certificateKeyring(this.#certificates) });
    return verification.errno === 0
      ? undefined
      : tampered('signed bytes', `a program was recorded as verified, but its signature does not cover it: ${verification.reason}`);
  }
}
