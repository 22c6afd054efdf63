/**
 * @module src/fuzz/targets/signer
 * A signer for fuzzing: a key that everybody knows, with a self-signed certificate made on the spot. Always the same, so that inputs
 * reproduce; worth nothing as a secret.
 */
import { derBitString, derElement, derExplicit, derOctetString, derOID, derSequence, derSetOf, derSmallInteger } from '../../../crypto/der.ts';
import { sha256 } from '../../../crypto/digest.ts';
import { publicPoint, signECDSA } from '../../../crypto/ecdsa.ts';
import { OID } from '../../../crypto/oid.ts';
import type { ECPrivateKey } from '../../../crypto/private-key.ts';
import { detachedSigner } from '../../../crypto/sign.ts';

const CURVE = 'p256';
const ascii = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** A key pair and its certificate. */
export interface FuzzSigner {
  readonly key: ECPrivateKey;
  /** X.509, DER. */
  readonly certificate: Uint8Array;
  /** A detached CMS signature over the concatenation of `parts`. The same parts give the same bytes. */
  sign(parts: readonly Uint8Array[]): Uint8Array;
}

function nameOf(commonName: string): Uint8Array {
  return derSequence(derSetOf(derSequence(derOID(OID.commonName), derElement(0x0c, ascii(commonName)))));
}

function certificateOf(key: ECPrivateKey, commonName: string): Uint8Array {
  const point = publicPoint(CURVE, key.scalar);
  const algorithm = derSequence(derOID(OID.ecdsaWithSHA256));
  const extension = derSequence(derOID(OID.subjectKeyIdentifier), derOctetString(derOctetString(sha256(point).slice(0, 20))));
  const tbs = derSequence(
    derExplicit(0, derSmallInteger(2)), derSmallInteger(1), algorithm, nameOf(commonName),
    derSequence(derElement(0x17, ascii('200101000000Z')), derElement(0x17, ascii('491231235959Z'))), nameOf(commonName),
    derSequence(derSequence(derOID(OID.ecPublicKey), derOID(OID.prime256v1)), derBitString(point)),
    derExplicit(3, derSequence(extension)),
  );
  return derSequence(tbs, algorithm, derBitString(signECDSA(CURVE, key.scalar, sha256(tbs))));
}

/**
 * The signer of that name; the same name gives the same key.
 * @example createSigner('fuzz').sign([instructions, metadata])
 */
export function createSigner(name: string): FuzzSigner {
  const key: ECPrivateKey = { kind: 'ec', curve: CURVE, scalar: sha256(ascii(`bpftwin fuzz signer ${name}`)) };
  const certificate = certificateOf(key, `bpftwin fuzz ${name}`);
  return { key, certificate, sign: detachedSigner(key, certificate) };
}
