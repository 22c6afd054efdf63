/**
 * @module src/inspect
 * The auditor's view of a light skeleton: who signed what, does it verify, what will be installed, which bytes remain
 * unexplained. Puts together what `loader/` and `crypto/` find out, as plain data in the shape of `bpftwin inspect -j`. Runs
 * nothing in a kernel.
 */
import { ALL_ALGORITHMS, DISTRIBUTION_ALGORITHMS } from '../crypto/algorithms.ts';
import { equalBytes, toHex } from '../crypto/bytes.ts';
import { sha256 } from '../crypto/digest.ts';
import { explainCertificate, explainMessage, type CertificateExplanation, type SignerExplanation } from '../crypto/explain.ts';
import { parseSignedMessage } from '../crypto/pkcs7.ts';
import { isRefusal } from '../crypto/rejection.ts';
import { checkStrictly } from '../crypto/strict.ts';
import { certificateKeyring, verifyDetached, type Verification } from '../crypto/verify.ts';
import type { Certificate } from '../crypto/x509.ts';
import { BTF } from '../btf/btf.ts';
import { decodeArguments, formatArgument, commandName } from '../isa/attr.ts';
import { disassembleProgram } from '../isa/disasm.ts';
import { errnoName } from '../isa/errno.ts';
import { InputError } from '../isa/errors.ts';
import { BTF_KIND_DATASEC } from '../isa/uapi.ts';
import { detectContract } from '../loader/contract.ts';
import type { LoaderRequest } from '../loader/dry-run.ts';
import { decodeMetadata, type DecodedMap, type DecodedProgram, type Metadata } from '../loader/metadata.ts';
import type { LightSkeleton } from '../loader/skeleton.ts';
import { digestAndTag } from '../verifier/tag.ts';
import { compareWithObject, type ObjectComparison } from './gen.ts';
import { attachTypeName, coreKindName, mapTypeName, programTypeName } from './names.ts';

/** A stretch of bytes that a signature covers. */
export interface CoveredRange {
  readonly what: 'instructions' | 'metadata';
  readonly bytes: number;
  readonly sha256: string;
}

export interface InspectedSigner {
  /** Key identifier, or serial number and issuer. */
  readonly identified_by: 'key identifier' | 'issuer and serial';
  readonly key_id: string | null;
  readonly issuer: string | null;
  readonly serial: string | null;
  readonly digest: string;
  readonly algorithm: string;
  /** Names of the signed attributes; empty where the bytes themselves are signed. */
  readonly signed_attributes: readonly string[];
  /** ISO 8601, as the signer claims. */
  readonly signing_time: string | null;
  readonly signature_bytes: number;
}

export interface InspectedCertificate {
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly key_id: string | null;
  /** `"RSA 2048"`, `"ECDSA P-256"`, … */
  readonly key: string;
  readonly valid_from: string;
  readonly valid_to: string;
  /** SHA-256 of the whole certificate. */
  readonly fingerprint: string;
}

export interface InspectedSignature {
  readonly present: boolean;
  readonly bytes: number;
  readonly covers: readonly CoveredRange[];
  readonly signers: readonly InspectedSigner[];
  readonly certificates: readonly InspectedCertificate[];
  readonly exclusive_hash: string | null;
  /** The hash that the loader's map is exclusive to is the loader's own digest. */
  readonly exclusive_hash_matches: boolean | null;
  readonly check: {
    readonly verdict: 'verified' | 'refused' | 'not checked';
    readonly errno: number;
    readonly name: string;
    readonly reason: string;
    readonly signer: InspectedCertificate | null;
  };
  /** What strict mode finds wrong beyond Linux's rules. */
  readonly strict: readonly { readonly rule: string; readonly reason: string; readonly offset: number | null }[];
}

export interface InspectedMap {
  readonly name: string;
  readonly kernel_name: string;
  readonly type: string;
  readonly key_size: number;
  readonly value_size: number;
  readonly max_entries: number;
  readonly flags: number;
  readonly map_extra: string;
  readonly frozen: boolean;
  /** Kernel name of the template. */
  readonly inner_map: string | null;
  readonly resizable: boolean;
  readonly elements: readonly {
    readonly key: string; readonly value: string | null; readonly inner_map: string | null; readonly from: 'metadata' | 'process';
  }[];
  readonly variables: readonly { readonly name: string; readonly offset: number; readonly size: number }[];
}

export interface InspectedProgram {
  readonly name: string;
  readonly kernel_name: string;
  readonly type: string;
  readonly expected_attach_type: string;
  readonly attach_target: string | null;
  readonly attaches_by: string;
  readonly license: string;
  readonly flags: number;
  readonly insns: number;
  /** Tag of the instructions as the metadata has them; `null` where loader or kernel change them first. */
  readonly tag: string | null;
  readonly btf: boolean;
  readonly func_info: number;
  readonly line_info: number;
  readonly maps: readonly string[];
  readonly disassembly: readonly string[];
}

/** The whole audit. */
export interface Inspection {
  readonly file: string;
  readonly name: string;
  readonly contract: { readonly name: string; readonly evidence: readonly string[] };
  readonly signature: InspectedSignature;
  /** SHA-256 over the loader's instructions, hex. */
  readonly digest: string;
  readonly loader: { readonly insns: number; readonly context_size: number; readonly insns_run: number; readonly insns_cleanup: number; readonly stopped: string | null };
  readonly metadata: {
    readonly bytes: number;
    readonly sha256: string;
    readonly explained: number;
    readonly unexplained: readonly { readonly start: number; readonly end: number }[];
    readonly segments: readonly { readonly start: number; readonly end: number; readonly what: string }[];
  };
  readonly maps: readonly InspectedMap[];
  readonly progs: readonly InspectedProgram[];
  readonly relocations: readonly { readonly prog: string; readonly insn: number; readonly kind: string; readonly name: string }[];
  readonly core_relocations: readonly { readonly prog: string; readonly insn: number; readonly kind: string; readonly type: string; readonly access: string }[];
  readonly strings: readonly string[];
  /** Every request of the loader, in order, as text. */
  readonly calls: readonly string[];
  readonly extra_functions: readonly string[];
  /** Whether the object generates these bytes; `null` where none was given. */
  readonly object: ObjectComparison | null;
}

/** What an audit is made with. */
export interface InspectOptions {
  /** Certificates to verify the signature against. Without any, it is only read. */
  readonly certificates?: readonly Certificate[];
  /** Seconds since 1970 at which certificates must be valid for strict mode. */
  readonly now?: number;
  /** The object that the skeleton claims to be made from. */
  readonly object?: { readonly bytes: Uint8Array; readonly file: string; readonly possibleCPUs?: number };
}

/**
 * Takes a light skeleton apart.
 *
 * @example
 * inspectSkeleton(parseLightSkeleton(bytes, 'a.lskel.h')).signature.present;
 */
export function inspectSkeleton(skeleton: LightSkeleton, options: InspectOptions = {}): Inspection {
  const metadata = decodeMetadata(skeleton);
  const { contract, evidence } = detectContract(skeleton);
  const explained = metadata.explained.reduce((sum, segment) => sum + segment.end - segment.start, 0);
  const btf = parsePayloadBTF(metadata.btf);
  return {
    file: skeleton.file,
    name: skeleton.name,
    contract: { name: contract, evidence },
    signature: inspectSignature(skeleton, contract === 'in-loader', options),
    digest: toHex(sha256(skeleton.instructions)),
    loader: {
      insns: skeleton.instructions.length / 8,
      context_size: skeleton.contextSize,
      insns_run: metadata.coverage.executed,
      insns_cleanup: metadata.coverage.cleanup,
      stopped: metadata.stopped ?? null,
    },
    metadata: {
      bytes: skeleton.metadata.length,
      sha256: toHex(sha256(skeleton.metadata)),
      explained,
      unexplained: metadata.unexplained,
      segments: metadata.explained,
    },
    maps: metadata.maps.map((map) => inspectMap(map, metadata, btf)),
    progs: metadata.programs.map((program, index) => inspectProgram(program, index, metadata, skeleton)),
    relocations: metadata.relocations.map(({ program, instruction, kind, name }) => ({ prog: programName(metadata, program), insn: instruction, kind, name })),
    core_relocations: metadata.coreRelocations.map(({ program, instruction, kind, typeID, access }) => ({
      prog: programName(metadata, program), insn: instruction, kind: coreKindName(kind), type: btfTypeName(btf, typeID), access,
    })),
    strings: metadata.strings,
    calls: metadata.requests.map(describeRequest),
    extra_functions: skeleton.extraFunctions,
    object: compareObject(skeleton, contract === 'in-loader', options),
  };
}

function compareObject(skeleton: LightSkeleton, inLoaderCheck: boolean, { object }: InspectOptions): ObjectComparison | null {
  if (object === undefined) return null;
  const { possibleCPUs } = object;
  return compareWithObject(skeleton, object.bytes, object.file, { inLoaderCheck, ...(possibleCPUs === undefined ? {} : { possibleCPUs }) });
}

function programName(metadata: Metadata, index: number): string {
  return metadata.programs[index]?.name ?? '';
}

function mapName(metadata: Metadata, index: number | undefined): string | null {
  const map = index === undefined ? undefined : metadata.maps[index];
  return map?.name ?? null;
}

/** The payload's types; a payload whose BTF cannot be read is still audited, only without names. */
function parsePayloadBTF(bytes: Uint8Array | undefined): BTF | undefined {
  if (bytes === undefined) return undefined;
  try {
    return BTF.parse(bytes);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

function btfTypeName(btf: BTF | undefined, id: number): string {
  return btf?.has(id) === true ? btf.typeName(id) || `type ${id}` : `type ${id}`;
}

function inspectMap(map: DecodedMap, metadata: Metadata, btf: BTF | undefined): InspectedMap {
  return {
    name: map.name,
    kernel_name: map.kernelName,
    type: mapTypeName(map.type),
    key_size: map.keySize,
    value_size: map.valueSize,
    max_entries: map.maxEntries,
    flags: map.flags,
    map_extra: String(map.mapExtra),
    frozen: map.frozen,
    inner_map: mapName(metadata, map.innerMap),
    resizable: map.resizable,
    elements: map.elements.map((element) => ({
      key: toHex(element.key),
      value: element.innerMap === undefined ? toHex(element.value) : null,
      inner_map: mapName(metadata, element.innerMap),
      from: element.fromProcess ? 'process' : 'metadata',
    })),
    variables: sectionVariables(map, btf),
  };
}

function sectionVariables(map: DecodedMap, btf: BTF | undefined): InspectedMap['variables'] {
  const id = map.btfValueTypeID;
  if (btf?.has(id) !== true || btf.kind(id) !== BTF_KIND_DATASEC) return [];
  return btf.sectionVariables(id).map(({ type, offset, size }) => ({ name: btf.has(type) ? btf.typeName(type) : '', offset, size }));
}

function inspectProgram(program: DecodedProgram, index: number, metadata: Metadata, skeleton: LightSkeleton): InspectedProgram {
  const isRelocated = [...metadata.relocations, ...metadata.coreRelocations].some((relocation) => relocation.program === index);
  const names = new Set(program.mapReferences.flatMap(({ map }) => mapName(metadata, map) ?? []));
  const attach = program.index === undefined ? undefined : skeleton.programs[program.index]?.attach;
  return {
    name: program.name,
    kernel_name: program.kernelName,
    type: programTypeName(program.type),
    expected_attach_type: attachTypeName(program.expectedAttachType),
    attach_target: program.attachTarget?.name ?? null,
    attaches_by: attach === undefined || attach.kind === 'none' ? 'nothing' : attach.kind === 'iter' ? 'iterator' : attachText(attach.name),
    license: program.license,
    flags: program.flags,
    insns: program.instructions.length / 8,
    tag: isRelocated ? null : toHex(digestAndTag(program.signedInstructions).subarray(0, 8)),
    btf: program.hasBTF,
    func_info: program.functionInfoCount,
    line_info: program.lineInfoCount,
    maps: [...names],
    disassembly: disassembleProgram(program.signedInstructions).map((line) => `${line.index}: ${line.text}`),
  };
}

function attachText(name: string | undefined): string {
  return name === undefined ? 'tracing link' : `raw tracepoint ${name}`;
}

function describeRequest(request: LoaderRequest): string {
  switch (request.kind) {
    case 'bpf': {
      const view = new DataView(request.attr.buffer, request.attr.byteOffset, request.attr.byteLength);
      return `${commandName(request.cmd)}(${decodeArguments(request.cmd, view, 0, request.size).map(formatArgument).join(', ')})`;
    }
    case 'find': return `btf_find_by_name_kind("${request.name}", ${request.btfKind})`;
    case 'kallsyms': return `kallsyms_lookup_name("${request.name}")`;
    case 'close': return `close(${request.fd})`;
    case 'copy': return `copy_from_user(${request.size} bytes)`;
    case 'print': return `trace_printk("${request.format}")`;
  }
}

// --- signature --------------------------------------------------------------------------------------------------------

const NOT_CHECKED = { verdict: 'not checked', errno: 0, name: '', signer: null } as const;

function inspectSignature(skeleton: LightSkeleton, inLoader: boolean, { certificates = [], now = 0 }: InspectOptions): InspectedSignature {
  const { signature, instructions, metadata } = skeleton;
  if (signature === undefined) {
    return {
      present: false, bytes: 0, covers: [], signers: [], certificates: [], exclusive_hash: null, exclusive_hash_matches: null,
      check: { ...NOT_CHECKED, reason: 'there is no signature' }, strict: [],
    };
  }
  const covered: readonly (readonly [CoveredRange['what'], Uint8Array])[] = inLoader
    ? [['instructions', instructions]] : [['instructions', instructions], ['metadata', metadata]];
  const message = parseSignedMessage(signature.bytes, { algorithms: ALL_ALGORITHMS });
  const explained = isRefusal(message) ? undefined : explainMessage(message);
  const verification = verifyDetached(covered.map(([, bytes]) => bytes), signature.bytes, {
    algorithms: DISTRIBUTION_ALGORITHMS, keyring: certificateKeyring(certificates),
  });
  return {
    present: true,
    bytes: signature.bytes.length,
    covers: covered.map(([what, bytes]) => ({ what, bytes: bytes.length, sha256: toHex(sha256(bytes)) })),
    signers: (explained?.signers ?? []).map(inspectSigner),
    certificates: (explained?.certificates ?? []).map(inspectCertificate),
    exclusive_hash: toHex(signature.exclusiveHash),
    exclusive_hash_matches: equalBytes(signature.exclusiveHash, sha256(instructions)),
    check: judge(verification, certificates),
    strict: checkStrictly(signature.bytes, verification, now).map(({ rule, reason, offset }) => ({ rule, reason, offset: offset ?? null })),
  };
}

function inspectSigner({ identity, digest, algorithm, attributes, signingTime, signatureBytes }: SignerExplanation): InspectedSigner {
  return {
    identified_by: identity.form,
    key_id: identity.form === 'key identifier' ? identity.keyID : null,
    issuer: identity.form === 'issuer and serial' ? identity.issuer : null,
    serial: identity.form === 'issuer and serial' ? identity.serial : null,
    digest,
    algorithm,
    signed_attributes: (attributes ?? []).map(({ name }) => name),
    signing_time: signingTime ?? null,
    signature_bytes: signatureBytes,
  };
}

function inspectCertificate({ subject, issuer, serial, keyID, key, validFrom, validTo, fingerprint }: CertificateExplanation): InspectedCertificate {
  return { subject, issuer, serial, key_id: keyID ?? null, key, valid_from: validFrom, valid_to: validTo, fingerprint };
}

function judge(verification: Verification, certificates: readonly Certificate[]): InspectedSignature['check'] {
  // Without certificates only faults of the message itself are worth a verdict.
  if (certificates.length === 0 && (verification.step === 'trust' || verification.errno === 0)) {
    return { ...NOT_CHECKED, reason: 'no certificate was given' };
  }
  if (verification.errno !== 0) {
    return { verdict: 'refused', errno: verification.errno, name: errnoName(verification.errno), reason: verification.reason, signer: null };
  }
  const signer = certificates.find((certificate) => vouched(certificate, verification));
  return {
    verdict: 'verified', errno: 0, name: '', reason: verification.reason, signer: signer === undefined ? null : inspectCertificate(explainCertificate(signer)),
  };
}

function vouched(certificate: Certificate, verification: Verification): boolean {
  const id = verification.trustedBy?.ids[0];
  return id !== undefined && equalBytes(certificate.id, id);
}
