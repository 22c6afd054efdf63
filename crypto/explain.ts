/**
 * @module crypto/explain
 * What an auditor sees of a CMS signature: who is named as the signer and how, by which algorithms, with which attributes, which
 * certificates come along. Plain data; judging is `crypto/verify.ts`.
 */
import { latin1 } from '../isa/latin1.ts';
import { any, content, leaf, readBER, repeated, sequence, TAG, type Pattern } from './ber.ts';
import { toHex } from './bytes.ts';
import { readECPublicKey } from './ecdsa.ts';
import { decodeOID, describeOID, lookUpOID, type OIDName } from './oid.ts';
import type { SignedMessage, SignerInfo } from './pkcs7.ts';
import { orRefusal, isRefusal } from './rejection.ts';
import { readRSAPublicKey } from './rsa.ts';
import { sha256 } from './digest.ts';
import type { Certificate } from './x509.ts';

/** How a signer is named. */
export type SignerIdentity =
  | { readonly form: 'key identifier'; readonly keyID: string }
  | { readonly form: 'issuer and serial'; readonly issuer: string; readonly serial: string };

/** One signer in words. Byte strings are hexadecimal. */
export interface SignerExplanation {
  readonly index: number;
  readonly version: number;
  readonly identity: SignerIdentity;
  readonly digest: string;
  readonly algorithm: string;
  /** Bytes of the signature value. */
  readonly signatureBytes: number;
  /** `undefined` where the content itself is signed. */
  readonly attributes: readonly { readonly name: string; readonly values: readonly string[] }[] | undefined;
  /** ISO 8601, from the attribute. */
  readonly signingTime: string | undefined;
}

/** One certificate in words. */
export interface CertificateExplanation {
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly keyID: string | undefined;
  /** `"RSA 2048"`, `"ECDSA P-256"`, … */
  readonly key: string;
  readonly signedWith: string;
  /** ISO 8601. */
  readonly validFrom: string;
  readonly validTo: string;
  readonly isCA: boolean;
  readonly usage: readonly string[];
  readonly selfSigned: boolean;
  /** SHA-256 of the whole certificate. */
  readonly fingerprint: string;
}

/** A whole message in words. */
export interface MessageExplanation {
  readonly version: number;
  /** Bytes of the message; more in the file are ignored by the kernel. */
  readonly bytes: number;
  readonly detached: boolean;
  readonly signers: readonly SignerExplanation[];
  readonly certificates: readonly CertificateExplanation[];
}

/** Short names of RFC 4514 section 3 and RFC 2985. */
const NAMES: Readonly<Partial<Record<OIDName, string>>> = {
  commonName: 'CN', organizationName: 'O', organizationalUnitName: 'OU', countryName: 'C', localityName: 'L', stateOrProvinceName: 'ST', emailAddress: 'emailAddress',
};

interface NameDraft {
  readonly parts: string[];
  type: string;
}
const nameGrammar: Pattern<NameDraft> = repeated(TAG.sequence, repeated(TAG.set, sequence<NameDraft>([
  leaf(TAG.oid, (draft, e) => {
    const bytes = content(e), name = lookUpOID(bytes);
    draft.type = (name === undefined ? undefined : NAMES[name]) ?? decodeOID(bytes);
  }),
  any<NameDraft>((draft, e) => { draft.parts.push(`${draft.type}=${escape(text(content(e)))}`); }),
])));

function text(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return latin1(bytes);
  }
}

/** Special characters of RFC 4514 section 2.4; control characters as hexadecimal. */
function escape(value: string): string {
  const escaped = value.replaceAll(/[",+;<>\\]/g, '\\$&').replaceAll(/\p{Cc}/gu, (char) => `\\${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return escaped.replace(/^[ #]/, '\\$&').replace(/ $/, '\\ ');
}

/**
 * A distinguished name as text.
 * @param content of the Name, as certificates and signers carry it
 * @example explainName(certificate.issuer) === 'O=Example, CN=signer'
 */
export function explainName(name: Uint8Array): string {
  const draft: NameDraft = { parts: [], type: '' }, header = name.length < 0x80 ? [0x30, name.length] : [0x30, 0x82, name.length >> 8, name.length & 0xff];
  const whole = new Uint8Array(header.length + name.length);
  whole.set(header);
  whole.set(name, header.length);
  const read = orRefusal(() => {
    readBER(nameGrammar, whole, draft);
    return draft.parts;
  });
  return isRefusal(read) ? `#${toHex(name)}` : read.join(', ');
}

interface AttributeDraft {
  readonly list: { name: string; values: string[] }[];
}
const attributesGrammar: Pattern<AttributeDraft> = repeated(0xa0, sequence<AttributeDraft>([
  leaf(TAG.oid, (draft, e) => { draft.list.push({ name: describeOID(content(e)), values: [] }); }),
  repeated(TAG.set, any<AttributeDraft>((draft, e) => {
    const bytes = content(e), isText = e.tag === TAG.utcTime || e.tag === TAG.generalizedTime || e.tag === TAG.utf8String || e.tag === TAG.printableString;
    draft.list.at(-1)?.values.push(e.tag === TAG.oid ? describeOID(bytes) : isText ? text(bytes) : toHex(bytes));
  })),
]));

function explainAttributes(attributes: Uint8Array): { name: string; values: string[] }[] {
  const draft: AttributeDraft = { list: [] };
  orRefusal(() => {
    readBER(attributesGrammar, attributes, draft);
    return draft;
  });
  return draft.list;
}

const iso = (seconds: number): string => new Date(seconds * 1000).toISOString();

function explainSigner(signer: SignerInfo): SignerExplanation {
  const identity: SignerIdentity = signer.version === 3 ? { form: 'key identifier', keyID: toHex(signer.id) }
    : { form: 'issuer and serial', issuer: explainName(signer.id.subarray(signer.serialLength)), serial: toHex(signer.id.subarray(0, signer.serialLength)) };
  return {
    index: signer.index, version: signer.version, identity, digest: signer.hash, algorithm: signer.algorithm, signatureBytes: signer.signature.length,
    attributes: signer.attributes === undefined ? undefined : explainAttributes(signer.attributes),
    signingTime: signer.signingTime === undefined ? undefined : iso(signer.signingTime),
  };
}

const CURVES: Readonly<Record<string, readonly [name: string, curve: 'p192' | 'p256' | 'p384' | 'p521']>> = {
  'ecdsa-nist-p192': ['P-192', 'p192'], 'ecdsa-nist-p256': ['P-256', 'p256'], 'ecdsa-nist-p384': ['P-384', 'p384'], 'ecdsa-nist-p521': ['P-521', 'p521'],
};

/** `"RSA 2048"`; says so where the key itself is malformed. */
function explainKey(certificate: Certificate): string {
  const { algorithm, bytes } = certificate.key, curve = CURVES[algorithm];
  if (algorithm === 'rsa') {
    const key = orRefusal(() => readRSAPublicKey(bytes, false));
    return isRefusal(key) ? `RSA, malformed (${key.reason})` : `RSA ${key.modulus.length * 8}`;
  }
  if (curve !== undefined) {
    const key = orRefusal(() => readECPublicKey(curve[1], bytes));
    return isRefusal(key) ? `ECDSA ${curve[0]}, malformed (${key.reason})` : `ECDSA ${curve[0]}`;
  }
  return algorithm.startsWith('mldsa') ? `ML-DSA-${algorithm.slice(5)}` : 'EC-RDSA';
}

/** A certificate in words. */
export function explainCertificate(certificate: Certificate): CertificateExplanation {
  const { key, signature } = certificate, usage = [key.digitalSignature ? 'digitalSignature' : '', key.keyCertSign ? 'keyCertSign' : ''].filter((name) => name !== '');
  return {
    subject: explainName(certificate.subject), issuer: explainName(certificate.issuer), serial: toHex(certificate.serial),
    keyID: certificate.subjectKeyID === undefined ? undefined : toHex(certificate.subjectKeyID), key: explainKey(certificate),
    signedWith: signature.hash === 'none' ? signature.algorithm : `${signature.algorithm} with ${signature.hash}`,
    validFrom: iso(certificate.validFrom), validTo: iso(certificate.validTo), isCA: key.isCA, usage, selfSigned: certificate.selfSigned,
    fingerprint: toHex(sha256(certificate.raw)),
  };
}

/**
 * A message in words.
 * @example explainMessage(message).signers[0]?.identity
 */
export function explainMessage(message: SignedMessage): MessageExplanation {
  return {
    version: message.version, bytes: message.size, detached: message.content === undefined,
    signers: message.signers.map(explainSigner), certificates: message.certificates.map(explainCertificate),
  };
}
