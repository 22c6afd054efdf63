/**
 * @module crypto/private-key
 * Private keys from PEM and DER: PKCS#1 (RFC 8017), SEC 1 (RFC 5915), PKCS#8 (RFC 5958) plain and encrypted (RFC 8018, PBES2 with
 * PBKDF2 or scrypt), and the older encrypted traditional PEM. Does not own signing (`crypto/sign.ts`) nor where files and
 * passphrases come from.
 *
 * Key bytes are kept in arrays that {@link wipeKey} overwrites; nothing here puts them into messages.
 */
import { md5, sha1 } from '@noble/hashes/legacy.js';
import { pbkdf2 } from '@noble/hashes/pbkdf2.js';
import { scrypt } from '@noble/hashes/scrypt.js';
import { sha224, sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import forge from 'node-forge';
import { EINVAL } from '../isa/errno.ts';
import { InputError } from '../isa/errors.ts';
import { any, choice, content, context as contextTag, encoding, explicit, leaf, optional, readBER, sequence, TAG, type Pattern } from './ber.ts';
import { concatBytes, stripLeadingZeros } from './bytes.ts';
import { derNull, derOctetString, derOID, derSequence, derSmallInteger } from './der.ts';
import { decodeOID, describeOID, lookUpOID, OID } from './oid.ts';
import { isPEM, readPEM, type PEMBlock } from './pem.ts';
import type { CurveName } from './provider.ts';
import { Rejection } from './rejection.ts';

/** RSA key, big-endian without leading zeros; `encoded` is `RSAPrivateKey` of RFC 8017. */
export interface RSAPrivateKey {
  readonly kind: 'rsa';
  readonly modulus: Uint8Array;
  readonly publicExponent: Uint8Array;
  readonly privateExponent: Uint8Array;
  /** p, q, d mod (p-1), d mod (q-1), q⁻¹ mod p. */
  readonly primes: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  readonly encoded: Uint8Array;
}
/** EC key: the scalar, big-endian. */
export interface ECPrivateKey {
  readonly kind: 'ec';
  readonly curve: CurveName;
  readonly scalar: Uint8Array;
}
/** ML-DSA key: the seed of 32 bytes, or the expanded key. */
export interface MLDSAPrivateKey {
  readonly kind: 'mldsa44' | 'mldsa65' | 'mldsa87';
  readonly seed: Uint8Array | undefined;
  readonly expanded: Uint8Array | undefined;
}
export type PrivateKey = RSAPrivateKey | ECPrivateKey | MLDSAPrivateKey;

/** Overwrites a key's bytes. The key cannot be used afterwards. */
export function wipeKey(key: PrivateKey): void {
  const parts = key.kind === 'rsa' ? [key.privateExponent, ...key.primes, key.encoded] : key.kind === 'ec' ? [key.scalar] : [key.seed, key.expanded];
  for (const part of parts) part?.fill(0);
}

const CURVES: Readonly<Record<string, CurveName>> = { prime192v1: 'p192', prime256v1: 'p256', secp384r1: 'p384', secp521r1: 'p521' };
const MLDSA: Readonly<Record<string, MLDSAPrivateKey['kind']>> = { mlDSA44: 'mldsa44', mlDSA65: 'mldsa65', mlDSA87: 'mldsa87' };
/** Work that a file may ask of a passphrase's derivation. */
const MAX_ITERATIONS = 10_000_000, MAX_SCRYPT_MEMORY = 256 * 1024 * 1024;

/** Content copied, so that wiping it does not depend on the file's own buffer. */
interface Integers {
  readonly values: Uint8Array[];
}
const rsaGrammar: Pattern<Integers> = sequence<Integers>(
  Array.from({ length: 9 }, () => leaf<Integers>(TAG.integer, (draft, e) => { draft.values.push(stripLeadingZeros(content(e).slice())); })),
);

interface ECDraft {
  scalar: Uint8Array;
  curve: Uint8Array;
}
const ecGrammar: Pattern<ECDraft> = sequence<ECDraft>([
  leaf(TAG.integer),
  leaf(TAG.octetString, (draft, e) => { draft.scalar = content(e).slice(); }),
  optional(explicit(0, leaf<ECDraft>(TAG.oid, (draft, e) => { draft.curve = content(e); }))),
  optional(explicit(1, leaf<ECDraft>(TAG.bitString))),
]);

interface Wrapped {
  algorithm: Uint8Array;
  parameters: Uint8Array;
  content: Uint8Array;
}
const algorithm: Pattern<Wrapped> = sequence<Wrapped>([
  leaf(TAG.oid, (draft, e) => { draft.algorithm = content(e); }),
  optional(any<Wrapped>((draft, e) => { draft.parameters = encoding(e); })),
]);
const pkcs8Grammar: Pattern<Wrapped> = sequence<Wrapped>([
  leaf(TAG.integer), algorithm, leaf(TAG.octetString, (draft, e) => { draft.content = content(e); }), optional(explicit(0, any<Wrapped>())),
  optional(leaf<Wrapped>(contextTag(1))),
]);
const encryptedGrammar: Pattern<Wrapped> = sequence<Wrapped>([algorithm, leaf(TAG.octetString, (draft, e) => { draft.content = content(e); })]);

interface MLDSADraft {
  seed: Uint8Array | undefined;
  expanded: Uint8Array | undefined;
}
const noteSeed = leaf<MLDSADraft>(contextTag(0), (draft, e) => { draft.seed = content(e).slice(); });
const noteExpanded = leaf<MLDSADraft>(TAG.octetString, (draft, e) => { draft.expanded = content(e).slice(); });
const noteBoth = sequence<MLDSADraft>([leaf(TAG.octetString, (draft, e) => { draft.seed = content(e).slice(); }), noteExpanded]);
/** RFC 9881 section 6. */
const mldsaGrammar: Pattern<MLDSADraft> = choice([noteSeed, noteExpanded, noteBoth]);

interface Derivation {
  kind: 'pbkdf2' | 'scrypt' | undefined;
  salt: Uint8Array;
  numbers: number[];
  prf: Uint8Array;
  cipher: Uint8Array;
  iv: Uint8Array;
}
const number = leaf<Derivation>(TAG.integer, (draft, e) => { draft.numbers.push(content(e).slice(0, 5).reduce((n, byte) => n * 256 + byte, 0)); });
/** PBES2 parameters: key derivation, then cipher (RFC 8018 appendix A.4, RFC 7914 section 7). */
const pbes2Grammar: Pattern<Derivation> = sequence<Derivation>([
  sequence<Derivation>([
    leaf(TAG.oid, (draft, e) => { draft.kind = ({ '1.2.840.113549.1.5.12': 'pbkdf2', '1.3.6.1.4.1.11591.4.11': 'scrypt' } as const)[decodeOID(content(e))]; }),
    sequence<Derivation>([
      leaf(TAG.octetString, (draft, e) => { draft.salt = content(e); }), number, optional(number), optional(number), optional(number),
      optional(sequence<Derivation>([leaf(TAG.oid, (draft, e) => { draft.prf = content(e); }), optional(any<Derivation>())])),
    ]),
  ]),
  sequence<Derivation>([
    leaf(TAG.oid, (draft, e) => { draft.cipher = content(e); }),
    leaf(TAG.octetString, (draft, e) => { draft.iv = content(e); }),
  ]),
]);

const PRFS: Readonly<Record<string, Parameters<typeof pbkdf2>[0]>> = {
  '1.2.840.113549.2.7': sha1, '1.2.840.113549.2.8': sha224, '1.2.840.113549.2.9': sha256, '1.2.840.113549.2.10': sha384, '1.2.840.113549.2.11': sha512,
};
const CIPHERS: Readonly<Record<string, { readonly name: forge.cipher.Algorithm; readonly keyLength: number }>> = {
  '2.16.840.1.101.3.4.1.2': { name: 'AES-CBC', keyLength: 16 }, '2.16.840.1.101.3.4.1.22': { name: 'AES-CBC', keyLength: 24 },
  '2.16.840.1.101.3.4.1.42': { name: 'AES-CBC', keyLength: 32 }, '1.2.840.113549.3.7': { name: '3DES-CBC', keyLength: 24 },
};
const TRADITIONAL_CIPHERS: Readonly<Record<string, { readonly name: forge.cipher.Algorithm; readonly keyLength: number }>> = {
  'AES-128-CBC': { name: 'AES-CBC', keyLength: 16 }, 'AES-192-CBC': { name: 'AES-CBC', keyLength: 24 }, 'AES-256-CBC': { name: 'AES-CBC', keyLength: 32 },
  'DES-EDE3-CBC': { name: '3DES-CBC', keyLength: 24 },
};

/** Where a passphrase comes from, asked only if the key is encrypted. */
export type Passphrase = () => Uint8Array | undefined;

const binary = (bytes: Uint8Array): string => Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');

function decrypt(cipher: { readonly name: forge.cipher.Algorithm; readonly keyLength: number }, key: Uint8Array, iv: Uint8Array, data: Uint8Array, file: string): Uint8Array {
  const decipher = forge.cipher.createDecipher(cipher.name, binary(key));
  decipher.start({ iv: binary(iv) });
  decipher.update(forge.util.createBuffer(binary(data)));
  if (!decipher.finish()) throw new InputError(file, '', 'the passphrase is wrong');
  return Uint8Array.from(decipher.output.getBytes(), (char) => char.charCodeAt(0));
}

function needPassphrase(passphrase: Passphrase | undefined, file: string): Uint8Array {
  const secret = passphrase?.();
  if (secret === undefined) throw new InputError(file, '', 'the key is encrypted and there is no passphrase');
  return secret;
}

/** Decrypts an EncryptedPrivateKeyInfo to the PKCS#8 inside. */
function decryptPKCS8(bytes: Uint8Array, file: string, passphrase: Passphrase | undefined): Uint8Array {
  const outer: Wrapped = { algorithm: new Uint8Array(0), parameters: new Uint8Array(0), content: new Uint8Array(0) };
  readBER(encryptedGrammar, bytes, outer);
  if (decodeOID(outer.algorithm) !== '1.2.840.113549.1.5.13') throw new InputError(file, '', `encryption ${decodeOID(outer.algorithm)} is not supported: only PBES2 is`);
  const d: Derivation = { kind: undefined, salt: new Uint8Array(0), numbers: [], prf: new Uint8Array(0), cipher: new Uint8Array(0), iv: new Uint8Array(0) };
  readBER(pbes2Grammar, outer.parameters, d);
  const cipher = CIPHERS[decodeOID(d.cipher)];
  if (cipher === undefined || d.kind === undefined) throw new InputError(file, '', 'the key\'s cipher or key derivation is not supported');
  const secret = needPassphrase(passphrase, file), key = deriveKey(d, secret, cipher.keyLength, file);
  try {
    return decrypt(cipher, key, d.iv, outer.content, file);
  } finally {
    key.fill(0);
    secret.fill(0);
  }
}

function deriveKey(d: Derivation, secret: Uint8Array, length: number, file: string): Uint8Array {
  const [first = 0, r = 0, p = 0] = d.numbers, tooMuch = new InputError(file, '', 'the key\'s passphrase derivation asks for too much work');
  if (d.kind === 'scrypt') {
    if (first < 2 || r < 1 || p < 1 || 128 * first * r > MAX_SCRYPT_MEMORY || p > 16) throw tooMuch;
    return scrypt(secret, d.salt, { N: first, r, p, dkLen: length, maxmem: 2 * MAX_SCRYPT_MEMORY });
  }
  const prf = PRFS[d.prf.length === 0 ? '1.2.840.113549.2.7' : decodeOID(d.prf)];
  if (prf === undefined) throw new InputError(file, '', 'the key\'s passphrase derivation is not supported');
  if (first < 1 || first > MAX_ITERATIONS) throw tooMuch;
  return pbkdf2(prf, secret, d.salt, { c: first, dkLen: length });
}

/** Undoes "Proc-Type: 4,ENCRYPTED": the key comes from MD5 over passphrase and the first eight bytes of the IV. */
function decryptTraditional(block: PEMBlock, file: string, passphrase: Passphrase | undefined): Uint8Array {
  const [name = '', ivText = ''] = (block.headers.get('dek-info') ?? '').split(','), cipher = TRADITIONAL_CIPHERS[name];
  if (cipher === undefined || !/^(?:[0-9A-Fa-f]{2})+$/.test(ivText)) throw new InputError(file, `line ${block.line}`, `encryption ${name || '(none named)'} is not supported`);
  const iv = Uint8Array.from(ivText.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)), secret = needPassphrase(passphrase, file);
  let key = new Uint8Array(0), last = new Uint8Array(0);
  while (key.length < cipher.keyLength) {
    last = Uint8Array.from(md5(concatBytes(last, secret, iv.subarray(0, 8))));
    key = Uint8Array.from(concatBytes(key, last));
  }
  secret.fill(0);
  try {
    return decrypt(cipher, key.subarray(0, cipher.keyLength), iv, block.bytes, file);
  } finally {
    key.fill(0);
  }
}

function readRSA(bytes: Uint8Array): RSAPrivateKey {
  const draft: Integers = { values: [] };
  readBER(rsaGrammar, bytes, draft);
  const [, modulus, publicExponent, privateExponent, p, q, dp, dq, qi] = draft.values;
  if (modulus === undefined || publicExponent === undefined || privateExponent === undefined || p === undefined || q === undefined || dp === undefined
    || dq === undefined || qi === undefined) throw new Rejection(EINVAL, 'not an RSA key');
  return { kind: 'rsa', modulus, publicExponent, privateExponent, primes: [p, q, dp, dq, qi], encoded: bytes.slice() };
}

function readEC(bytes: Uint8Array, curveOID: Uint8Array, file: string): ECPrivateKey {
  const draft: ECDraft = { scalar: new Uint8Array(0), curve: curveOID };
  readBER(ecGrammar, bytes, draft);
  const curve = CURVES[lookUpOID(draft.curve) ?? ''];
  if (curve === undefined) throw new InputError(file, '', `keys on the curve ${describeOID(draft.curve)} cannot sign for Linux`);
  return { kind: 'ec', curve, scalar: draft.scalar };
}

function readPKCS8(bytes: Uint8Array, file: string): PrivateKey {
  const draft: Wrapped = { algorithm: new Uint8Array(0), parameters: new Uint8Array(0), content: new Uint8Array(0) };
  readBER(pkcs8Grammar, bytes, draft);
  const name = lookUpOID(draft.algorithm) ?? '', mldsa = MLDSA[name];
  if (name === 'rsaEncryption') return readRSA(draft.content);
  if (name === 'ecPublicKey') return readEC(draft.content, draft.parameters.subarray(2), file);
  if (mldsa === undefined) throw new InputError(file, '', `${describeOID(draft.algorithm)} keys cannot sign for Linux`);
  const inner: MLDSADraft = { seed: undefined, expanded: undefined };
  readBER(mldsaGrammar, draft.content, inner);
  return { kind: mldsa, ...inner };
}

/** Tries the forms that a DER file can have. */
function readDER(bytes: Uint8Array, file: string, passphrase: Passphrase | undefined): PrivateKey {
  const forms = [() => readPKCS8(bytes, file), () => readRSA(bytes), () => readEC(bytes, new Uint8Array(0), file)];
  for (const form of forms) {
    try {
      return form();
    } catch (error) {
      if (!(error instanceof Rejection)) throw error;
    }
  }
  let inner: Uint8Array;
  try {
    inner = decryptPKCS8(bytes, file, passphrase);
  } catch (error) {
    if (error instanceof Rejection) throw new InputError(file, '', 'not a private key');
    throw error;
  }
  return afterDecryption(inner, file);
}

function afterDecryption(bytes: Uint8Array, file: string): PrivateKey {
  try {
    return readPKCS8(bytes, file);
  } catch (error) {
    if (error instanceof Rejection) throw new InputError(file, '', 'the passphrase is wrong');
    throw error;
  } finally {
    bytes.fill(0);
  }
}

const KEY_LABELS: ReadonlySet<string> = new Set(['PRIVATE KEY', 'ENCRYPTED PRIVATE KEY', 'RSA PRIVATE KEY', 'EC PRIVATE KEY']);

function readKeyBlock(block: PEMBlock, file: string, passphrase: Passphrase | undefined): PrivateKey {
  const place = `line ${block.line}`;
  try {
    if (block.label === 'PRIVATE KEY') return readPKCS8(block.bytes, file);
    if (block.label === 'ENCRYPTED PRIVATE KEY') return afterDecryption(decryptPKCS8(block.bytes, file, passphrase), file);
    const encrypted = block.headers.has('dek-info'), bytes = encrypted ? decryptTraditional(block, file, passphrase) : block.bytes;
    return block.label === 'RSA PRIVATE KEY' ? readRSA(bytes) : readEC(bytes, new Uint8Array(0), file);
  } catch (error) {
    if (error instanceof Rejection) throw new InputError(file, place, block.headers.has('dek-info') ? 'the passphrase is wrong' : `not a private key: ${error.reason}`);
    throw error;
  }
}

/**
 * Reads the private key of a file.
 * @param bytes contents, PEM or DER; the caller overwrites them when done
 * @param file its name, for errors
 * @param passphrase asked at most once, only where the key is encrypted; the bytes it gives are overwritten
 * @throws InputError for anything that is no key, is encrypted in an unsupported way, or belongs to an algorithm that Linux does not take
 * @example const key = readPrivateKey(readFileSync('signer.key'), 'signer.key'); try { … } finally { wipeKey(key); }
 */
export function readPrivateKey(bytes: Uint8Array, file: string, passphrase?: Passphrase): PrivateKey {
  if (bytes.length === 0) throw new InputError(file, '', 'the file is empty');
  if (!isPEM(bytes)) return readDER(bytes, file, passphrase);
  const block = readPEM(bytes, file).find(({ label }) => KEY_LABELS.has(label));
  if (block === undefined) throw new InputError(file, '', 'no private key in it');
  return readKeyBlock(block, file, passphrase);
}

/**
 * Refuses names that are no files: keys on hardware are not supported.
 * @throws InputError for a PKCS#11 URI (RFC 7512)
 */
export function checkKeyName(name: string): void {
  if (/^pkcs11:/i.test(name)) throw new InputError(name, '', 'keys behind PKCS#11 are not supported: give the key as a file');
}

/** PKCS#8 of an RSA or EC key, for native signers. The caller overwrites it when done. */
export function encodePKCS8(key: RSAPrivateKey | ECPrivateKey): Uint8Array {
  if (key.kind === 'rsa') return derSequence(derSmallInteger(0), derSequence(derOID(OID.rsaEncryption), derNull()), derOctetString(key.encoded));
  const curve = { p192: OID.prime192v1, p256: OID.prime256v1, p384: OID.secp384r1, p521: OID.secp521r1 }[key.curve];
  return derSequence(
    derSmallInteger(0), derSequence(derOID(OID.ecPublicKey), derOID(curve)), derOctetString(derSequence(derSmallInteger(1), derOctetString(key.scalar))));
}
