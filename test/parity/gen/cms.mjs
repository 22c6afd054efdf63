// Builders of certificates and CMS messages, well-formed and deliberately wrong: every part can be replaced. Used by the
// generators of this folder; the tests read what those recorded.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign as nodeSign } from 'node:crypto';
import { ml_dsa44, ml_dsa65, ml_dsa87 } from '@noble/post-quantum/ml-dsa.js';

export const cat = (...parts) => Buffer.concat(parts.flat(9).map((p) => typeof p === 'string' ? Buffer.from(p, 'hex') : Buffer.from(p)));
/** Length octets: the shortest form, or `form` 1 (0x81), 2 (0x82), 3 (0x83), 4; "indefinite" has none of its own. */
export function length(n, form) {
  if (form === undefined) form = n < 0x80 ? 0 : n < 0x100 ? 1 : n < 0x10000 ? 2 : 3;
  if (form > 0) form = Math.max(form, n < 0x100 ? 1 : n < 0x10000 ? 2 : 3);
  if (form === 0) return Buffer.from([n]);
  const b = Buffer.alloc(form + 1);
  b[0] = 0x80 | form;
  b.writeUIntBE(n, 1, form);
  return b;
}
export const tlv = (tag, ...content) => { const c = cat(...content); return cat(Buffer.from([tag]), length(c.length), c); };
/** As `tlv` with another length form; "indef" for the indefinite one. */
export const tlvForm = (form, tag, ...content) => { const c = cat(...content); return form === 'indef' ? cat(Buffer.from([tag, 0x80]), c, '0000') : cat(Buffer.from([tag]), length(c.length, form), c); };
export const seq = (...c) => tlv(0x30, ...c), set = (...c) => tlv(0x31, ...c), ctx = (n, ...c) => tlv(0xa0 | n, ...c), prim = (n, ...c) => tlv(0x80 | n, ...c);
export const oct = (...c) => tlv(0x04, ...c), nul = () => Buffer.from('0500', 'hex'), bits = (...c) => tlv(0x03, '00', ...c);
export const int = (v) => tlv(0x02, typeof v === 'number' ? Buffer.from([v]) : v);
/** INTEGER from unsigned bytes or a bigint. */
export const uint = (v) => {
  let b = typeof v === 'bigint' ? Buffer.from(v.toString(16).padStart(v.toString(16).length + (v.toString(16).length % 2), '0'), 'hex') : Buffer.from(v);
  while (b.length > 1 && b[0] === 0) b = b.subarray(1);
  return tlv(0x02, b[0] >= 0x80 ? cat('00', b) : b);
};
export function oidBytes(dotted) {
  const [a, b, ...rest] = dotted.split('.').map(Number), out = [];
  for (const arc of [a * 40 + b, ...rest]) { const s = [arc % 128]; for (let v = Math.floor(arc / 128); v; v = Math.floor(v / 128)) s.unshift(128 | v % 128); out.push(...s); }
  return Buffer.from(out);
}
export const oid = (dotted) => tlv(0x06, oidBytes(dotted));
export const O = {
  data: '1.2.840.113549.1.7.1', signedData: '1.2.840.113549.1.7.2', enveloped: '1.2.840.113549.1.7.3', msIndirect: '1.3.6.1.4.1.311.2.1.4',
  contentType: '1.2.840.113549.1.9.3', messageDigest: '1.2.840.113549.1.9.4', signingTime: '1.2.840.113549.1.9.5', smime: '1.2.840.113549.1.9.15',
  opus: '1.3.6.1.4.1.311.2.1.12', statement: '1.3.6.1.4.1.311.2.1.11',
  rsa: '1.2.840.113549.1.1.1', pss: '1.2.840.113549.1.1.10', ec: '1.2.840.10045.2.1', ed25519: '1.3.101.112',
  mldsa44: '2.16.840.1.101.3.4.3.17', mldsa65: '2.16.840.1.101.3.4.3.18', mldsa87: '2.16.840.1.101.3.4.3.19',
  gostKey256: '1.2.643.7.1.1.1.1', gostSig256: '1.2.643.7.1.1.3.2',
  sha1: '1.3.14.3.2.26', sha224: '2.16.840.1.101.3.4.2.4', sha256: '2.16.840.1.101.3.4.2.1', sha384: '2.16.840.1.101.3.4.2.2', sha512: '2.16.840.1.101.3.4.2.3',
  'sha3-256': '2.16.840.1.101.3.4.2.8', 'sha3-384': '2.16.840.1.101.3.4.2.9', 'sha3-512': '2.16.840.1.101.3.4.2.10',
  md5: '1.2.840.113549.2.5', sm3: '1.2.156.10197.1.401', streebog256: '1.2.643.7.1.1.2.2', streebog512: '1.2.643.7.1.1.2.3', shake256: '2.16.840.1.101.3.4.2.12',
  cn: '2.5.4.3', org: '2.5.4.10', email: '1.2.840.113549.1.9.1',
  skid: '2.5.29.14', keyUsage: '2.5.29.15', basicConstraints: '2.5.29.19', akid: '2.5.29.35', eku: '2.5.29.37',
};
export const RSA_WITH = { sha1: '1.2.840.113549.1.1.5', sha224: '1.2.840.113549.1.1.14', sha256: '1.2.840.113549.1.1.11', sha384: '1.2.840.113549.1.1.12', sha512: '1.2.840.113549.1.1.13', md5: '1.2.840.113549.1.1.4', 'sha3-256': '2.16.840.1.101.3.4.3.14', 'sha3-384': '2.16.840.1.101.3.4.3.15', 'sha3-512': '2.16.840.1.101.3.4.3.16' };
export const EC_WITH = { sha1: '1.2.840.10045.4.1', sha224: '1.2.840.10045.4.3.1', sha256: '1.2.840.10045.4.3.2', sha384: '1.2.840.10045.4.3.3', sha512: '1.2.840.10045.4.3.4', 'sha3-256': '2.16.840.1.101.3.4.3.10', 'sha3-384': '2.16.840.1.101.3.4.3.11', 'sha3-512': '2.16.840.1.101.3.4.3.12' };
export const hash = (name, ...parts) => { const h = createHash(name); for (const p of parts) h.update(p); return h.digest(); };

// Keys. A key is { kind: 'rsa' | 'ec' | 'ed25519' | 'mldsa…', spki, sign(data, hash) }.
export function rsaKey(bits, publicExponent = 0x10001) {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: bits, publicExponent });
  const jwk = privateKey.export({ format: 'jwk' }), big = (s) => BigInt('0x' + Buffer.from(s, 'base64url').toString('hex'));
  const n = big(jwk.n), d = big(jwk.d), size = Math.ceil(Buffer.from(jwk.n, 'base64url').length);
  return {
    kind: 'rsa', bits, n, d, size, privateKey, spki: publicKey.export({ type: 'spki', format: 'der' }),
    sign: (data, h = 'sha256') => nodeSign(h, data, privateKey),
    /** The private operation on a whole block. */
    raw: (block) => { let b = BigInt('0x' + Buffer.from(block).toString('hex')), r = 1n, e = d; b %= n; while (e) { if (e & 1n) r = r * b % n; b = b * b % n; e >>= 1n; } return Buffer.from(r.toString(16).padStart(size * 2, '0'), 'hex'); },
  };
}
export function ecKey(namedCurve) {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
  return { kind: 'ec', curve: namedCurve, privateKey, spki: publicKey.export({ type: 'spki', format: 'der' }), sign: (data, h = 'sha256') => nodeSign(h, data, privateKey) };
}
export function ed25519Key() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { kind: 'ed25519', privateKey, spki: publicKey.export({ type: 'spki', format: 'der' }), sign: (data) => nodeSign(null, data, privateKey) };
}
export function pssKey() {
  const { privateKey, publicKey } = generateKeyPairSync('rsa-pss', { modulusLength: 2048 });
  return { kind: 'pss', privateKey, spki: publicKey.export({ type: 'spki', format: 'der' }), sign: (data) => nodeSign('sha256', data, privateKey) };
}
export function mldsaKey(kind) {
  const impl = { mldsa44: ml_dsa44, mldsa65: ml_dsa65, mldsa87: ml_dsa87 }[kind], { secretKey, publicKey } = impl.keygen(hash('sha256', Buffer.from(kind)));
  return { kind, spki: seq(seq(oid(O[kind])), bits(publicKey)), sign: (data) => Buffer.from(impl.sign(data, secretKey)) };
}
export const privateKeyOf = (pem) => { const privateKey = createPrivateKey(pem), kind = privateKey.asymmetricKeyType; return { kind, privateKey, spki: createPublicKey(privateKey).export({ type: 'spki', format: 'der' }), sign: (data, h = 'sha256') => nodeSign(h, data, privateKey) }; };
/** r and s of an ECDSA-Sig-Value, and back. */
export function splitECDSA(sig) {
  let at = sig[1] & 0x80 ? 2 + (sig[1] & 0x7f) : 2;
  const part = () => { const n = sig[at + 1], v = sig.subarray(at + 2, at + 2 + n); at += 2 + n; return BigInt('0x' + v.toString('hex')); };
  return [part(), part()];
}
export const CURVE_ORDER = { prime192v1: 0xffffffffffffffffffffffff99def836146bc9b1b4d22831n, prime256v1: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n, secp384r1: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n };

// Certificates.
const STRING = { utf8: 0x0c, printable: 0x13 };
export const rdn = (type, value, tag = STRING.utf8) => set(seq(oid(type), tlv(tag, Buffer.from(value))));
export const name = (cn, org) => seq(...(org ? [rdn(O.org, org)] : []), ...(cn === undefined ? [] : [rdn(O.cn, cn)]));
export const utc = (text) => tlv(0x17, Buffer.from(text)), general = (text) => tlv(0x18, Buffer.from(text));
export const ext = (type, value, critical) => seq(oid(type), ...(critical ? [tlv(0x01, 'ff')] : []), oct(value));
export const keyID = (spki) => hash('sha1', spki);
export function signatureOID(key, h) { return key.kind === 'rsa' ? RSA_WITH[h] : key.kind === 'ec' ? EC_WITH[h] : key.kind === 'ed25519' ? O.ed25519 : key.kind === 'pss' ? O.pss : O[key.kind]; }
const algorithm = (key, h) => seq(oid(signatureOID(key, h)), ...(key.kind === 'rsa' ? [nul()] : []));
let serials = 1;
/**
 * A certificate as { der, key, serial, issuer, subject, skid, spki }; `by` signs it (itself by default).
 * o: cn, org, serial, hash, by, notBefore, notAfter, skid (false: none), akid ('keyid' | 'both' | 'issuer' | Buffer | false),
 * usage, basic, extensions, and raw replacements: version, inner, outer, subjectDER, issuerDER, spki, validity, afterKey, signature, tbs
 */
export function certificate(key, o = {}) {
  const h = o.hash ?? 'sha256', serial = o.serial ?? Buffer.from([0x10, serials >> 8, serials++ & 255]);
  const subject = o.subjectDER ?? name(o.cn ?? `subject ${serial.toString('hex')}`, o.org), spki = o.spki ?? key.spki, skid = o.skid === false ? undefined : o.skid ?? keyID(spki);
  const self = { key, serial, subject, issuer: undefined, skid };
  const by = o.by ?? self, issuer = o.issuerDER ?? by.subject, akid = [];
  const kind = o.akid ?? 'keyid';
  if (Buffer.isBuffer(kind)) akid.push(ext(O.akid, kind));
  else if (kind) akid.push(ext(O.akid, seq(...(kind !== 'issuer' && by.skid ? [prim(0, by.skid)] : []), ...(kind !== 'keyid' ? [ctx(1, ctx(4, by.issuer ?? issuer)), prim(2, by.serial)] : []))));
  const extensions = [...(skid ? [ext(O.skid, oct(skid))] : []), ...akid, ...(o.basic ? [ext(O.basicConstraints, o.basic, true)] : []), ...(o.usage ? [ext(O.keyUsage, o.usage)] : []), ...(o.extensions ?? [])];
  const inner = o.inner ?? algorithm(by.key, h);
  const tbs = o.tbs ?? seq(o.version ?? ctx(0, int(2)), tlv(0x02, serial), inner, issuer, o.validity ?? seq(o.notBefore ?? utc('240101000000Z'), o.notAfter ?? utc('440101000000Z')), subject, spki, ...(o.afterKey ?? []), ...(extensions.length && !o.noExtensions ? [ctx(3, seq(...extensions))] : []));
  const signature = o.signature ?? by.key.sign(tbs, h);
  return { der: seq(tbs, o.outer ?? inner, o.signatureBits ?? bits(signature)), key, serial, issuer, subject, skid, spki, tbs };
}

// CMS.
export const attribute = (type, ...values) => seq(oid(type), set(...values));
const tagless = (der, tag) => { const b = Buffer.from(der); b[0] = tag; return b; };
/**
 * One SignerInfo. o: version, sid ('skid' | 'issuer' | Buffer), hash, digestAlgorithm, signatureAlgorithm, attributes (array of DER | true for the
 * usual two | undefined), attributesForm (replaces the encoding, given the content), sequence (the [2] form), signature, sign(bytes) , unsigned, raw
 */
export function signerInfo(cert, data, o = {}) {
  const h = o.hash ?? 'sha256', version = o.version ?? 3, sid = o.sid ?? (version === 3 ? 'skid' : 'issuer');
  const id = Buffer.isBuffer(sid) ? sid : sid === 'skid' ? prim(0, cert.skid) : seq(cert.issuer, tlv(0x02, cert.serial));
  let attributes, toSign = data;
  const usual = () => [attribute(O.contentType, oid(o.attributeType ?? O.data)), attribute(O.messageDigest, oct(o.digest ?? hash(h, data)))];
  if (o.attributes) {
    const list = o.attributes === true ? usual() : typeof o.attributes === 'function' ? o.attributes(usual()) : o.attributes;
    const encoded = o.attributesForm ? o.attributesForm(cat(...list)) : ctx(0, ...list);
    attributes = encoded;
    toSign = tagless(encoded, 0x31);
  }
  if (o.sequence) attributes = ctx(2, seq(...(o.sequence === true ? usual() : o.sequence)));
  const signature = o.signature ?? (o.sign ? o.sign(toSign) : cert.key.sign(toSign, o.signHash ?? h));
  const pk = o.signatureAlgorithm ?? seq(oid(cert.key.kind === 'rsa' ? O.rsa : cert.key.kind === 'ec' ? EC_WITH[h] ?? EC_WITH.sha256 : O[cert.key.kind]), ...(cert.key.kind === 'rsa' ? [nul()] : []));
  const parts = [o.versionDER ?? int(version), id, o.digestAlgorithm ?? seq(oid(O[h]), nul()), ...(attributes ? [attributes] : []), pk, o.signatureDER ?? oct(signature), ...(o.unsigned ?? [])];
  return (o.wrap ?? seq)(...parts);
}
/** o: version, digestAlgorithms, contentType, content, encapsulated, certificates, crls, signers, signersForm, outerType, wrap… */
export function message(signers, o = {}) {
  const certificates = o.certificates === undefined ? [] : Buffer.isBuffer(o.certificates) ? [o.certificates] : [ctx(0, ...o.certificates)];
  const parts = [
    o.versionDER ?? int(o.version ?? 3), o.digestAlgorithms ?? set(seq(oid(O.sha256), nul())),
    o.encapsulated ?? seq(oid(o.contentType ?? O.data), ...(o.content ? [o.content] : [])),
    ...certificates, ...(o.crls ? [o.crls] : []), o.signers ?? (o.signersForm ?? set)(...signers),
  ];
  const signedData = (o.dataForm ?? seq)(...parts, ...(o.extra ?? []));
  return (o.outerForm ?? seq)(oid(o.outerType ?? O.signedData), ...(o.noContent ? [] : [(o.explicitForm ?? ((...c) => ctx(0, ...c)))(signedData)]));
}
/** The usual message: one signer, no certificates. */
export const signed = (cert, data, so = {}, mo = {}) => message([signerInfo(cert, data, so)], { version: so.version ?? 3, ...mo });
