/**
 * @module loader/contract
 * Which of the two signing contracts a skeleton was made for, and what in its instructions says so. Before Linux 7.3 the
 * signature covers the loader's instructions alone, and the loader itself compares the metadata map's hash with one that is
 * baked into it; from 7.3 on the signature covers instructions and metadata and the kernel checks both. Owns the recognition
 * of that comparison (`emit_signature_match` of `tools/lib/bpf/gen_loader.c` up to 7.2); does not check any signature.
 */
import { equalBytes, toHex } from '../crypto/bytes.ts';
import { sha256 } from '../crypto/digest.ts';
import { BPF_PSEUDO_MAP_IDX } from '../isa/uapi.ts';
import { LD_IMM64 } from '../isa/instructions.ts';
import type { LightSkeleton } from './skeleton.ts';

/** `load-time`: 7.3 and later; `in-loader`: 6.18 to 7.2; `unsigned`: nothing to tell them apart. */
export type Contract = 'load-time' | 'in-loader' | 'unsigned';

/** A contract with the facts that speak for it. */
export interface ContractEvidence {
  readonly contract: Contract;
  /** One fact a line. */
  readonly evidence: readonly string[];
  /** The hash that an in-loader check compares with, 32 bytes. */
  readonly bakedHash: Uint8Array | undefined;
  /** Whether that hash is the metadata's. */
  readonly bakedHashMatches: boolean | undefined;
}

/** `BPF_LDX | BPF_MEM | BPF_DW`. */
const LDX_DW = 0x79;
/** Words of 8 bytes in a SHA-256 digest. */
const DIGEST_WORDS = 4;

/**
 * Tells the contract of a skeleton from its own bytes.
 *
 * @example
 * detectContract(parseLightSkeleton(bytes, file)).contract; // 'load-time'
 */
export function detectContract(skeleton: LightSkeleton): ContractEvidence {
  const bakedHash = findBakedHash(skeleton.instructions);
  if (bakedHash !== undefined) return inLoader(skeleton, bakedHash);
  if (skeleton.signature === undefined) {
    return { contract: 'unsigned', evidence: ['the skeleton carries no signature'], bakedHash: undefined, bakedHashMatches: undefined };
  }
  const evidence = [
    'the skeleton carries a signature',
    'the loader never reads struct bpf_map, so the check of its metadata is left to the kernel',
  ];
  return { contract: 'load-time', evidence, bakedHash: undefined, bakedHashMatches: undefined };
}

function inLoader(skeleton: LightSkeleton, bakedHash: Uint8Array): ContractEvidence {
  const matches = equalBytes(bakedHash, sha256(skeleton.metadata));
  const evidence = [
    `the loader compares the hash in struct bpf_map with ${toHex(bakedHash)}, which ${matches ? 'is' : 'is not'} the SHA-256 of the metadata`,
    skeleton.signature === undefined ? 'the skeleton carries no signature' : 'the skeleton carries a signature',
  ];
  return { contract: 'in-loader', evidence, bakedHash, bakedHashMatches: matches };
}

/**
 * The four words that a loader compares with words 0 to 3 of `struct bpf_map`: each is a load of the map's address, a read of
 * the word, a 16-byte constant and a jump that is taken where they differ.
 */
function findBakedHash(instructions: Uint8Array): Uint8Array | undefined {
  const view = new DataView(instructions.buffer, instructions.byteOffset, instructions.byteLength);
  const hash = new Uint8Array(8 * DIGEST_WORDS);
  const out = new DataView(hash.buffer);
  let found = 0;
  for (let at = 0; at + 40 <= instructions.length; at += 8) {
    if (!isMapAddressLoad(view, at) || view.getUint8(at + 16) !== LDX_DW || view.getUint8(at + 24) !== LD_IMM64) continue;
    if (view.getInt16(at + 18, true) !== 8 * found || found === DIGEST_WORDS) continue;
    out.setUint32(8 * found, view.getUint32(at + 28, true), true);
    out.setUint32(8 * found + 4, view.getUint32(at + 36, true), true);
    found++;
  }
  return found === DIGEST_WORDS ? hash : undefined;
}

function isMapAddressLoad(view: DataView, at: number): boolean {
  return view.getUint8(at) === LD_IMM64 && view.getUint8(at + 1) >> 4 === BPF_PSEUDO_MAP_IDX && view.getUint32(at + 4, true) === 0;
}
