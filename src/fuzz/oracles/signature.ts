/**
 * @module src/fuzz/oracles/signature
 * A second opinion on accepted CMS messages, by other means than `crypto/verify.ts`: some signer's signature must hold, over the attributes
 * (which must carry the payload's digest) or the payload, with a key that leads to the keyring by signatures that hold. RSA is computed
 * with BigInt, ECDSA with @noble/curves directly.
 */
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { concatBytes, equalBytes, toHex } from '../../../crypto/bytes.ts';
import { digest, isHashName } from '../../../crypto/digest.ts';
import type { SignedMessage, SignerInfo } from '../../../crypto/pkcs7.ts';
import type { HashName } from '../../../crypto/provider.ts';
import type { PublicKey, Signature } from '../../../crypto/signature.ts';
import type { Certificate } from '../../../crypto/x509.ts';
import { parseBER } from '../mutators/der.ts';

/** DER of `DigestInfo` up to the digest (RFC 8017, section 9.2). */
const DIGEST_INFO: Readonly<Partial<Record<HashName, string>>> = {
  sha1: '3021300906052b0e03021a05000414', sha224: '302d300d06096086480165030402040500041c', sha256: '3031300d060960864801650304020105000420',
  sha384: '3041300d060960864801650304020205000430', sha512: '3051300d060960864801650304020305000440',
};
const CURVES = { 'ecdsa-nist-p256': p256, 'ecdsa-nist-p384': p384, 'ecdsa-nist-p521': p521 } as const;
const MOST_LINKS = 8;

const integer = (bytes: Uint8Array): bigint => (bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`));

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n, square = base % modulus;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

function holdsRSA(key: Uint8Array, hash: HashName, message: Uint8Array, signature: Uint8Array): boolean {
  const [modulus, exponent] = key.length === 0 ? [] : parseBER(key.with(0, key[0]! | 0x20)).nodes[0]?.members ?? [];
  const prefix = DIGEST_INFO[hash];
  if (modulus === undefined || exponent === undefined || prefix === undefined) return false;
  const n = integer(modulus.content), e = integer(exponent.content);
  if (n === 0n || e > 0xffffffffn) return false;
  const size = n.toString(16).length + 1 >> 1;
  const encoded = power(integer(signature), e, n).toString(16).padStart(2 * size, '0');
  const tail = `00${prefix}${toHex(digest(hash, message))}`;
  return encoded === `0001${'f'.repeat(Math.max(0, 2 * size - 4 - tail.length))}${tail}`;
}

function holdsECDSA(curve: keyof typeof CURVES, key: Uint8Array, hash: HashName, message: Uint8Array, signature: Uint8Array): boolean {
  // Linux does not look at the constructed bit where it expects a SEQUENCE (lib/asn1_decoder.c).
  const [r, s] = signature.length === 0 ? [] : parseBER(signature.with(0, signature[0]! | 0x20)).nodes[0]?.members ?? [];
  if (r === undefined || s === undefined) return false;
  const length = CURVES[curve].Point.Fn.BYTES, half = (content: Uint8Array): Uint8Array | undefined => {
    const value = toHex(content).replace(/^(00)+/, '').padStart(2 * length, '0');
    return value.length === 2 * length ? Uint8Array.from(value.match(/../g) ?? [], (pair) => parseInt(pair, 16)) : undefined;
  };
  const rBytes = half(r.content), sBytes = half(s.content);
  if (rBytes === undefined || sBytes === undefined) return false;
  try {
    return CURVES[curve].verify(concatBytes(rBytes, sBytes), digest(hash, message), key, { prehash: false, lowS: false });
  } catch {
    return false;
  }
}

/** A signature holds; false too for what this opinion does not compute. */
function holds(key: PublicKey, algorithm: string, hash: string, message: Uint8Array, signature: Uint8Array): boolean {
  if (!isHashName(hash)) return false;
  if (key.algorithm === 'rsa') return algorithm === 'rsa' && holdsRSA(key.bytes, hash, message, signature);
  if (!(key.algorithm in CURVES)) return false;
  return algorithm === 'ecdsa' && holdsECDSA(key.algorithm as keyof typeof CURVES, key.bytes, hash, message, signature);
}

/** What a signer's signature is over; `undefined` where its attributes do not carry the payload's digest. */
function signedBytes(signer: SignerInfo, payload: Uint8Array): Uint8Array | undefined {
  if (signer.attributes === undefined) return payload;
  if (!isHashName(signer.hash) || signer.messageDigest === undefined) return undefined;
  if (!equalBytes(signer.messageDigest, digest(signer.hash, payload))) return undefined;
  return concatBytes(Uint8Array.of(0x31), signer.attributes.subarray(1));
}

const bytesOf = (message: Signature['message']): Uint8Array => (message instanceof Uint8Array ? message : concatBytes(...message));

/** True where `certificate` is of the keyring, or was signed by a key that leads there. */
function leadsTo(keyring: readonly Certificate[], certificate: Certificate, others: readonly Certificate[], links: number): boolean {
  if (keyring.some((known) => equalBytes(known.key.bytes, certificate.key.bytes))) return true;
  if (links === 0) return false;
  const { signature } = certificate;
  const isIssuer = (issuer: Certificate): boolean => issuer !== certificate
    && holds(issuer.key, signature.algorithm, signature.hash, bytesOf(signature.message), signature.value);
  return keyring.some(isIssuer) || others.some((other) => isIssuer(other) && leadsTo(keyring, other, others, links - 1));
}

/**
 * Whether a message that was accepted deserved it.
 * @returns why not; `undefined` where it did
 */
export function objection(message: SignedMessage, payload: Uint8Array, keyring: readonly Certificate[]): string | undefined {
  if (message.content !== undefined) return 'the message carries its own content';
  for (const signer of message.signers) {
    const bytes = signedBytes(signer, payload);
    if (bytes === undefined) continue;
    for (const certificate of [...keyring, ...message.certificates]) {
      if (!holds(certificate.key, signer.algorithm, signer.hash, bytes, signer.signature)) continue;
      if (leadsTo(keyring, certificate, message.certificates, MOST_LINKS)) return undefined;
    }
  }
  return 'no signer\'s signature holds over the payload with a key that leads to the keyring';
}
