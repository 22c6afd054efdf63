/**
 * @module crypto/pkcs7
 * CMS / PKCS#7 SignedData as Linux reads it (`crypto/asymmetric_keys/pkcs7_parser.c`, `pkcs7.asn1`; RFC 5652 section 5): what is
 * accepted, with which error number the rest is refused, and the facts that verification needs.
 *
 * Does not own: digests, signatures, trust (`crypto/verify.ts`).
 */
import { EBADMSG, EINVAL, EKEYREJECTED, ENOPKG } from '../isa/errno.ts';
import type { SignatureAlgorithm } from './algorithms.ts';
import {
  acted, any, choice, content, context as contextTag, contextConstructed, encoding, explicit, leaf, optional, readBER, repeated, sequence, TAG,
  type Element, type Pattern,
} from './ber.ts';
import { concatBytes } from './bytes.ts';
import { lookUpOID, type OIDName } from './oid.ts';
import { orRefusal, Rejection, within, type Refusal } from './rejection.ts';
import { decodeTime } from './time.ts';
import { readCertificate, type Certificate, type CertificateContext } from './x509.ts';

/** One signer of a message. */
export interface SignerInfo {
  /** 1 for the first. */
  readonly index: number;
  /** The identifier that keys are looked up by: serial number and issuer (version 1) or key identifier (version 3). */
  readonly id: Uint8Array;
  /** Bytes of the serial number at the front of {@link id}; 0 for a key identifier. */
  readonly serialLength: number;
  /** 1 or 3. */
  readonly version: number;
  /** Digest in the kernel's crypto API. */
  readonly hash: string;
  readonly algorithm: SignatureAlgorithm;
  /** The algorithm hashes by itself (ML-DSA). */
  readonly takesData: boolean;
  /** The signed attributes as encoded, `[0]` tag included; `undefined` where the content itself is signed. */
  readonly attributes: Uint8Array | undefined;
  /** Attribute messageDigest. */
  readonly messageDigest: Uint8Array | undefined;
  /** Attribute signingTime, seconds since 1970. */
  readonly signingTime: number | undefined;
  readonly signature: Uint8Array;
}

/** A message that the kernel can read. */
export interface SignedMessage {
  /** SignedData.version: 1 or 3. */
  readonly version: number;
  readonly contentType: 'data' | 'msIndirectData';
  /** Bytes of the outermost element; the kernel ignores what follows. */
  readonly size: number;
  /** Content that the message carries itself; `undefined` for a detached one. */
  readonly content: Uint8Array | undefined;
  /** In the order of the message. */
  readonly certificates: readonly Certificate[];
  readonly signers: readonly SignerInfo[];
}

const HASHES: Readonly<Partial<Record<OIDName, string>>> = {
  sha1: 'sha1', sha224: 'sha224', sha256: 'sha256', sha384: 'sha384', sha512: 'sha512',
  sha3_256: 'sha3-256', sha3_384: 'sha3-384', sha3_512: 'sha3-512',
  sm3: 'sm3', streebog256: 'streebog256', streebog512: 'streebog512',
};

const ALGORITHMS: Readonly<Partial<Record<OIDName, SignatureAlgorithm>>> = {
  rsaEncryption: 'rsa',
  ecdsaWithSHA1: 'ecdsa', ecdsaWithSHA224: 'ecdsa', ecdsaWithSHA256: 'ecdsa', ecdsaWithSHA384: 'ecdsa', ecdsaWithSHA512: 'ecdsa',
  ecdsaWithSHA3_256: 'ecdsa', ecdsaWithSHA3_384: 'ecdsa', ecdsaWithSHA3_512: 'ecdsa',
  gost2012Key256: 'ecrdsa', gost2012Key512: 'ecrdsa',
  mlDSA44: 'mldsa44', mlDSA65: 'mldsa65', mlDSA87: 'mldsa87',
};

/** Attributes that a message may carry only for Authenticode. */
const AUTHENTICODE_ATTRIBUTES: ReadonlySet<OIDName> = new Set<OIDName>(['smimeCapabilities', 'msSpOpusInfo', 'msStatementType']);
/** Attributes of which there may be one, with one value. */
const SINGLE_ATTRIBUTES: ReadonlySet<OIDName> = new Set<OIDName>(['contentType', 'signingTime', 'messageDigest', ...AUTHENTICODE_ATTRIBUTES]);

const NOTHING: Uint8Array = new Uint8Array(0);

/** Facts of the signer being read; a fresh one for each. */
class SignerDraft {
  hash = '';
  algorithm: SignatureAlgorithm = 'rsa';
  attributes: Uint8Array | undefined;
  messageDigest: Uint8Array | undefined;
  signingTime: number | undefined;
  signature: Uint8Array = NOTHING;
  readonly seen = new Set<OIDName>();
}

/**
 * Facts of the message being read. The identifier parts stay from one signer to the next, as in the kernel: a signer whose
 * version asks for the form that it does not have gets those of the signer before it.
 */
class Draft {
  readonly context: CertificateContext;
  version = 0;
  size = 0;
  contentType: 'data' | 'msIndirectData' = 'data';
  content: Uint8Array | undefined;
  certificates: Certificate[] = [];
  /** Read, not yet part of the message: a list of "revocation lists" is read as certificates and dropped. */
  pending: Certificate[] = [];
  readonly signers: SignerInfo[] = [];
  signer: SignerDraft = new SignerDraft();
  oid: OIDName | undefined;
  signerVersion = 0;
  serial: Uint8Array = NOTHING;
  issuer: Uint8Array = NOTHING;
  keyID: Uint8Array = NOTHING;

  constructor(context: CertificateContext) {
    this.context = context;
  }
}

function noteOID(draft: Draft, e: Element): void {
  draft.oid = lookUpOID(content(e));
}

function versionOf(e: Element, what: string): number {
  const version = e.length === 1 ? e.input[e.start] : undefined;
  if (version !== 1 && version !== 3) throw new Rejection(EINVAL, `${what} version is neither 1 nor 3`, e.start);
  return version;
}

function noteSignerVersion(draft: Draft, e: Element): void {
  draft.signerVersion = versionOf(e, 'SignerInfo');
  if ((draft.signerVersion === 1) !== (draft.version === 1)) {
    throw new Rejection(EBADMSG, `SignerInfo version ${draft.signerVersion} in SignedData version ${draft.version}`, e.start);
  }
}

function noteContentType(draft: Draft, e: Element): void {
  if (draft.oid !== 'data' && draft.oid !== 'msIndirectData') throw new Rejection(EINVAL, 'content type is not data', e.start);
  draft.contentType = draft.oid;
}

function noteCertificate(draft: Draft, e: Element): void {
  if (e.tag !== TAG.sequence) throw new Rejection(EBADMSG, `certificate begins with 0x${e.tag.toString(16)}`, e.start - e.header);
  const start = e.start - e.header, end = e.start + e.length + (e.input[start + 1] === 0x80 ? 2 : 0);
  draft.pending.push(within('embedded certificate', start, () => readCertificate(e.input.subarray(start, end), draft.context)));
}

function noteDigestAlgorithm(draft: Draft, e: Element): void {
  const hash = draft.oid === undefined ? undefined : HASHES[draft.oid];
  if (hash === undefined) throw new Rejection(ENOPKG, 'digest algorithm is not supported', e.start);
  draft.signer.hash = hash;
}

function noteSignatureAlgorithm(draft: Draft, e: Element): void {
  const algorithm = draft.oid === undefined ? undefined : ALGORITHMS[draft.oid];
  if (algorithm === undefined) throw new Rejection(ENOPKG, 'signature algorithm is not supported', e.start);
  draft.signer.algorithm = algorithm;
}

function noteAttributeValue(draft: Draft, e: Element): void {
  const { oid, signer } = draft;
  if (oid === undefined || !SINGLE_ATTRIBUTES.has(oid)) return;
  if (signer.seen.has(oid)) throw new Rejection(EKEYREJECTED, `attribute ${oid} repeated or with two values`, e.start);
  signer.seen.add(oid);
  if (oid === 'contentType') {
    if (lookUpOID(content(e)) !== draft.contentType) throw new Rejection(EBADMSG, 'attribute contentType differs from the content type', e.start);
  } else if (oid === 'signingTime') signer.signingTime = decodeTime(e);
  else if (oid === 'messageDigest') {
    if (e.tag !== TAG.octetString) throw new Rejection(EBADMSG, 'attribute messageDigest is no OCTET STRING', e.start);
    signer.messageDigest = content(e);
  } else if (draft.contentType !== 'msIndirectData') throw new Rejection(EKEYREJECTED, `attribute ${oid} outside Authenticode`, e.start);
}

function noteAttributes(draft: Draft, e: Element): void {
  const { seen } = draft.signer;
  if (!seen.has('contentType') || !seen.has('messageDigest')) {
    throw new Rejection(EBADMSG, 'signed attributes lack contentType or messageDigest', e.start);
  }
  draft.signer.attributes = encoding(e);
}

function noteSigner(draft: Draft, e: Element): void {
  const { signer } = draft;
  if (draft.contentType === 'msIndirectData' && signer.attributes === undefined) {
    throw new Rejection(EBADMSG, 'Authenticode signer without signed attributes', e.start);
  }
  draft.signers.push({
    index: draft.signers.length + 1,
    id: draft.signerVersion === 3 ? draft.keyID : concatBytes(draft.serial, draft.issuer),
    serialLength: draft.signerVersion === 3 ? 0 : draft.serial.length,
    version: draft.signerVersion, hash: signer.hash, algorithm: signer.algorithm, takesData: signer.algorithm.startsWith('mldsa'),
    attributes: signer.attributes, messageDigest: signer.messageDigest, signingTime: signer.signingTime, signature: signer.signature,
  });
  draft.signer = new SignerDraft();
}

const digestAlgorithm: Pattern<Draft> = sequence([leaf(TAG.oid, noteOID), optional(any())]);
const certificate: Pattern<Draft> = any(noteCertificate);
const certificateList: Pattern<Draft> = repeated(TAG.sequence, certificate);
const name: Pattern<Draft> = repeated(TAG.sequence, repeated(TAG.set, sequence([leaf(TAG.oid, noteOID), any()])));
const signedAttribute: Pattern<Draft> = sequence([leaf(TAG.oid, noteOID), repeated(TAG.set, any(noteAttributeValue))]);
const unsignedAttribute: Pattern<Draft> = sequence([leaf(TAG.oid), repeated(TAG.set, any())]);

const signerInfo: Pattern<Draft> = sequence<Draft>([
  leaf(TAG.integer, noteSignerVersion),
  choice([
    sequence<Draft>([
      acted(name, (draft, e) => { draft.issuer = content(e); }),
      leaf(TAG.integer, (draft, e) => { draft.serial = content(e); }),
    ]),
    leaf(contextTag(0), (draft, e) => { draft.keyID = content(e); }),
  ]),
  acted(digestAlgorithm, noteDigestAlgorithm),
  choice([
    acted(repeated(contextConstructed(0), signedAttribute), noteAttributes),
    explicit(2, repeated(TAG.sequence, signedAttribute)),
  ], { mayBeAbsent: true }),
  acted(sequence([leaf(TAG.oid, noteOID), optional(any())]), noteSignatureAlgorithm),
  leaf(TAG.octetString, (draft, e) => { draft.signer.signature = content(e); }),
  choice([
    repeated(contextConstructed(1), unsignedAttribute),
    repeated(contextConstructed(3), unsignedAttribute),
  ], { mayBeAbsent: true }),
], noteSigner);

const signedData: Pattern<Draft> = sequence<Draft>([
  leaf(TAG.integer, (draft, e) => { draft.version = versionOf(e, 'SignedData'); }),
  choice([repeated(TAG.set, digestAlgorithm), repeated(TAG.sequence, digestAlgorithm)]),
  acted(sequence<Draft>([
    leaf(TAG.oid, noteOID),
    optional(explicit(0, any<Draft>((draft, e) => { draft.content = content(e); }))),
  ]), noteContentType),
  choice([
    repeated(contextConstructed(0), choice([certificate, certificate])),
    repeated(contextConstructed(2), certificate),
  ], {
    mayBeAbsent: true,
    action: (draft) => {
      draft.certificates = draft.pending;
      draft.pending = [];
    },
  }),
  choice([repeated(contextConstructed(1), certificateList), repeated(contextConstructed(3), certificateList)], { mayBeAbsent: true }),
  choice([repeated(TAG.set, signerInfo), repeated(TAG.sequence, signerInfo)]),
]);

/** RFC 5652 section 3, as far as the kernel's grammar describes it. */
const contentInfo: Pattern<Draft> = sequence<Draft>([
  leaf(TAG.oid, (draft, e) => {
    noteOID(draft, e);
    if (draft.oid !== 'signedData') throw new Rejection(EINVAL, 'not SignedData', e.start);
  }),
  optional(explicit(0, signedData)),
], (draft, e) => { draft.size = e.start + e.length; });

/** As {@link parseSignedMessage}, but throws {@link Rejection}. */
export function readSignedMessage(input: Uint8Array, context: CertificateContext): SignedMessage {
  const draft = new Draft(context);
  readBER(contentInfo, input, draft);
  const [first] = draft.signers;
  if (first === undefined) throw new Rejection(EINVAL, 'no signer');
  if (draft.signers.some((signer) => (signer.attributes === undefined) !== (first.attributes === undefined))) {
    throw new Rejection(EINVAL, 'some signers have signed attributes and some have not');
  }
  return {
    version: draft.version, contentType: draft.contentType, size: draft.size, content: draft.content, certificates: draft.certificates, signers: draft.signers,
  };
}

/**
 * Reads a CMS message; bytes after it are ignored, as in the kernel.
 * @example const message = parseSignedMessage(blob, { algorithms: DISTRIBUTION_ALGORITHMS }); if (isRefusal(message)) return -message.errno;
 */
export function parseSignedMessage(input: Uint8Array, context: CertificateContext): SignedMessage | Refusal {
  return orRefusal(() => readSignedMessage(input, context));
}
