/**
 * @module crypto/x509
 * X.509 certificates as Linux reads them (`crypto/asymmetric_keys/x509_cert_parser.c`, `x509_public_key.c`): which are accepted,
 * which error number the others get, identifiers, flags, and the self-signature check that is part of reading.
 *
 * Does not own: chains and trust (`crypto/verify.ts`), files (`crypto/certificates.ts`). Validity, names and purposes are read
 * but not judged here, as in the kernel.
 */
import { EBADMSG, EINVAL, EKEYREJECTED, ENOPKG } from '../isa/errno.ts';
import { latin1 } from '../isa/latin1.ts';
import type { KernelAlgorithms, KeyAlgorithm, SignatureAlgorithm } from './algorithms.ts';
import {
  acted, any, choice, content, context as contextTag, contextConstructed, encoding, explicit, leaf, optional, readBER, repeated, sequence, TAG,
  type Element, type Pattern,
} from './ber.ts';
import { concatBytes, equalBytes, toHex } from './bytes.ts';
import { sha256 } from './digest.ts';
import { lookUpOID, type OIDName } from './oid.ts';
import { isRefusal, orRefusal, Rejection, within, type Refusal } from './rejection.ts';
import { sameID, verifySignature, type PublicKey, type Signature } from './signature.ts';
import { decodeTime } from './time.ts';

/** What reading depends on besides the bytes. */
export interface CertificateContext {
  readonly algorithms: KernelAlgorithms;
  /** Whether a blacklist names this hash of a certificate's signed part; `tbs` is 64 hexadecimal digits. */
  isBlacklisted?(tbs: string): boolean;
}

/** A certificate that the kernel accepts. */
export interface Certificate {
  readonly raw: Uint8Array;
  /** The signed part with its header. */
  readonly tbs: Uint8Array;
  /** SHA-256 of {@link tbs}. */
  readonly tbsDigest: Uint8Array;
  /** Content of the serial number. */
  readonly serial: Uint8Array;
  /** Content of the issuer's name. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** The kernel's short form of a name: common name, organisation or e-mail address. */
  readonly issuerName: string;
  readonly subjectName: string;
  /** Seconds since 1970. */
  readonly validFrom: number;
  readonly validTo: number;
  readonly key: PublicKey;
  readonly signature: Signature;
  /** Serial number and issuer: the first identifier of the key. */
  readonly id: Uint8Array;
  /** Subject key identifier: the second one. */
  readonly subjectKeyID: Uint8Array | undefined;
  readonly selfSigned: boolean;
  /** The certificate says what its key is for. */
  readonly hasKeyUsage: boolean;
  /** The certificate's own signature uses what this kernel lacks. */
  readonly unsupportedSignature: boolean;
  readonly blacklisted: boolean;
}

/** Signature algorithm identifiers of certificates. */
const SIGNATURES: Readonly<Partial<Record<OIDName, readonly [SignatureAlgorithm, string]>>> = {
  sha1WithRSA: ['rsa', 'sha1'],
  sha224WithRSA: ['rsa', 'sha224'],
  sha256WithRSA: ['rsa', 'sha256'],
  sha384WithRSA: ['rsa', 'sha384'],
  sha512WithRSA: ['rsa', 'sha512'],
  rsaWithSHA3_256: ['rsa', 'sha3-256'],
  rsaWithSHA3_384: ['rsa', 'sha3-384'],
  rsaWithSHA3_512: ['rsa', 'sha3-512'],
  ecdsaWithSHA1: ['ecdsa', 'sha1'],
  ecdsaWithSHA224: ['ecdsa', 'sha224'],
  ecdsaWithSHA256: ['ecdsa', 'sha256'],
  ecdsaWithSHA384: ['ecdsa', 'sha384'],
  ecdsaWithSHA512: ['ecdsa', 'sha512'],
  ecdsaWithSHA3_256: ['ecdsa', 'sha3-256'],
  ecdsaWithSHA3_384: ['ecdsa', 'sha3-384'],
  ecdsaWithSHA3_512: ['ecdsa', 'sha3-512'],
  gost2012Signature256: ['ecrdsa', 'streebog256'],
  gost2012Signature512: ['ecrdsa', 'streebog512'],
  mlDSA44: ['mldsa44', 'none'],
  mlDSA65: ['mldsa65', 'none'],
  mlDSA87: ['mldsa87', 'none'],
};

const KEYS: Readonly<Partial<Record<OIDName, KeyAlgorithm>>> = {
  rsaEncryption: 'rsa',
  gost2012Key256: 'ecrdsa',
  gost2012Key512: 'ecrdsa',
  mlDSA44: 'mldsa44',
  mlDSA65: 'mldsa65',
  mlDSA87: 'mldsa87',
};

const CURVES: Readonly<Partial<Record<OIDName, KeyAlgorithm>>> = {
  prime192v1: 'ecdsa-nist-p192',
  prime256v1: 'ecdsa-nist-p256',
  secp384r1: 'ecdsa-nist-p384',
  secp521r1: 'ecdsa-nist-p521',
};

const NOTHING: Uint8Array = new Uint8Array(0);

/** Facts gathered while the grammar is walked. */
class Draft {
  tbs: Uint8Array = NOTHING;
  serial: Uint8Array = NOTHING;
  issuer: Uint8Array = NOTHING;
  subject: Uint8Array | undefined;
  issuerName = '';
  subjectName = '';
  validFrom = 0;
  validTo = 0;
  key: Uint8Array | undefined;
  parameters: Uint8Array = NOTHING;
  keyAlgorithm: KeyAlgorithm | undefined;
  signatureOID: OIDName | undefined;
  signatureValue: Uint8Array = NOTHING;
  subjectKeyID: Uint8Array | undefined;
  authorityKeyID: Uint8Array | undefined;
  hasKeyUsage = false;
  digitalSignature = false;
  keyCertSign = false;
  isCA = false;
  /** Identifier read last, `undefined` for an unknown one. */
  oid: OIDName | undefined;
  commonName: Uint8Array = NOTHING;
  organisation: Uint8Array = NOTHING;
  email: Uint8Array = NOTHING;
  authorityIssuer: Uint8Array | undefined;
  authorityID: Uint8Array | undefined;
  authoritySubjectKeyID: Uint8Array | undefined;
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0), used = end < 0 ? bytes : bytes.subarray(0, end);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(used);
  } catch {
    return latin1(used);
  }
}

/** The kernel keeps lengths of name parts in one byte. */
function namePart(e: Element): Uint8Array {
  return e.input.subarray(e.start, e.start + (e.length & 0xff));
}

function noteNamePart(draft: Draft, e: Element): void {
  if (draft.oid === 'commonName') draft.commonName = namePart(e);
  else if (draft.oid === 'organizationName') draft.organisation = namePart(e);
  else if (draft.oid === 'emailAddress') draft.email = namePart(e);
}

/** "O: CN", or the one that says enough (`x509_fabricate_name`). */
function takeName(draft: Draft): string {
  const { commonName, organisation, email } = draft;
  draft.commonName = draft.organisation = draft.email = NOTHING;
  if (commonName.length === 0) return text(organisation.length > 0 ? organisation : email);
  if (organisation.length === 0) return text(commonName);
  const starts = (n: number): boolean => commonName.length >= n && equalBytes(commonName.subarray(0, n), organisation.subarray(0, n));
  if (starts(organisation.length) || (organisation.length >= 7 && starts(7))) return text(commonName);
  return text(concatBytes(organisation, new TextEncoder().encode(': '), commonName));
}

function noteOID(draft: Draft, e: Element): void {
  draft.oid = lookUpOID(content(e));
}

function noteSignatureAlgorithm(draft: Draft, e: Element): void {
  if (draft.oid === undefined || SIGNATURES[draft.oid] === undefined) {
    throw new Rejection(ENOPKG, 'certificate signature algorithm is not supported', e.start);
  }
  draft.signatureOID = draft.oid;
}

/** Content of a BIT STRING without its count of unused bits, which must be 0. */
function bits(e: Element): Uint8Array {
  const value = content(e);
  if (value[0] !== 0) throw new Rejection(EBADMSG, 'BIT STRING with unused bits', e.start);
  return value.subarray(1);
}

function noteSignature(draft: Draft, e: Element): void {
  if (draft.oid !== draft.signatureOID) throw new Rejection(EINVAL, 'inner and outer signature algorithm differ', e.start);
  draft.signatureValue = bits(e);
}

function noteKey(draft: Draft, e: Element): void {
  if (draft.oid === 'ecPublicKey') {
    const p = draft.parameters;
    if (p.length < 3 || p[0] !== TAG.oid || p[1] !== p.length - 2) throw new Rejection(EBADMSG, 'EC parameters are not a named curve', e.start);
    const curve = lookUpOID(p.subarray(2));
    draft.keyAlgorithm = curve === undefined ? undefined : CURVES[curve];
  } else draft.keyAlgorithm = draft.oid === undefined ? undefined : KEYS[draft.oid];
  if (draft.keyAlgorithm === undefined) throw new Rejection(ENOPKG, 'public key algorithm is not supported', e.start);
  draft.key = bits(e);
}

function noteParameters(draft: Draft, e: Element): void {
  if (draft.subject !== undefined && draft.key === undefined) draft.parameters = encoding(e);
}

function noteExtension(draft: Draft, e: Element): void {
  const v = content(e), bad = (reason: string): never => {
    throw new Rejection(EBADMSG, reason, e.start);
  };
  const at = (i: number): number => v[i] ?? 0;
  switch (draft.oid) {
    case 'subjectKeyIdentifier':
      if (draft.subjectKeyID !== undefined) bad('subject key identifier repeated');
      if (v.length < 3 || at(0) !== TAG.octetString || at(1) !== v.length - 2) bad('subject key identifier malformed');
      draft.subjectKeyID = v.subarray(2);
      return;
    case 'keyUsage':
      if (v.length < 4 || at(0) !== TAG.bitString || at(2) >= 8) bad('key usage malformed');
      draft.hasKeyUsage = true;
      if ((at(3) & 0x80) !== 0) draft.digitalSignature = true;
      if ((at(3) & 0x04) !== 0 && ((at(1) === 2 && at(2) <= 2) || (v.length > 4 && at(1) === 3))) draft.keyCertSign = true;
      return;
    case 'basicConstraints':
      if (v.length < 2 || at(0) !== TAG.sequence || at(1) !== v.length - 2) bad('basic constraints malformed');
      if (at(1) === 0) return;
      if (v.length < 5 || at(2) !== TAG.boolean || at(3) !== 1 || at(4) !== 0xff) bad('basic constraints malformed');
      draft.isCA = true;
      return;
    case 'authorityKeyIdentifier':
      draft.authorityKeyID = v;
      return;
    default:
  }
}

/** `Name`: a SEQUENCE OF SET OF { type, value }. */
function name(): Pattern<Draft> {
  return repeated(TAG.sequence, repeated(TAG.set, sequence([leaf(TAG.oid, noteOID), any(noteNamePart)])));
}

const algorithmIdentifier: Pattern<Draft> = sequence([leaf(TAG.oid, noteOID), optional(any(noteParameters))]);

function time(note: (draft: Draft, seconds: number) => void): Pattern<Draft> {
  return choice<Draft>([leaf(TAG.utcTime), leaf(TAG.generalizedTime)], { action: (draft, e) => note(draft, decodeTime(e)) });
}

/** RFC 5280 section 4.1, as far as the kernel's grammar describes it. */
const certificateGrammar: Pattern<Draft> = sequence([
  acted(sequence<Draft>([
    optional(explicit(0, leaf(TAG.integer))),
    leaf(TAG.integer, (draft, e) => { draft.serial = content(e); }),
    acted(algorithmIdentifier, noteSignatureAlgorithm),
    acted(name(), (draft, e) => {
      draft.issuer = content(e);
      draft.issuerName = takeName(draft);
    }),
    sequence([time((draft, t) => { draft.validFrom = t; }), time((draft, t) => { draft.validTo = t; })]),
    acted(name(), (draft, e) => {
      draft.subject = content(e);
      draft.subjectName = takeName(draft);
    }),
    sequence([algorithmIdentifier, leaf(TAG.bitString, noteKey)]),
    optional(leaf(contextTag(1))),
    optional(leaf(contextTag(2))),
    optional(explicit(3, repeated(TAG.sequence, sequence([
      leaf(TAG.oid, noteOID), optional(leaf(TAG.boolean)), leaf(TAG.octetString, noteExtension),
    ])))),
  ]), (draft, e) => { draft.tbs = encoding(e); }),
  algorithmIdentifier,
  leaf(TAG.bitString, noteSignature),
]);

/** RFC 5280 section 4.2.1.1. */
const authorityKeyIDGrammar: Pattern<Draft> = sequence<Draft>([
  optional(leaf(contextTag(0), (draft, e) => { draft.authoritySubjectKeyID ??= content(e); })),
  optional(repeated(contextConstructed(1), choice<Draft>([
    sequence([leaf(TAG.oid), explicit(0, any())], undefined, contextConstructed(0)),
    leaf(contextTag(1)),
    leaf(contextTag(2)),
    explicit(3, any()),
    explicit(4, acted(name(), (draft, e) => { draft.authorityIssuer = content(e); })),
    sequence([optional(explicit(0, any())), explicit(1, any())], undefined, contextConstructed(5)),
    leaf(contextTag(6)),
    leaf(contextTag(7)),
    leaf(contextTag(8)),
  ]))),
  optional(leaf(contextTag(2), (draft, e) => {
    if (draft.authorityIssuer !== undefined) draft.authorityID ??= concatBytes(content(e), draft.authorityIssuer);
  })),
]);

function signatureOf(draft: Draft): Signature {
  const [algorithm, hash] = (draft.signatureOID && SIGNATURES[draft.signatureOID]) ?? ['rsa', 'sha256'] as const;
  return {
    algorithm, hash, takesData: hash === 'none', message: draft.tbs, value: draft.signatureValue,
    authority: [draft.authorityID, draft.authoritySubjectKeyID, draft.issuer],
  };
}

/**
 * Whether the certificate says that it signed itself; if so the signature must be right. `unsupported` where this kernel
 * cannot check.
 */
function checkSelfSignature(
  draft: Draft, id: Uint8Array, key: PublicKey, signature: Signature, context: CertificateContext,
): 'self-signed' | 'other' | 'unsupported' {
  const hashMissing = !signature.takesData && !isAvailable(signature.hash, context.algorithms);
  const verdict = hashMissing ? 'unsupported' : 'other';
  if (!equalBytes(draft.issuer, draft.subject ?? NOTHING)) return verdict;
  const [authorityID, authorityKeyID] = signature.authority;
  if (authorityID !== undefined || authorityKeyID !== undefined) {
    const keyMatches = sameID(draft.subjectKeyID, authorityKeyID), idMatches = sameID(id, authorityID);
    if (!keyMatches && !idMatches) return verdict;
    if (keyMatches !== idMatches && authorityID !== undefined && authorityKeyID !== undefined) {
      throw new Rejection(EKEYREJECTED, 'authority key identifier contradicts itself');
    }
  }
  if (hashMissing) return verdict;
  const errno = verifySignature(key, signature, context.algorithms);
  if (errno === 0) return 'self-signed';
  if (errno === ENOPKG) return 'unsupported';
  throw new Rejection(errno, 'self-signature does not verify');
}

function isAvailable(hash: string | undefined, algorithms: KernelAlgorithms): boolean {
  return hash !== undefined && (algorithms.hashes as ReadonlySet<string>).has(hash);
}

/** As {@link parseCertificate}, but throws {@link Rejection}. */
export function readCertificate(input: Uint8Array, context: CertificateContext): Certificate {
  const draft = new Draft();
  readBER(certificateGrammar, input, draft);
  const { authorityKeyID } = draft;
  if (authorityKeyID !== undefined) {
    within('authority key identifier', authorityKeyID.byteOffset - input.byteOffset, () => readBER(authorityKeyIDGrammar, authorityKeyID, draft));
  }
  const tbsDigest = sha256(draft.tbs), id = concatBytes(draft.serial, draft.issuer);
  const key: PublicKey = {
    algorithm: draft.keyAlgorithm ?? 'rsa', bytes: draft.key ?? NOTHING, parameters: draft.parameters,
    digitalSignature: draft.digitalSignature, keyCertSign: draft.keyCertSign, isCA: draft.isCA,
  };
  const signature = signatureOf(draft), self = checkSelfSignature(draft, id, key, signature, context);
  return {
    raw: input, tbs: draft.tbs, tbsDigest, serial: draft.serial, issuer: draft.issuer, subject: draft.subject ?? NOTHING,
    issuerName: draft.issuerName, subjectName: draft.subjectName, validFrom: draft.validFrom, validTo: draft.validTo,
    key, signature, id, subjectKeyID: draft.subjectKeyID,
    selfSigned: self === 'self-signed', hasKeyUsage: draft.hasKeyUsage, unsupportedSignature: self === 'unsupported',
    blacklisted: context.isBlacklisted?.(toHex(tbsDigest)) ?? false,
  };
}

/** Certificates read last, by content: kernels of one process are given the same ones again and again, each with a signature to check. */
const RECENT: { readonly raw: Uint8Array; readonly algorithms: KernelAlgorithms; readonly certificate: Certificate }[] = [];
const MOST_RECENT = 4;

/**
 * As {@link parseCertificate}, where the same certificate is likely to be asked for again. `blacklisted` of the answer is the caller's to
 * find out: it is false here.
 */
export function recallCertificate(input: Uint8Array, algorithms: KernelAlgorithms): Certificate | Refusal {
  const known = RECENT.find((entry) => entry.algorithms === algorithms && equalBytes(entry.raw, input));
  if (known !== undefined) return known.certificate;
  const raw = new Uint8Array(input), certificate = parseCertificate(raw, { algorithms });
  if (isRefusal(certificate)) return certificate;
  RECENT.unshift({ raw, algorithms, certificate });
  RECENT.length = Math.min(RECENT.length, MOST_RECENT);
  return certificate;
}

/**
 * Reads one DER (or laxer BER) certificate; bytes after it are ignored, as in the kernel.
 * @example const c = parseCertificate(der, { algorithms: DISTRIBUTION_ALGORITHMS }); if (isRefusal(c)) return -c.errno;
 */
export function parseCertificate(input: Uint8Array, context: CertificateContext): Certificate | Refusal {
  return orRefusal(() => readCertificate(input, context));
}
