/**
 * @module src/fuzz/targets/signer
 * Signers for fuzzing: keys that everybody knows, with self-signed certificates made on the spot. Always the same, so that inputs
 * reproduce; worth nothing as a secret.
 */
import { derBitString, derElement, derExplicit, derInteger, derNull, derOctetString, derOID, derSequence, derSetOf, derSmallInteger } from '../../../crypto/der.ts';
import { sha256 } from '../../../crypto/digest.ts';
import { publicPoint, signECDSA } from '../../../crypto/ecdsa.ts';
import { OID } from '../../../crypto/oid.ts';
import { readPrivateKey, type ECPrivateKey, type PrivateKey, type RSAPrivateKey } from '../../../crypto/private-key.ts';
import { signRSA } from '../../../crypto/rsa.ts';
import { detachedSigner } from '../../../crypto/sign.ts';
import { InternalError } from '../../../isa/errors.ts';
import { base64ToBytes } from '../base64.ts';

const CURVE = 'p256';
const ascii = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** An RSA key of 2048 bits, the kind that most kernels' modules and programs are signed with. `RSAPrivateKey` of RFC 8017. */
const RSA_KEY = `
MIIEowIBAAKCAQEApKw84bvIGaEwUAfgx+eEB2GwIN50sjy91Vvhl3lS3goPEZueazQ43AENHWXJaN580GqFI8ZjtO33zf8EOVgObKnS0I9WYVbK1UxYL68r
qI7qKAJ86iwEFQi+p2hEUq3rOY/Ch8WJXWkuyTe2VPMcNd2pNfDWxl+c3rQFKuIadabfexY8WsDKkVk5IZSIkooQNKBntSgsN4W8hjsa035BIZW/mo8Eth43
empMGqky5qaQ9x5+Fj2qhfwp1gsJJ1g20rws9xenTymDNg9qCFyrO7cotWu0OLRgQRSg1kTJcb3P3hLt6K7ATowK4eriCfeQ4IKMtiq3pvsds6AMXkprbwID
AQABAoIBAC2DY1JapcwbpnBANSrbPL0TjWwQP/2xVyB8xCWrBTHUYuTRd6AWr25zJe5NnzTKZYHvJvxDzXQI35hCVycIRPhYmalGLLA7nlUExEzto+nzEhnb
0i2g28H6iENZyKR3aE+hAbmn6bb1Jta7fLwO82mZ6bY8aggrDf7pj5ISKxEADCZJT7n20ETclMciKj7TeSEllrutwwG5Kg5GJqlKaHl8ZjFVV3LHE6M200C/
dMnJFuwCS1a03b8Eehf38e6wF26WKei1Ctb8conJidya+CvdK6GnEgMNhk/3cWFIwqOPWCwExWOaTaL0qAOT/bDNed6ms/eVJYHBZXW5cN4gYjECgYEA1dnH
2gTdM8BV19kReri3Ib5kzsH9Dz7SdO3ZpE78Rt7Mh4+w9livmuvd3b1Lq6g+LG3XACFQasiBioYwltBNNWhVDL5h4lQg3RQ4Qrzzs5PEXVwAXmanquUAvHFN
7RI5OXoqBtS6kqL/HaOgInoR/8XPyivUObtLHcGUb5xa8F8CgYEAxSEZKJ57r7IADofoIsLMS++/BA3H94E84fjWE3zeKDHpsbt1xzBgGRnIB+fd5+WMMF6b
vdo9lQyZm4oGTZXCIGD159beA0dnr8nyEWEQeBQwZL7V6SDMfVCiIxB+7ariCEM8HqMQG+3t9w4ya+IFmNjxZzq7RhbWVTHWJw5dHvECgYBKpvHLO/N0Q2o0
JYSikKTtVKegPbv3fHi/dOCLKT+MBe7kS9b8yEzVCg2zgIdP7zV1EQsC8p4+CKygDOQdYa3yPO+juTo2ZiPqyUoykf+I6sabyKggTDmvwK2XGv6XCcuMMwdE
xzIySlBAqoQWRQLPhOBatR4q4SUByDfnFm/whQKBgQCCdwtdlLYra9UZyNzb1Ky9PSjgl/ZWWlRfAf882pF1bMNL+9NRRzTyp9t5T/3Pcl67zIGqvvuu363y
AQF267yVDVbyX4SECwgWkcMBuYnazxHQO3T7W9e6wFjueAZpaYU7DrSFWkpZEblCn0TDnc0ygbITLg2vr4Ge1OL06k67IQKBgAC34UucbLm/z5/gOLbC+Rfg
thXNcnWSbcUvoI9U4eM7S2eOvWfDWfJYTpQlnq0oI6abWSDC76so3uHSiXdTJtRPumv2tqY3rRmwLUbniBZ1yPcbDjAnb9MNyKzB5yHeDa6ek6IJL4ZGtoAq
3p3XgGjuMvFu0a+djzYJ12tF0m0/
`;

/** A key pair and its certificate. */
export interface FuzzSigner<Key extends PrivateKey = PrivateKey> {
  readonly key: Key;
  /** X.509, DER. */
  readonly certificate: Uint8Array;
  /** A detached CMS signature over the concatenation of `parts`. The same parts give the same bytes. */
  sign(parts: readonly Uint8Array[]): Uint8Array;
}

/** A signer with an EC key, for who makes signatures by hand. */
export type ECSigner = FuzzSigner<ECPrivateKey>;

/** What a certificate says of a key, and how the key signs it. */
interface CertifiedKey {
  readonly publicKeyAlgorithm: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly signatureAlgorithm: Uint8Array;
  sign(digest: Uint8Array): Uint8Array;
}

function nameOf(commonName: string): Uint8Array {
  return derSequence(derSetOf(derSequence(derOID(OID.commonName), derElement(0x0c, ascii(commonName)))));
}

function certificateOf({ publicKeyAlgorithm, publicKey, signatureAlgorithm, sign }: CertifiedKey, commonName: string): Uint8Array {
  const extension = derSequence(derOID(OID.subjectKeyIdentifier), derOctetString(derOctetString(sha256(publicKey).slice(0, 20))));
  const tbs = derSequence(
    derExplicit(0, derSmallInteger(2)), derSmallInteger(1), signatureAlgorithm, nameOf(commonName),
    derSequence(derElement(0x17, ascii('200101000000Z')), derElement(0x17, ascii('491231235959Z'))), nameOf(commonName),
    derSequence(publicKeyAlgorithm, derBitString(publicKey)),
    derExplicit(3, derSequence(extension)),
  );
  return derSequence(tbs, signatureAlgorithm, derBitString(sign(sha256(tbs))));
}

/**
 * The signer of that name, ECDSA over P-256; the same name gives the same key.
 * @example createSigner('fuzz').sign([instructions, metadata])
 */
export function createSigner(name: string): ECSigner {
  const scalar = sha256(ascii(`bpftwin fuzz signer ${name}`));
  const certificate = certificateOf({
    publicKeyAlgorithm: derSequence(derOID(OID.ecPublicKey), derOID(OID.prime256v1)), publicKey: publicPoint(CURVE, scalar),
    signatureAlgorithm: derSequence(derOID(OID.ecdsaWithSHA256)), sign: (digest) => signECDSA(CURVE, scalar, digest),
  }, `bpftwin fuzz ${name}`);
  const key: ECPrivateKey = { kind: 'ec', curve: CURVE, scalar };
  return { key, certificate, sign: detachedSigner(key, certificate) };
}

/**
 * The signer with an RSA key: a signature of it takes a third of the time to check, and kernels without ECDSA can check it.
 * @example createRSASigner().sign([instructions, metadata])
 */
export function createRSASigner(): FuzzSigner<RSAPrivateKey> {
  const key = readPrivateKey(base64ToBytes(RSA_KEY), 'fuzzing key');
  if (key.kind !== 'rsa') throw new InternalError('the fuzzing key is no RSA key');
  const { modulus, publicExponent, primes } = key;
  const certificate = certificateOf({
    publicKeyAlgorithm: derSequence(derOID(OID.rsaEncryption), derNull()), publicKey: derSequence(derInteger(modulus), derInteger(publicExponent)),
    signatureAlgorithm: derSequence(derOID(OID.sha256WithRSA), derNull()), sign: (digest) => signRSA(modulus, publicExponent, primes, 'sha256', digest),
  }, 'bpftwin fuzz RSA');
  return { key, certificate, sign: detachedSigner(key, certificate) };
}
