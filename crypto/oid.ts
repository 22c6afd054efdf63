/**
 * @module crypto/oid
 * Object identifiers that the kernel's certificate and CMS readers act on (`include/linux/oid_registry.h`), and dotted
 * notation of any. An identifier that is not in the table is "unknown" to the readers, whatever it is.
 */
import { toHex } from './bytes.ts';

/** Name to dotted notation. */
export const OID = {
  ecPublicKey: '1.2.840.10045.2.1',
  prime192v1: '1.2.840.10045.3.1.1',
  prime256v1: '1.2.840.10045.3.1.7',
  secp384r1: '1.3.132.0.34',
  secp521r1: '1.3.132.0.35',
  ecdsaWithSHA1: '1.2.840.10045.4.1',
  ecdsaWithSHA224: '1.2.840.10045.4.3.1',
  ecdsaWithSHA256: '1.2.840.10045.4.3.2',
  ecdsaWithSHA384: '1.2.840.10045.4.3.3',
  ecdsaWithSHA512: '1.2.840.10045.4.3.4',
  ecdsaWithSHA3_256: '2.16.840.1.101.3.4.3.10',
  ecdsaWithSHA3_384: '2.16.840.1.101.3.4.3.11',
  ecdsaWithSHA3_512: '2.16.840.1.101.3.4.3.12',
  rsaEncryption: '1.2.840.113549.1.1.1',
  sha1WithRSA: '1.2.840.113549.1.1.5',
  sha224WithRSA: '1.2.840.113549.1.1.14',
  sha256WithRSA: '1.2.840.113549.1.1.11',
  sha384WithRSA: '1.2.840.113549.1.1.12',
  sha512WithRSA: '1.2.840.113549.1.1.13',
  rsaWithSHA3_256: '2.16.840.1.101.3.4.3.14',
  rsaWithSHA3_384: '2.16.840.1.101.3.4.3.15',
  rsaWithSHA3_512: '2.16.840.1.101.3.4.3.16',
  rsassaPSS: '1.2.840.113549.1.1.10',
  ed25519: '1.3.101.112',
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
  emailAddress: '1.2.840.113549.1.9.1',
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingTime: '1.2.840.113549.1.9.5',
  smimeCapabilities: '1.2.840.113549.1.9.15',
  msIndirectData: '1.3.6.1.4.1.311.2.1.4',
  msStatementType: '1.3.6.1.4.1.311.2.1.11',
  msSpOpusInfo: '1.3.6.1.4.1.311.2.1.12',
  sha1: '1.3.14.3.2.26',
  sha224: '2.16.840.1.101.3.4.2.4',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
  sha3_256: '2.16.840.1.101.3.4.2.8',
  sha3_384: '2.16.840.1.101.3.4.2.9',
  sha3_512: '2.16.840.1.101.3.4.2.10',
  sm3: '1.2.156.10197.1.401',
  streebog256: '1.2.643.7.1.1.2.2',
  streebog512: '1.2.643.7.1.1.2.3',
  gost2012Key256: '1.2.643.7.1.1.1.1',
  gost2012Key512: '1.2.643.7.1.1.1.2',
  gost2012Signature256: '1.2.643.7.1.1.3.2',
  gost2012Signature512: '1.2.643.7.1.1.3.3',
  mlDSA44: '2.16.840.1.101.3.4.3.17',
  mlDSA65: '2.16.840.1.101.3.4.3.18',
  mlDSA87: '2.16.840.1.101.3.4.3.19',
  commonName: '2.5.4.3',
  countryName: '2.5.4.6',
  localityName: '2.5.4.7',
  stateOrProvinceName: '2.5.4.8',
  organizationName: '2.5.4.10',
  organizationalUnitName: '2.5.4.11',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
} as const;

/** Name of a known identifier. */
export type OIDName = keyof typeof OID;

/**
 * Content bytes of an identifier in dotted notation.
 * @example toHex(encodeOID('2.5.4.3')) === '550403'
 */
export function encodeOID(dotted: string): Uint8Array {
  const arcs = dotted.split('.').map(Number);
  const [first = 0, second = 0, ...rest] = arcs;
  const bytes: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const septets = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) septets.unshift((left % 128) | 0x80);
    bytes.push(...septets);
  }
  return Uint8Array.from(bytes);
}

/** Dotted notation of content bytes; `"?"` and hexadecimal where they are no identifier. */
export function decodeOID(bytes: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const [i, byte] of bytes.entries()) {
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER) return `?${toHex(bytes)}`;
    if ((byte & 0x80) === 0) {
      arcs.push(arc);
      arc = 0;
    } else if (i === bytes.length - 1) return `?${toHex(bytes)}`;
  }
  const [head, ...rest] = arcs;
  if (head === undefined) return `?${toHex(bytes)}`;
  const first = Math.min(2, Math.floor(head / 40));
  return [first, head - 40 * first, ...rest].join('.');
}

/** Content bytes as a string of as many characters: identifiers are looked up a dozen times a message. */
const keyOf = (bytes: Uint8Array): string => Reflect.apply(String.fromCharCode, undefined, bytes) as string;

const BY_CONTENT: ReadonlyMap<string, OIDName> = new Map(
  (Object.keys(OID) as OIDName[]).map((name) => [keyOf(encodeOID(OID[name])), name]),
);

/** The known identifier with these content bytes. */
export function lookUpOID(bytes: Uint8Array): OIDName | undefined {
  return bytes.length > 12 ? undefined : BY_CONTENT.get(keyOf(bytes));
}

/** Name of a known identifier, else dotted notation. */
export function describeOID(bytes: Uint8Array): string {
  return lookUpOID(bytes) ?? decodeOID(bytes);
}
