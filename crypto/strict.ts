/**
 * @module crypto/strict
 * Rules beyond Linux for signatures that Linux accepts: one encoding only, and a certificate that is good for signing now. Off
 * unless asked for; each refusal names its rule.
 *
 * Why: the kernel accepts 109 of the 3032 single-bit changes of an ordinary RSA signature (test/parity/flips.test.ts), trailing bytes, and expired
 * certificates. Whoever identifies a signature by its bytes, or expects validity to matter, wants more.
 */
import { compareBytes } from './der.ts';
import { describeOID, lookUpOID } from './oid.ts';
import type { Verification } from './verify.ts';
import type { Certificate } from './x509.ts';

/** Names of the rules. */
export type StrictRule =
  | 'trailing-bytes' | 'minimal-length' | 'definite-length' | 'tag-form' | 'sorted-set' | 'primitive-content' | 'structure' | 'single-signer'
  | 'digest-algorithms' | 'null-parameters' | 'unsigned-attributes' | 'revocation-lists' | 'signer-version' | 'weak-digest'
  | 'certificate-validity' | 'certificate-usage';

/** One broken rule. */
export interface StrictViolation {
  readonly rule: StrictRule;
  readonly reason: string;
  /** Offset in the message; `undefined` where a certificate of a keyring is meant. */
  readonly offset: number | undefined;
}

/** One element of a DER tree. */
interface Node {
  readonly tag: number;
  readonly offset: number;
  readonly start: number;
  readonly end: number;
  readonly children: readonly Node[];
}

const CONSTRUCTED = 0x20, MAX_DEPTH = 32, MAX_NODES = 20_000;
/** Universal types that are always constructed, and those that never are in DER. */
const ALWAYS_CONSTRUCTED: ReadonlySet<number> = new Set([0x10, 0x11]);
const BOOLEAN = 0x01, INTEGER = 0x02, BIT_STRING = 0x03, NULL = 0x05, OBJECT = 0x06, SET = 0x31, SEQUENCE = 0x30;

/** Reads everything as DER, noting what is not. Stops at the first element that cannot be followed. */
class Walker {
  readonly violations: StrictViolation[] = [];
  private readonly bytes: Uint8Array;
  private nodes = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  note(rule: StrictRule, reason: string, offset: number | undefined): void {
    this.violations.push({ rule, reason, offset });
  }

  element(offset: number, limit: number, depth: number): Node | undefined {
    const { bytes } = this, tag = bytes[offset] ?? 0, first = bytes[offset + 1] ?? 0;
    if (offset + 2 > limit || depth > MAX_DEPTH || ++this.nodes > MAX_NODES || (tag & 0x1f) === 0x1f) return this.lost('an element that cannot be followed', offset);
    let length = first, start = offset + 2;
    if (first === 0x80) {
      this.note('definite-length', 'indefinite length', offset);
      return undefined;
    }
    if (first > 0x80) {
      const count = first - 0x80;
      if (count > 4 || start + count > limit) return this.lost('a length beyond the end', offset);
      length = bytes.subarray(start, start + count).reduce((n, byte) => n * 256 + byte, 0);
      start += count;
      if (length < 0x80 || length < 256 ** (count - 1)) this.note('minimal-length', `${length} could be written shorter`, offset);
    }
    const end = start + length;
    if (end > limit) return this.lost('content beyond the end', offset);
    return this.finish(tag, offset, start, end, depth);
  }

  private finish(tag: number, offset: number, start: number, end: number, depth: number): Node {
    const universal = (tag & 0xc0) === 0, number = tag & 0x1f, constructed = (tag & CONSTRUCTED) !== 0;
    if (universal && ALWAYS_CONSTRUCTED.has(number) !== constructed) this.note('tag-form', `tag 0x${tag.toString(16)}`, offset);
    const children = constructed || (universal && ALWAYS_CONSTRUCTED.has(number)) ? this.members(start, end, depth) : [];
    if (universal && !constructed) this.primitive(number, offset, start, end);
    if (tag === SET && !isSorted(children, this.bytes)) this.note('sorted-set', 'members of a SET OF are not in order', offset);
    return { tag, offset, start, end, children };
  }

  private members(start: number, end: number, depth: number): Node[] {
    const children: Node[] = [];
    for (let at = start; at < end;) {
      const child = this.element(at, end, depth + 1);
      if (child === undefined) return children;
      children.push(child);
      at = child.end;
    }
    return children;
  }

  private primitive(number: number, offset: number, start: number, end: number): void {
    const { bytes } = this, first = bytes[start] ?? 0, second = bytes[start + 1] ?? 0, length = end - start;
    const bad = (reason: string): void => this.note('primitive-content', reason, offset);
    if (number === BOOLEAN && (length !== 1 || (first !== 0 && first !== 0xff))) bad('BOOLEAN is neither 00 nor ff');
    if (number === INTEGER && (length === 0 || (length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))))) bad('INTEGER is not minimal');
    if (number === NULL && length !== 0) bad('NULL with content');
    if (number === OBJECT && describeOID(bytes.subarray(start, end)).startsWith('?')) bad('OBJECT IDENTIFIER is malformed');
    if (number === BIT_STRING && (length === 0 || first > 7)) bad('BIT STRING is malformed');
  }

  private lost(reason: string, offset: number): undefined {
    this.note('structure', reason, offset);
    return undefined;
  }
}

function isSorted(children: readonly Node[], bytes: Uint8Array): boolean {
  return children.every((child, i) => {
    const before = children[i - 1];
    return before === undefined || compareBytes(bytes.subarray(before.offset, before.end), bytes.subarray(child.offset, child.end)) <= 0;
  });
}

/** The parts of a ContentInfo that RFC 5652 has, in its order. */
function checkShape(walker: Walker, root: Node, bytes: Uint8Array): void {
  const data = root.children[1]?.children[0], parts = data?.children ?? [], [, digests, , ...rest] = parts;
  const lists = rest.filter(({ tag }) => tag === 0xa1 || tag === 0xa2 || tag === 0xa3), signers = rest.at(-1);
  if (digests === undefined || signers === undefined || digests.tag !== SET || signers.tag !== SET) {
    walker.note('structure', 'digest algorithms or signers are no SET', data?.offset);
    return;
  }
  for (const list of lists) walker.note(list.tag === 0xa1 ? 'revocation-lists' : 'structure', list.tag === 0xa1 ? 'revocation lists' : 'a PKCS#7 form of a set', list.offset);
  const [signer, another] = signers.children;
  if (signer === undefined || another !== undefined) walker.note('single-signer', `${signers.children.length} signers`, signers.offset);
  if (signer !== undefined) checkSigner(walker, signer, digests, bytes);
}

function identifier(node: Node | undefined, bytes: Uint8Array): string | undefined {
  const oid = node?.children[0];
  return oid === undefined ? undefined : describeOID(bytes.subarray(oid.start, oid.end));
}

function checkSigner(walker: Walker, signer: Node, digests: Node, bytes: Uint8Array): void {
  const [version, id, digest, ...rest] = signer.children, attributes = rest[0]?.tag === 0xa0 || rest[0]?.tag === 0xa2 ? rest.shift() : undefined, [algorithm, value, unsigned] = rest;
  const name = identifier(digest, bytes), declared = digests.children.map((node) => identifier(node, bytes));
  if (declared.length !== 1 || declared[0] !== name) walker.note('digest-algorithms', `declared ${declared.join(', ')}, used ${name}`, digests.offset);
  if (name === 'sha1') walker.note('weak-digest', 'SHA-1', digest?.offset);
  for (const node of [digest, algorithm, digests.children[0]]) checkParameters(walker, node, bytes);
  const wanted = id?.tag === SEQUENCE ? 1 : 3;
  if (bytes[version?.start ?? 0] !== wanted) walker.note('signer-version', `version does not fit the form of the signer's identifier`, signer.offset);
  if (attributes?.tag === 0xa2) walker.note('structure', 'attributes in the PKCS#7 form', attributes.offset);
  if (attributes !== undefined && !isSorted(attributes.children, bytes)) walker.note('sorted-set', 'signed attributes are not in order', attributes.offset);
  if (identifier(algorithm, bytes)?.startsWith('ecdsa') === true && value !== undefined) checkECDSAValue(walker, value);
  if (unsigned !== undefined) walker.note('unsigned-attributes', 'unsigned attributes', unsigned.offset);
}

/** An ECDSA signature is DER inside its OCTET STRING. */
function checkECDSAValue(walker: Walker, value: Node): void {
  const pair = walker.element(value.start, value.end, 0);
  if (pair !== undefined && (pair.tag !== SEQUENCE || pair.children.length !== 2 || pair.children.some(({ tag }) => tag !== INTEGER))) {
    walker.note('structure', 'ECDSA signature is no pair of INTEGERs', value.start);
  }
  if (pair !== undefined && pair.end !== value.end) walker.note('trailing-bytes', `${value.end - pair.end} bytes after the ECDSA signature`, pair.end);
}

/** RSA has NULL parameters (RFC 3370 section 3.2), nothing else has any (RFC 5754 sections 2 and 3). */
function checkParameters(walker: Walker, node: Node | undefined, bytes: Uint8Array): void {
  if (node === undefined) return;
  const [oid, parameters, more] = node.children, name = oid === undefined ? undefined : lookUpOID(bytes.subarray(oid.start, oid.end));
  const isNull = parameters !== undefined && parameters.tag === NULL && parameters.start === parameters.end;
  const permitted = name === 'rsaEncryption' ? isNull : parameters === undefined;
  if (more !== undefined || !permitted) walker.note('null-parameters', `parameters of ${name ?? 'an unknown algorithm'}`, node.offset);
}

function checkCertificate(certificate: Certificate, now: number): StrictViolation[] {
  const found: StrictViolation[] = [], note = (rule: StrictRule, reason: string): void => {
    found.push({ rule, reason: `${certificate.subjectName}: ${reason}`, offset: undefined });
  };
  if (now < certificate.validFrom) note('certificate-validity', 'not yet valid');
  if (now > certificate.validTo) note('certificate-validity', 'expired');
  if (certificate.hasKeyUsage && !certificate.key.digitalSignature) note('certificate-usage', 'its key is not for digital signatures');
  return found;
}

/**
 * Checks a signature that Linux accepted against the rules of this module.
 * @param blob the whole signature
 * @param verification its verdict
 * @param now seconds since 1970
 * @returns broken rules, in the order of the message; none where all is well
 * @example checkStrictly(blob, verification, Date.now() / 1000).map(({ rule }) => rule)
 */
export function checkStrictly(blob: Uint8Array, verification: Verification, now: number): StrictViolation[] {
  const walker = new Walker(blob), root = walker.element(0, blob.length, 0);
  if (root !== undefined) {
    if (root.end !== blob.length) walker.note('trailing-bytes', `${blob.length - root.end} bytes after the message`, root.end);
    checkShape(walker, root, blob);
  }
  const signer = verification.message?.signers[0], id = signer?.id ?? new Uint8Array(0);
  const embedded = verification.message?.certificates.find((certificate) => compareBytes(certificate.id, id) === 0);
  const certificate = embedded ?? verification.trustedBy?.certificate;
  if (certificate !== undefined) walker.violations.push(...checkCertificate(certificate, now));
  return walker.violations;
}
