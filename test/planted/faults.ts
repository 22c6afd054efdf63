/**
 * @module test/planted/faults
 * Defects that releases of Linux and libbpf had, as edits of this project's compiled code: one at a time is put in, and a fuzzing target has
 * to find it. Nothing of this is in the product. `find` must occur exactly once in the compiled file (a test says so), so whoever
 * changes that code is told to move the fault along.
 */

/** One defect. */
export interface PlantedFault {
  /** Name in reports, and of the seed's file. */
  readonly id: string;
  /** The bug that it repeats: a CVE, a commit of libbpf, or a rule of the signing contract. */
  readonly origin: string;
  readonly about: string;
  /** Compiled file, without its extension. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Fuzzing target that looks for it. */
  readonly target: 'bytecode' | 'engines' | 'loader' | 'syscalls' | 'signature';
  /** Case of test/parity/data/regressions.jsonl.gz whose recorded answer shows it, where there is one. */
  readonly recorded?: string;
}

export const FAULTS: readonly PlantedFault[] = [
  // The verifier's arithmetic and branches.
  {
    id: 'rsh32-in-64-bits', origin: 'CVE-2018-18445', about: 'a 32-bit right shift computes with 64 bits', target: 'bytecode', recorded: 'CVE-2018-18445',
    file: 'verifier/scalar_alu', find: 'shiftRight32(d, o, s[x + R32]);', replace: 'shiftRight64(d, o, s[x + R32]);',
  },
  {
    id: 'jmp32-refines-64-bits', origin: 'CVE-2020-8835', about: 'a 32-bit comparison narrows the 64-bit range', target: 'bytecode', recorded: 'CVE-2020-8835',
    file: 'verifier/scalar_branch', find: 'scalarRefine(OUTCOMES, left, OUTCOMES, right, op, is32);', replace: 'scalarRefine(OUTCOMES, left, OUTCOMES, right, op, false);',
  },
  {
    id: 'or32-from-64-bits', origin: 'CVE-2020-27194', about: '32-bit OR takes its range from 64-bit bounds', target: 'bytecode', recorded: 'CVE-2020-27194',
    file: 'verifier/scalar_alu', find: 'cnum32FromUnsigned(d, o + R32, Math.max(cnum32UMin(d, o + R32), cnum32UMin(s, x + R32)) | 0, all);',
    replace: '{ cnum64UMax(d, o + R64); const top = BOUND[0]; cnum64UMin(d, o + R64); cnum32FromUnsigned(d, o + R32, BOUND[0], top); }',
  },
  {
    id: 'and32-not-updated', origin: 'CVE-2021-3490', about: 'AND, OR and XOR of known low halves leave the 32-bit range as it was', target: 'bytecode', recorded: 'CVE-2021-3490',
    file: 'verifier/scalar_alu', find: 'if (tnumSubregIsConst(d, o) && tnumSubregIsConst(s, x))\n        scalarConstSubreg(d, o, value);',
    replace: 'if (tnumSubregIsConst(d, o) && tnumSubregIsConst(s, x))\n        ;',
  },
  {
    id: 'bswap-keeps-id', origin: 'CVE-2026-43070', about: 'a byte swap keeps the link to the register that it was copied from', target: 'bytecode', recorded: 'CVE-2026-43070/bswap64',
    file: 'verifier/alu', find: 'if (swaps || bits !== 64)\n            clearScalarID(w, dst);', replace: '',
  },
  {
    id: 'fetch-not-backtracked', origin: 'CVE-2026-43009', about: 'what an atomic fetch reads is not followed back', target: 'bytecode',
    file: 'verifier/backtrack', find: 'insnClass === BPF_LDX || (isAtomic && (imm[idx] === BPF_LOAD_ACQ || (imm[idx] & BPF_FETCH) !== 0))', replace: 'insnClass === BPF_LDX',
  },
  {
    id: 'pruned-before-precision', origin: 'CVE-2023-2163', about: 'a path is left out before it is known what the first one depended on', target: 'bytecode', recorded: 'CVE-2023-2163',
    file: 'verifier/state_equal', find: 'if (type === SCALAR_VALUE && exact === NOT_EXACT && ow[o + REG_PRECISE] === 0 && !env.exploreAluLimits)',
    replace: 'if (type === SCALAR_VALUE && exact === NOT_EXACT)',
  },
  {
    id: 'or-null-arithmetic', origin: 'CVE-2022-23222', about: 'arithmetic on a pointer that may be null', target: 'bytecode', recorded: 'CVE-2022-23222/hash_key_0',
    file: 'verifier/alu', find: 'if ((type & PTR_MAYBE_NULL) !== 0) {\n        env.log.write(`R${dstRegno} pointer arithmetic on', replace: 'if (false) {\n        env.log.write(`R${dstRegno} pointer arithmetic on',
  },
  // The machine.
  {
    id: 'mod32-keeps-upper-half', origin: 'CVE-2021-3444', about: '32-bit remainder by zero leaves the upper half', target: 'engines', recorded: 'CVE-2021-3444',
    file: 'vm/interpreter', find: 'const a = r[d], b = r[code[pc + 2]];\n                    r[d] = b === 0 ? a : (a >>> 0) % (b >>> 0);\n                    r[d + 1] = 0;',
    replace: 'const a = r[d], b = r[code[pc + 2]];\n                    r[d] = b === 0 ? a : (a >>> 0) % (b >>> 0);\n                    if (b !== 0) r[d + 1] = 0;',
  },
  {
    id: 'div32-tests-64-bits', origin: 'CVE-2021-3600', about: '32-bit division by zero is looked for in 64 bits', target: 'engines', recorded: 'CVE-2021-3600',
    file: 'vm/interpreter', find: 'const a = r[d], b = r[code[pc + 2]];\n                    r[d] = b === 0 ? 0 : (a >>> 0) / (b >>> 0);',
    replace: 'const a = r[d], b = r[code[pc + 2]];\n                    r[d] = (b | r[code[pc + 2] + 1]) === 0 ? 0 : b === 0 ? -1 : (a >>> 0) / (b >>> 0);',
  },
  {
    id: 'smallest-by-minus-one', origin: 'CVE-2024-49888', about: 'the least number divided by -1 traps', target: 'engines', recorded: 'CVE-2024-49888/sdiv',
    file: 'vm/wasm/arithmetic', find: "const signed = stem.startsWith('s');", replace: 'const signed = false;',
  },
  // Admission.
  {
    id: 'exclusive-not-compared', origin: '7e3bab2a', about: 'a map that is exclusive to another program is bound', target: 'syscalls',
    file: 'verifier/insns', find: 'if (map.exclusiveDigest !== undefined && !sameBytes(map.exclusiveDigest, env.digest)) {', replace: 'if (false) {',
  },
  {
    id: 'map-not-folded', origin: 'contract: every map is signed', about: 'the last bound map is not part of the signed bytes', target: 'syscalls',
    file: 'verifier/admission', find: 'for (const map of env.usedMaps) {\n        const contents', replace: 'for (const map of env.usedMaps.slice(0, -1)) {\n        const contents',
  },
  {
    id: 'unfrozen-accepted', origin: 'contract: maps are frozen', about: 'a map that can still be written to is accepted', target: 'syscalls',
    file: 'verifier/admission', find: 'if (!map.frozen)', replace: 'if (false)',
  },
  {
    id: 'shared-accepted', origin: '7e3bab2a', about: 'a map that is exclusive to no program is accepted', target: 'syscalls',
    file: 'verifier/admission', find: 'map.exclusiveDigest === undefined ?', replace: 'false ?',
  },
  {
    id: 'order-ignored', origin: 'contract: maps in the order of fd_array', about: 'maps are folded in the order in which they were made', target: 'syscalls',
    file: 'verifier/admission', find: 'for (const map of env.usedMaps) {\n        const contents', replace: 'for (const map of [...env.usedMaps].sort((a, b) => a.id - b.id)) {\n        const contents',
  },
  // Signatures.
  {
    id: 'digest-not-compared', origin: 'contract: the payload is signed', about: 'the attribute messageDigest is not compared with the payload', target: 'signature',
    file: 'crypto/verify', find: 'if (!equalBytes(info.messageDigest, expected))', replace: 'if (false)',
  },
  {
    id: 'key-found-is-enough', origin: 'contract: the signature holds', about: 'a signature by a known key is not computed', target: 'signature',
    file: 'crypto/verify', find: "if (errno !== 0)\n            throw new Rejection(EKEYREJECTED, 'signature does not verify with the key of the keyring');", replace: '',
  },
  // The generator of loaders.
  {
    id: 'descriptors-left-open', origin: '0f5a62b2', about: 'a loader that fails does not close the maps that it made', target: 'loader',
    file: 'loader/gen/loader-code', find: 'for (let i = 0; i < maps; i++)\n            this.closeBlob(this.fdSlot(i));', replace: 'for (let i = 0; i < maps; i++) for (let k = 0; k < 6; k++) this.moveRegister(7, 7);',
  },
  {
    id: 'jump-beside-cleanup', origin: '5a5b5b0d', about: 'the jump to the clean-up code is off by one', target: 'loader',
    file: 'loader/gen/loader-code', find: 'this.jump(U.BPF_JSLT, 7, 0, off);', replace: 'this.jump(U.BPF_JSLT, 7, 0, off + 3);',
  },
  {
    id: 'blob-not-aligned', origin: 'f49c65d2', about: 'data in the blob is not filled up to a multiple of eight', target: 'loader',
    file: 'loader/gen/loader-code', find: 'this.#data.grow(-bytes.length & 7);', replace: '',
  },
  {
    id: 'context-sizes-maps', origin: '364ee320', about: 'the context decides on max_entries of a signed loader', target: 'loader',
    file: 'loader/gen/gen-loader', find: 'if (index !== undefined && !this.#signed)', replace: 'if (index !== undefined)',
  },
  {
    id: 'context-fills-maps', origin: '62fab2fc', about: 'the context replaces first values of a signed loader', target: 'loader',
    file: 'loader/gen/gen-loader', find: 'if (!this.#signed)\n            this.#takeCallersValue(index, valueAt, value.length);', replace: 'this.#takeCallersValue(index, valueAt, value.length);',
  },
  {
    id: 'errno-lost', origin: '8c2d905f', about: 'a loader that fails is reported as one that ran', target: 'loader',
    file: 'loader/load-and-run', find: "throw new StepFailed('run of loader prog', -retval, retval);", replace: "throw new StepFailed('run of loader prog', 0, retval);",
  },
  // The kernel.
  {
    id: 'map-without-descriptor', origin: '594960b3', about: 'a map for which there is no descriptor stays', target: 'syscalls',
    file: 'kernel/syscall/map-create', find: 'if (fd < 0)\n        kernel.putMapWithUserReference(map);', replace: '',
  },
];

/** The fault of that id. */
export function faultNamed(id: string): PlantedFault {
  const fault = FAULTS.find((candidate) => candidate.id === id);
  if (fault === undefined) throw new RangeError(`no fault ${id}`);
  return fault;
}

/** How often `find` occurs. */
export function occurrences(source: string, { find }: PlantedFault): number {
  return source.split(find).length - 1;
}

/** The compiled file with the fault in it. */
export function plant(source: string, fault: PlantedFault): string {
  if (occurrences(source, fault) !== 1) throw new RangeError(`${fault.id}: "${fault.find}" occurs ${occurrences(source, fault)} times in ${fault.file}.js`);
  return source.replace(fault.find, () => fault.replace);
}
