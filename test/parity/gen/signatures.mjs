#!/usr/bin/env node
// Writes a transcript of signature and certificate blobs that cover the kernel's acceptance rules one by one; answers come from
// test/parity/record.mjs. Keys are fresh on every run, so the recorded file is the reference, not this program's output.
//   signatures.mjs OUT.jsonl
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import {
  O, RSA_WITH, EC_WITH, CURVE_ORDER, attribute, bits, cat, certificate, ctx, ecKey, ed25519Key, ext, general, hash, int, message, mldsaKey, name, nul, oct, oid, prim,
  pssKey, rdn, rsaKey, seq, set, signed, signerInfo, splitECDSA, tlv, tlvForm, uint, utc,
} from './cms.mjs';

const lines = [], names = new Set(), blobs = new Set();
const hex = (b) => Buffer.from(b).toString('hex');
const ref = (bytes) => { const h = hex(bytes); if (h.length < 200) return h; const id = createHash('sha256').update(h).digest('hex').slice(0, 16); if (!blobs.has(id)) { blobs.add(id); lines.push({ blob: id, hex: h }); } return `@${id}`; };
/** mov r0, 0; exit: what all signatures are over. */
export const PROGRAM = Buffer.from('b7000000000000009500000000000000', 'hex');
const SESSION = -3;

function load(signature, { keyring = SESSION, size = signature?.length ?? 0, program = PROGRAM, log = 4 } = {}) {
  const attr = Buffer.alloc(168);
  attr.writeUInt32LE(1, 0);
  attr.writeUInt32LE(program.length / 8, 4);
  attr.writeUInt32LE(log, 24);
  attr.writeUInt32LE(log ? 4096 : 0, 28);
  attr.writeUInt32LE(size, 160);
  attr.writeInt32LE(keyring, 164);
  const inputs = { 8: hex(program), 16: hex(Buffer.from('GPL\0')) };
  if (signature !== undefined) inputs[152] = ref(signature);
  return { op: 'bpf', cmd: 'PROG_LOAD', attr: hex(attr), in: inputs, ...(log ? { out: { 32: 4096 } } : {}) };
}
function begin(suite, title) {
  const full = `${suite}: ${title}`;
  if (names.has(full)) throw new Error(`twice: ${full}`);
  names.add(full);
  lines.push({ case: full, suite, mode: 'priv' });
}
const addKey = (der, i = 0) => lines.push({ op: 'key', name: `k${i}`, der: hex(der) });
/** One case: certificates into the session keyring, then a load. */
function check(suite, title, keys, signature, options) {
  const prepared = load(signature, options);
  begin(suite, title);
  keys.forEach((key, i) => addKey(key.der ?? key, i));
  lines.push(prepared);
}
/** One case: a certificate offered to the keyring. */
function offer(title, der) {
  begin('certificate', title);
  addKey(der);
}
const caught = (make) => { try { return make(); } catch (error) { process.stderr.write(`left out: ${error.message}\n`); return undefined; } };
const P = PROGRAM, R = certificate(rsaKey(2048), { cn: 'signer', org: 'Example' }), E = certificate(ecKey('prime256v1'), { cn: 'ec signer' }), E384 = certificate(ecKey('secp384r1'), { cn: 'ec384', hash: 'sha384' });
const stranger = certificate(rsaKey(2048), { cn: 'stranger' });
const good = signed(R, P), goodAttr = signed(R, P, { attributes: true }), goodV1 = signed(R, P, { version: 1 });

// Loads and keyrings.
{
  const s = 'load';
  check(s, 'rsa key id', [R], good);
  check(s, 'rsa issuer and serial', [R], goodV1);
  check(s, 'rsa attributes', [R], goodAttr);
  check(s, 'ecdsa p256', [E], signed(E, P));
  check(s, 'ecdsa p384 sha384', [E384], signed(E384, P, { hash: 'sha384' }));
  check(s, 'level 1 log', [R], good, { log: 1 });
  check(s, 'no log', [R], good, { log: 0 });
  check(s, 'no key', [], good);
  check(s, 'other key', [stranger], good);
  check(s, 'other program', [R], good, { program: Buffer.from('b7000000010000009500000000000000', 'hex') });
  check(s, 'size 0', [R], good, { size: 0 });
  check(s, 'size one less', [R], good, { size: good.length - 1 });
  check(s, 'size 8192', [R], Buffer.concat([good, Buffer.alloc(8192 - good.length)]));
  check(s, 'size 8193', [R], Buffer.concat([good, Buffer.alloc(8193 - good.length)]));
  check(s, 'size without pointer', [R], undefined, { size: 379 });
  check(s, 'half ld_imm64 at the end', [R], good, { program: Buffer.from('b7000000000000001800000000000000', 'hex') });
  for (const keyring of [0, 1, 2, 3, 2147483647, -2147483648, -1, -2, -3, -4, -5, -6, -7, -8, -9]) check(s, `keyring ${keyring}`, [R], good, { keyring });
  check(s, 'junk', [R], Buffer.from('30421337' + '00'.repeat(60), 'hex'));
  check(s, 'one byte', [R], Buffer.from('30', 'hex'));
}
// BER.
{
  const s = 'ber', si = () => signerInfo(R, P);
  check(s, 'trailing bytes', [R], cat(good, 'deadbeef'));
  for (let n = 0; n < good.length; n += 17) check(s, `cut at ${n}`, [R], n === 0 ? Buffer.from('00', 'hex') : good.subarray(0, n));
  for (const form of [1, 2, 3, 4, 'indef']) {
    check(s, `outer length form ${form}`, [R], message([si()], { outerForm: (...c) => tlvForm(form, 0x30, ...c) }));
    check(s, `explicit length form ${form}`, [R], message([si()], { explicitForm: (...c) => tlvForm(form, 0xa0, ...c) }));
    check(s, `SignedData length form ${form}`, [R], message([si()], { dataForm: (...c) => tlvForm(form, 0x30, ...c) }));
    check(s, `signerInfos length form ${form}`, [R], message([si()], { signersForm: (...c) => tlvForm(form, 0x31, ...c) }));
    check(s, `SignerInfo length form ${form}`, [R], message([signerInfo(R, P, { wrap: (...c) => tlvForm(form, 0x30, ...c) })]));
    check(s, `signature length form ${form}`, [R], signed(R, P, { signatureDER: tlvForm(form, 0x04, R.key.sign(P)) }));
    check(s, `digest algorithm length form ${form}`, [R], signed(R, P, { digestAlgorithm: tlvForm(form, 0x30, oid(O.sha256), nul()) }));
    check(s, `constructed parameters, length form ${form}`, [R], signed(R, P, { digestAlgorithm: seq(oid(O.sha256), tlvForm(form, 0x30, tlvForm(form === 'indef' ? 'indef' : undefined, 0x31, nul()))) }));
  }
  check(s, 'indefinite everywhere', [R], message([signerInfo(R, P, { wrap: (...c) => tlvForm('indef', 0x30, ...c) })], { outerForm: (...c) => tlvForm('indef', 0x30, ...c), explicitForm: (...c) => tlvForm('indef', 0xa0, ...c), dataForm: (...c) => tlvForm('indef', 0x30, ...c), signersForm: (...c) => tlvForm('indef', 0x31, ...c) }));
  check(s, 'indefinite, end marker cut', [R], message([si()], { outerForm: (...c) => cat('3080', ...c) }));
  check(s, 'indefinite, end marker with length', [R], message([si()], { outerForm: (...c) => cat('3080', ...c, '0001ff') }));
  check(s, 'indefinite, half an end marker', [R], message([si()], { outerForm: (...c) => cat('3080', ...c, '00') }));
  check(s, 'parameters with a long tag inside an indefinite one', [R], signed(R, P, { digestAlgorithm: seq(oid(O.sha256), cat('3080', '1f8101', '0100', '0000')) }));
  check(s, 'parameters with a length of seven bytes inside an indefinite one', [R], signed(R, P, { digestAlgorithm: seq(oid(O.sha256), cat('3080', '0487', '00000000000001', 'aa', '0000')) }));
  check(s, 'parameters with a length of eight bytes inside an indefinite one', [R], signed(R, P, { digestAlgorithm: seq(oid(O.sha256), cat('3080', '0488', '0000000000000001', 'aa', '0000')) }));
  check(s, 'parameters with an indefinite primitive inside an indefinite one', [R], signed(R, P, { digestAlgorithm: seq(oid(O.sha256), cat('3080', '0480', '0000', '0000')) }));
  check(s, 'parameters of a long tag', [R], signed(R, P, { digestAlgorithm: seq(oid(O.sha256), cat('1f01', '00')) }));
  for (const at of ['outer', 'data', 'signer', 'digest', 'encapsulated']) {
    const junk = Buffer.from('0500', 'hex'), opts = {}, so = {};
    if (at === 'outer') opts.outerForm = (...c) => seq(...c, junk);
    if (at === 'data') opts.dataForm = (...c) => seq(...c, junk);
    if (at === 'signer') so.wrap = (...c) => seq(...c, junk);
    if (at === 'digest') so.digestAlgorithm = seq(oid(O.sha256), nul(), nul());
    if (at === 'encapsulated') opts.encapsulated = seq(oid(O.data), junk);
    check(s, `leftover in ${at}`, [R], signed(R, P, so, opts));
  }
  check(s, 'zero length explicit', [R], message([si()], { explicitForm: () => Buffer.from('a000', 'hex') }));
  check(s, 'outer tag primitive', [R], cat('10', good.subarray(1)));
  check(s, 'outer tag SET', [R], cat('31', good.subarray(1)));
  check(s, 'outer tag long', [R], cat('3f', good.subarray(1)));
  check(s, 'outer tag application', [R], cat('70', good.subarray(1)));
  check(s, 'signature constructed', [R], signed(R, P, { signatureDER: tlv(0x24, oct(R.key.sign(P))) }));
  check(s, 'key id constructed', [R], signed(R, P, { sid: tlv(0xa0, R.skid) }));
  check(s, 'signature as BIT STRING', [R], signed(R, P, { signatureDER: tlv(0x03, R.key.sign(P)) }));
  check(s, 'version as ENUMERATED', [R], message([si()], { versionDER: tlv(0x0a, '03') }));
}
// ContentInfo and SignedData.
{
  const s = 'message', si = signerInfo(R, P), bad = (o) => message([si], o);
  for (const [t, v] of [['data', O.data], ['enveloped', O.enveloped], ['unknown', '1.2.3.4'], ['sha256', O.sha256]]) check(s, `outer type ${t}`, [R], bad({ outerType: v }));
  check(s, 'outer type empty', [R], cat(seq(tlv(0x06), ctx(0, seq(int(3))))));
  check(s, 'content absent', [R], bad({ noContent: true }));
  for (const v of [0, 1, 2, 3, 4, 5, 131]) check(s, `version ${v}`, [R], bad({ version: v }));
  for (const [t, v] of [['two bytes', '0003'], ['empty', '']]) check(s, `version ${t}`, [R], bad({ versionDER: tlv(0x02, v) }));
  for (const [t, v] of [['empty set', set()], ['empty sequence', seq()], ['sequence', seq(seq(oid(O.sha256), nul()))], ['unknown', set(seq(oid('1.2.3.4.5')))], ['md5', set(seq(oid(O.md5)))], ['three', set(seq(oid(O.sha1)), seq(oid(O.sha512), oct('00')), seq(oid(O.sha256)))], ['without parameters', set(seq(oid(O.sha256)))], ['element is a SET', set(set(oid(O.sha256)))], ['element empty', set(seq())], ['element INTEGER', set(seq(int(1)))], ['absent', Buffer.alloc(0)]]) check(s, `digestAlgorithms ${t}`, [R], bad({ digestAlgorithms: v }));
  for (const [t, v] of [['signedData', O.signedData], ['msIndirectData', O.msIndirect], ['unknown', '1.2.3'], ['sha256', O.sha256]]) {
    check(s, `content type ${t}`, [R], bad({ contentType: v }));
    check(s, `content type ${t} with attributes`, [R], message([signerInfo(R, P, { attributes: true, attributeType: v })], { contentType: v }));
  }
  for (const [t, v] of [['empty octets', ctx(0, oct())], ['octets', ctx(0, oct(P))], ['empty', ctx(0)], ['sequence', ctx(0, seq(int(1)))], ['two', ctx(0, oct(P), oct(P))], ['primitive tag', tlv(0x80, oct(P))]]) check(s, `embedded content ${t}`, [R], bad({ content: v }));
  const crl = seq(seq(int(1), seq(oid(RSA_WITH.sha256), nul()), R.subject, utc('240101000000Z')), seq(oid(RSA_WITH.sha256), nul()), bits('00'));
  for (const [t, v] of [['none, [0] empty', ctx(0)], ['[2] empty', ctx(2)], ['signer', ctx(0, R.der)], ['[2] signer', ctx(2, R.der)], ['stranger', ctx(0, stranger.der)], ['two', ctx(0, stranger.der, R.der)], ['[2] two', ctx(2, stranger.der, R.der)], ['wrong tag', ctx(0, set(int(1)))], ['attribute certificate', ctx(0, tlv(0xa1, R.der))], ['[0] tag', ctx(0, tlv(0xa0, R.der.subarray(4)))], ['primitive tag', ctx(0, cat('10', R.der.subarray(1)))], ['junk', ctx(0, seq(int(1)))], ['cut', ctx(0, cat('3082ffff', R.der))], ['trailing in certificate', ctx(0, seq(R.der.subarray(4), nul()))], ['indefinite set', cat('a080', R.der, '0000')], ['indefinite empty set', Buffer.from('a0800000', 'hex')], ['indefinite [2]', cat('a280', R.der, '0000')], ['indefinite certificate', ctx(0, cat('3080', R.der.subarray(4), '0000'))]]) check(s, `certificates ${t}`, [R], bad({ certificates: v }));
  for (const [t, v] of [['[1] a crl', ctx(1, crl)], ['[1] certificates', ctx(1, seq(R.der))], ['[3] certificates', ctx(3, seq(R.der, stranger.der))], ['[1] empty', ctx(1)], ['[3] empty', ctx(3)], ['[1] with an empty list', ctx(1, seq())]]) {
    check(s, `crls ${t}`, [R], bad({ crls: v }));
    if (t.includes('certificates')) check(s, `certificates and crls ${t}`, [R], bad({ certificates: [stranger.der], crls: v }));
  }
  check(s, 'crls before certificates', [R], bad({ certificates: cat(ctx(1, seq(R.der)), ctx(0, R.der)) }));
  for (const [t, make] of [['ed25519', () => certificate(ed25519Key())], ['rsa-pss', () => certificate(pssKey())], ['p224', () => certificate(ecKey('secp224r1'))], ['secp256k1', () => certificate(ecKey('secp256k1'))], ['brainpool', () => certificate(ecKey('brainpoolP256r1'))], ['bad self-signature', () => certificate(rsaKey(2048), { signature: Buffer.alloc(256, 1) })], ['self-signature of a cleared byte', () => { const key = rsaKey(2048), c = certificate(key); return { der: cat(c.der.subarray(0, -1), Buffer.from([c.der.at(-1) ^ 1])) }; }], ['bad self-signature ec', () => certificate(ecKey('prime256v1'), { signature: seq(int(1), int(1)) })], ['bad self-signature ec range', () => certificate(ecKey('prime256v1'), { signature: seq(int(0), int(1)) })], ['md5 signature', () => certificate(rsaKey(1024), { hash: 'md5' })], ['sha3 self-signature', () => certificate(rsaKey(2048), { hash: 'sha3-256' })], ['sha1 self-signature', () => certificate(rsaKey(2048), { hash: 'sha1' })], ['mldsa44', () => certificate(mldsaKey('mldsa44'))], ['rsa 1024', () => certificate(rsaKey(1024))]]) {
    const c = caught(make);
    if (c) check(s, `embedded certificate ${t}`, [R], bad({ certificates: [c.der] }));
  }
  for (const [t, v] of [['empty', set()], ['absent', Buffer.alloc(0)], ['sequence', seq(si)], ['empty sequence', seq()], ['of a SET', set(cat('31', si.subarray(1)))]]) check(s, `signerInfos ${t}`, [R], bad({ signers: v }));
  const withAttr = signerInfo(R, P, { attributes: true });
  check(s, 'signers with and without attributes', [R], message([withAttr, si]));
  check(s, 'signers without and with attributes', [R], message([si, withAttr]));
  check(s, 'signers both with attributes', [R], message([withAttr, withAttr]));
  check(s, 'three signers', [R], message([si, si, si]));
}
// SignerInfo.
{
  const s = 'signer';
  for (const sd of [1, 3]) for (const v of [0, 1, 2, 3, 4]) for (const sid of ['skid', 'issuer']) check(s, `SignedData ${sd} SignerInfo ${v} by ${sid}`, [R], message([signerInfo(R, P, { version: v, sid })], { version: sd }));
  check(s, 'version of two bytes', [R], signed(R, P, { versionDER: tlv(0x02, '0003') }));
  check(s, 'key id empty', [R], signed(R, P, { sid: prim(0) }));
  check(s, 'key id cut', [R], signed(R, P, { sid: prim(0, R.skid.subarray(0, 19)) }));
  check(s, 'key id last four', [R], signed(R, P, { sid: prim(0, R.skid.subarray(16)) }));
  check(s, 'key id is serial and issuer', [R], signed(R, P, { sid: prim(0, R.serial, R.issuer.subarray(2)) }));
  const twin = certificate(R.key, { cn: 'twin', serial: R.skid.subarray(0, 5), skid: Buffer.concat([Buffer.from([7]), R.skid]) });
  check(s, 'issuer with serial, key id equals the bytes', [certificate(R.key, { cn: 'other', skid: cat(R.serial, R.issuer.subarray(2)) })], goodV1);
  check(s, 'twin certificate of the key', [twin], good);
  check(s, 'serial with a zero in front', [R], signed(R, P, { version: 1, sid: seq(R.issuer, tlv(0x02, '00', R.serial)) }));
  check(s, 'issuer with a long length', [R], signed(R, P, { version: 1, sid: seq(tlvForm(1, 0x30, R.issuer.subarray(2)), tlv(0x02, R.serial)) }));
  check(s, 'issuer empty', [R], signed(R, P, { version: 1, sid: seq(seq(), tlv(0x02, R.serial)) }));
  check(s, 'serial empty', [R], signed(R, P, { version: 1, sid: seq(R.issuer, tlv(0x02)) }));
  check(s, 'sid absent', [R], signed(R, P, { sid: Buffer.alloc(0) }));
  for (const h of ['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3-256', 'sha3-384', 'sha3-512']) {
    check(s, `rsa ${h}`, [R], signed(R, P, { hash: h }));
    check(s, `rsa ${h} attributes`, [R], signed(R, P, { hash: h, attributes: true }));
    for (const [c, curve] of [[E, 'p256'], [E384, 'p384']]) {
      const made = caught(() => signed(c, P, { hash: h }));
      if (made) check(s, `ecdsa ${curve} ${h}`, [c], made);
    }
  }
  for (const h of ['md5', 'sm3', 'streebog256', 'streebog512', 'shake256']) check(s, `digest ${h}`, [R], signed(R, P, { digestAlgorithm: seq(oid(O[h]), nul()) }));
  for (const h of ['sm3', 'streebog512']) check(s, `digest ${h} with attributes`, [R], signed(R, P, { digestAlgorithm: seq(oid(O[h]), nul()), attributes: true }));
  check(s, 'digest differs from what is signed', [R], signed(R, P, { signHash: 'sha512' }));
  for (const [t, p] of [['none', []], ['octets', [oct('00')]], ['sequence', [seq(int(1))]]]) {
    check(s, `digest parameters ${t}`, [R], signed(R, P, { digestAlgorithm: seq(oid(O.sha256), ...p) }));
    check(s, `signature parameters ${t}`, [R], signed(R, P, { signatureAlgorithm: seq(oid(O.rsa), ...p) }));
  }
  for (const [t, v] of [['sha256WithRSA', RSA_WITH.sha256], ['sha1WithRSA', RSA_WITH.sha1], ['pss', O.pss], ['ecdsa', EC_WITH.sha256], ['ecPublicKey', O.ec], ['ed25519', O.ed25519], ['gost', O.gostKey256], ['gost signature', O.gostSig256], ['mldsa44', O.mldsa44], ['mldsa65', O.mldsa65], ['mldsa87', O.mldsa87], ['unknown', '1.2.3.4'], ['sha256', O.sha256]]) {
    check(s, `signature algorithm ${t}`, [R], signed(R, P, { signatureAlgorithm: seq(oid(v), nul()) }));
    if (['mldsa44', 'ecdsa', 'gost'].includes(t)) {
      check(s, `signature algorithm ${t} with attributes`, [R], signed(R, P, { signatureAlgorithm: seq(oid(v), nul()), attributes: true }));
      check(s, `signature algorithm ${t} with the certificate`, [R], signed(R, P, { version: 1, signatureAlgorithm: seq(oid(v), nul()) }, { certificates: [R.der] }));
    }
  }
  for (const [t, v] of Object.entries(EC_WITH)) check(s, `ecdsa oid of ${t}`, [E], signed(E, P, { signatureAlgorithm: seq(oid(v)) }));
  check(s, 'rsa oid for an ec key', [E], signed(E, P, { signatureAlgorithm: seq(oid(O.rsa), nul()) }));
  check(s, 'rsa oid for an ec key with the certificate', [E], signed(E, P, { version: 1, signatureAlgorithm: seq(oid(O.rsa), nul()) }, { certificates: [E.der] }));
  for (const [t, v] of [['empty', Buffer.alloc(0)], ['short', R.key.sign(P).subarray(1)], ['long', cat('00', R.key.sign(P))], ['zero', Buffer.alloc(256)], ['flipped', (() => { const b = R.key.sign(P); b[100] ^= 4; return b; })()]]) {
    check(s, `signature ${t}`, [R], signed(R, P, { signature: v }));
    check(s, `signature ${t} with the certificate`, [R], signed(R, P, { version: 1, signature: v }, { certificates: [R.der] }));
  }
  const unsigned = (n) => ctx(n, attribute('1.2.3.4', oct('aa')));
  for (const n of [1, 3]) {
    check(s, `unsigned attributes [${n}]`, [R], signed(R, P, { unsigned: [unsigned(n)] }));
    check(s, `unsigned attributes [${n}] empty`, [R], signed(R, P, { unsigned: [ctx(n)] }));
    check(s, `unsigned attributes [${n}] without value`, [R], signed(R, P, { unsigned: [ctx(n, attribute('1.2.3.4'))] }));
  }
  check(s, 'unsigned attributes of both kinds', [R], signed(R, P, { unsigned: [unsigned(1), unsigned(3)] }));
  check(s, 'signed and unsigned attributes', [R], signed(R, P, { attributes: true, unsigned: [unsigned(1)] }));
}
// Signed attributes.
{
  const s = 'attributes', A = (f, o = {}) => signed(R, P, { attributes: typeof f === 'function' ? f : () => f, ...o });
  const type = attribute(O.contentType, oid(O.data)), digest = attribute(O.messageDigest, oct(hash('sha256', P))), plus = (...x) => A([type, digest, ...x]);
  check(s, 'empty', [R], A([], { attributesForm: () => ctx(0) }));
  check(s, 'no type', [R], A([digest]));
  check(s, 'no digest', [R], A([type]));
  check(s, 'other order', [R], A([digest, type]));
  check(s, 'type twice', [R], plus(type));
  check(s, 'digest twice', [R], plus(digest));
  check(s, 'type with two values', [R], A([attribute(O.contentType, oid(O.data), oid(O.data)), digest]));
  check(s, 'digest with two values', [R], A([type, attribute(O.messageDigest, oct(hash('sha256', P)), oct(hash('sha256', P)))]));
  check(s, 'type without value', [R], A([attribute(O.contentType), digest]));
  check(s, 'type other', [R], A([attribute(O.contentType, oid(O.signedData)), digest]));
  check(s, 'type unknown', [R], A([attribute(O.contentType, oid('1.2.3')), digest]));
  check(s, 'type as octets', [R], A([attribute(O.contentType, oct(oid(O.data).subarray(2))), digest]));
  check(s, 'type as a sequence of the same bytes', [R], A([attribute(O.contentType, tlv(0x30, oid(O.data).subarray(2))), digest]));
  check(s, 'digest as BIT STRING', [R], A([type, attribute(O.messageDigest, tlv(0x03, hash('sha256', P)))]));
  check(s, 'digest constructed', [R], A([type, attribute(O.messageDigest, tlv(0x24, oct(hash('sha256', P))))]));
  check(s, 'digest short', [R], A([type, attribute(O.messageDigest, oct(hash('sha256', P).subarray(1)))]));
  check(s, 'digest empty', [R], A([type, attribute(O.messageDigest, oct())]));
  check(s, 'digest of another hash', [R], A([type, attribute(O.messageDigest, oct(hash('sha384', P)))]));
  check(s, 'digest wrong', [R], A([type, attribute(O.messageDigest, oct(hash('sha256', Buffer.alloc(1))))]));
  const times = { 'utc now': utc('260101000000Z'), 'utc 1949': utc('490101000000Z'), 'utc 1950': utc('500101000000Z'), 'utc 1969': utc('691231235959Z'), 'utc 1970': utc('700101000000Z'), 'utc without Z': utc('2601010000000'), 'utc with zone': utc('260101000000+0100'), 'utc short': utc('2601010000Z'), 'utc letter': utc('26010100000aZ'), 'utc month 0': utc('260001000000Z'), 'utc month 13': utc('261301000000Z'), 'utc day 0': utc('260100000000Z'), 'utc Feb 29 2024': utc('240229000000Z'), 'utc Feb 29 2025': utc('250229000000Z'), 'utc Feb 30': utc('240230000000Z'), 'utc Apr 31': utc('260431000000Z'), 'utc hour 24': utc('260101240000Z'), 'utc hour 25': utc('260101250000Z'), 'utc minute 60': utc('260101006000Z'), 'utc second 60': utc('260101000060Z'), 'utc second 61': utc('260101000061Z'), 'general 2050': general('20500101000000Z'), 'general 2049': general('20491231235959Z'), 'general 1949': general('19491231235959Z'), 'general 1950': general('19500101000000Z'), 'general 1969': general('19691231000000Z'), 'general 2100 Feb 29': general('21000229000000Z'), 'general 2400 Feb 29': general('24000229000000Z'), 'general 9999': general('99991231235959Z'), 'general fraction': general('20500101000000.5Z'), 'octets': oct(Buffer.from('260101000000Z')), 'empty': utc('') };
  for (const [t, v] of Object.entries(times)) check(s, `signingTime ${t}`, [R], plus(attribute(O.signingTime, v)));
  check(s, 'signingTime twice', [R], plus(attribute(O.signingTime, times['utc now']), attribute(O.signingTime, times['utc now'])));
  check(s, 'signingTime two values', [R], plus(attribute(O.signingTime, times['utc now'], times['utc now'])));
  for (const [t, v] of [['smime capabilities', O.smime], ['opus', O.opus], ['statement', O.statement]]) {
    check(s, t, [R], plus(attribute(v, seq())));
    check(s, `${t} for Authenticode`, [R], message([signerInfo(R, P, { attributes: () => [attribute(O.contentType, oid(O.msIndirect)), digest, attribute(v, seq())] })], { contentType: O.msIndirect }));
    check(s, `${t} twice for Authenticode`, [R], message([signerInfo(R, P, { attributes: () => [attribute(O.contentType, oid(O.msIndirect)), digest, attribute(v, seq()), attribute(v, seq())] })], { contentType: O.msIndirect }));
  }
  check(s, 'unknown attribute', [R], plus(attribute('1.2.3.4', oct('00'))));
  check(s, 'unknown attribute with two values', [R], plus(attribute('1.2.3.4', oct('00'), int(1))));
  check(s, 'unknown attribute twice', [R], plus(attribute('1.2.3.4', oct('00')), attribute('1.2.3.4', oct('00'))));
  check(s, 'unknown attribute without value', [R], plus(attribute('1.2.3.4')));
  check(s, 'known oid without meaning here', [R], plus(attribute(O.sha256, oct('00'))));
  check(s, 'values as a sequence', [R], plus(seq(oid('1.2.3.4'), seq(oct('00')))));
  for (const form of [1, 2, 'indef']) {
    check(s, `length form ${form}`, [R], A([type, digest], { attributesForm: (c) => tlvForm(form, 0xa0, c) }));
    const c = cat(type, digest), minimal = R.key.sign(set(c)), kept = R.key.sign(cat('31', tlvForm(form, 0xa0, c).subarray(1)));
    check(s, `length form ${form}, signed in the shortest`, [R], A([type, digest], { attributesForm: () => tlvForm(form, 0xa0, c), sign: () => minimal }));
    check(s, `length form ${form}, signed as encoded without the end marker`, [R], A([type, digest], { attributesForm: () => tlvForm(form, 0xa0, c), sign: () => form === 'indef' ? R.key.sign(cat('3180', c)) : kept }));
  }
  check(s, 'tag with the constructed bit cleared', [R], A([type, digest], { attributesForm: (c) => tlv(0x80, c) }));
  check(s, 'signed as [0]', [R], A([type, digest], { sign: (b) => R.key.sign(cat('a0', b.subarray(1))) }));
  check(s, 'content signed instead', [R], A([type, digest], { sign: () => R.key.sign(P) }));
  check(s, 'sequence form over the content', [R], signed(R, P, { sequence: true }));
  check(s, 'sequence form with a wrong digest', [R], signed(R, P, { sequence: [type, attribute(O.messageDigest, oct('00'))] }));
  check(s, 'sequence form without type', [R], signed(R, P, { sequence: [digest] }));
  check(s, 'sequence form empty', [R], signed(R, P, { sequence: [] }));
  check(s, 'sequence form digest twice', [R], signed(R, P, { sequence: [type, digest, digest] }));
  check(s, 'sequence form over the attributes', [R], signed(R, P, { sequence: true, sign: () => R.key.sign(set(type, digest)) }));
  check(s, 'sequence form with smime', [R], signed(R, P, { sequence: [type, attribute(O.smime, seq())] }));
  check(s, 'ecdsa', [E], signed(E, P, { attributes: true }));
  check(s, 'attributes of msIndirectData without any', [R], message([signerInfo(R, P)], { contentType: O.msIndirect }));
}
// Keys and primitives.
{
  const s = 'key';
  for (const n of [512, 768, 1024, 1032, 1536, 2000, 2040, 2048, 2056, 3072, 4096]) {
    const c = caught(() => certificate(rsaKey(n), { cn: `rsa ${n}` }));
    if (!c) continue;
    check(s, `rsa ${n}`, [c], signed(c, P));
    check(s, `rsa ${n} with its certificate`, [c], signed(c, P, { version: 1 }, { certificates: [c.der] }));
  }
  for (const e of [3, 17]) { const c = caught(() => certificate(rsaKey(2048, e), { cn: `e ${e}` })); if (c) check(s, `rsa exponent ${e}`, [c], signed(c, P)); }
  const n2048 = (c) => uint(c.key.n), rsaSPKI = (n, e) => seq(seq(oid(O.rsa), nul()), bits(seq(n, e)));
  const issuedBy = (key, o) => certificate(key, { by: R, ...o });
  for (const [t, make] of [['exponent 0', (c) => rsaSPKI(n2048(c), int(0))], ['exponent 1', (c) => rsaSPKI(n2048(c), int(1))], ['exponent even', (c) => rsaSPKI(n2048(c), int(2))], ['exponent empty', (c) => rsaSPKI(n2048(c), tlv(0x02))], ['modulus empty', () => rsaSPKI(tlv(0x02), int(3))], ['modulus zero', () => rsaSPKI(int(0), int(3))], ['modulus even', (c) => rsaSPKI(uint(c.key.n + 1n), uint(0x10001n))], ['modulus with zeros in front', (c) => rsaSPKI(tlv(0x02, '000000', uint(c.key.n).subarray(5)), uint(0x10001n))], ['exponent longer than modulus', (c) => rsaSPKI(n2048(c), tlv(0x02, Buffer.alloc(300), '010001'))], ['exponent with zeros in front', (c) => rsaSPKI(n2048(c), tlv(0x02, Buffer.alloc(100), '010001'))], ['key is no sequence', () => seq(seq(oid(O.rsa), nul()), bits(int(1)))], ['key with trailing', (c) => seq(seq(oid(O.rsa), nul()), bits(seq(n2048(c), uint(0x10001n)), nul()))], ['key empty', () => seq(seq(oid(O.rsa), nul()), bits())], ['unused bits', (c) => seq(seq(oid(O.rsa), nul()), tlv(0x03, '01', seq(n2048(c), uint(0x10001n))))], ['bit string empty', () => seq(seq(oid(O.rsa), nul()), tlv(0x03))], ['modulus huge', () => rsaSPKI(uint(Buffer.alloc(3000, 0xff)), uint(0x10001n))], ['negative modulus', (c) => rsaSPKI(tlv(0x02, uint(c.key.n).subarray(5)), uint(0x10001n))]]) {
    const key = rsaKey(2048), base = { key }, c = caught(() => issuedBy(key, { spki: make(base), cn: t, skid: hash('sha1', Buffer.from(t)) }));
    if (!c) continue;
    check(s, `rsa ${t}`, [c], signed(c, P));
    check(s, `rsa ${t} with its certificate`, [c], signed(c, P, { version: 1 }, { certificates: [c.der] }));
  }
  const pad = (key, infoHex, { first = 0, type = 1, fill = 0xff, zero = 0, length: n } = {}) => { const info = Buffer.from(infoHex, 'hex'), block = Buffer.alloc(key.size, fill); block[0] = first; block[1] = type; const at = n ?? key.size - info.length; block[at - 1] = zero; info.copy(block, at); return block; };
  const INFO = '3031300d060960864801650304020105000420', H = hash('sha256', P).toString('hex');
  const crafted = { 'right': pad(R.key, INFO + H), 'type 2': pad(R.key, INFO + H, { type: 2 }), 'type 0': pad(R.key, INFO + H, { type: 0 }), 'padding 00': pad(R.key, INFO + H, { fill: 0 }), 'separator missing': pad(R.key, INFO + H, { zero: 0xff }), 'no NULL': pad(R.key, '302f300b0609608648016503040201' + '0420' + H), 'sha1 info': pad(R.key, '3021300906052b0e03021a05000414' + H.slice(0, 40)), 'sha384 info': pad(R.key, '3041300d060960864801650304020205000430' + H + H.slice(0, 32)), 'digest only': pad(R.key, H), 'digest short': pad(R.key, INFO + H.slice(2)), 'digest long': pad(R.key, INFO + H + '00'), 'garbage behind': (() => { const b = pad(R.key, INFO + H, { length: 20 }); b.fill(0xaa, 20 + 51); return b; })(), 'eight padding bytes, garbage': (() => { const b = pad(R.key, INFO + H, { length: 11 }); b.fill(0, 11 + 51); return b; })(), 'seven padding bytes': (() => { const b = pad(R.key, INFO + H, { length: 10 }); b.fill(0, 10 + 51); return b; })(), 'all ff': pad(R.key, '', { zero: 0xff }), 'wrong digest': pad(R.key, INFO + hash('sha256', Buffer.alloc(3)).toString('hex')), 'value 2': Buffer.concat([Buffer.alloc(255), Buffer.from([2])]) };
  for (const [t, block] of Object.entries(crafted)) {
    const signature = R.key.raw(block);
    check(s, `rsa padding ${t}`, [R], signed(R, P, { signature }));
    check(s, `rsa padding ${t} with the certificate`, [R], signed(R, P, { version: 1, signature }, { certificates: [R.der] }));
  }
  const bytes256 = (v) => Buffer.from(v.toString(16).padStart(512, '0'), 'hex');
  for (const [t, v] of [['0', 0n], ['1', 1n], ['2', 2n], ['n - 2', R.key.n - 2n], ['n - 1', R.key.n - 1n], ['n', R.key.n], ['n + 1', R.key.n + 1n], ['all ones', (1n << 2048n) - 1n]]) check(s, `rsa signature ${t} with the certificate`, [R], signed(R, P, { version: 1, signature: bytes256(v) }, { certificates: [R.der] }));
  for (const [curve, label] of [['prime192v1', 'p192'], ['prime256v1', 'p256'], ['secp384r1', 'p384'], ['secp521r1', 'p521'], ['secp224r1', 'p224'], ['secp256k1', 'k256']]) {
    const c = caught(() => certificate(ecKey(curve), { cn: label }));
    if (!c) continue;
    for (const h of ['sha1', 'sha224', 'sha256', 'sha384', 'sha512']) check(s, `ecdsa ${label} ${h}`, [c], signed(c, P, { hash: h }));
    check(s, `ecdsa ${label} attributes`, [c], signed(c, P, { hash: 'sha512', attributes: true }));
    check(s, `ecdsa ${label} with its certificate`, [c], signed(c, P, { version: 1 }, { certificates: [c.der] }));
  }
  const sig = E.key.sign(P), [r, t] = splitECDSA(sig), n = CURVE_ORDER.prime256v1, rs = (a, b) => seq(uint(a), uint(b));
  const padTo = (v, k) => Buffer.from(v.toString(16).padStart(k * 2, '0'), 'hex');
  const forms = { 'high s': rs(r, n - t), 'r 0': rs(0n, t), 's 0': rs(r, 0n), 'r n': rs(n, t), 's n': rs(r, n), 'r n + 1': rs(n + 1n, t), 'r + n': rs(r + n, t), 'swapped': rs(t, r), 'trailing': cat(sig, '00'), 'trailing inside': seq(uint(r), uint(t), nul()), 'long length': tlvForm(1, 0x30, uint(r), uint(t)), 'indefinite': tlvForm('indef', 0x30, uint(r), uint(t)), 'primitive tag': cat('10', sig.subarray(1)), 'SET': cat('31', sig.subarray(1)), 'zeros in front to 32': seq(tlv(0x02, padTo(r, 32)), tlv(0x02, padTo(t, 32))), 'zeros in front to 33': seq(tlv(0x02, padTo(r, 33)), tlv(0x02, padTo(t, 33))), 'zeros in front to 34': seq(tlv(0x02, padTo(r, 34)), tlv(0x02, padTo(t, 34))), 'r of 33 bytes': seq(tlv(0x02, '01', padTo(r, 32)), uint(t)), 'r empty': seq(tlv(0x02), uint(t)), 'one integer': seq(uint(r)), 'raw': cat(padTo(r, 32), padTo(t, 32)), 'empty': Buffer.alloc(0), 'flipped': rs(r ^ 1n, t), 'r as octets': seq(oct(padTo(r, 32)), uint(t)) };
  for (const [label, signature] of Object.entries(forms)) {
    check(s, `ecdsa signature ${label}`, [E], signed(E, P, { signature }));
    check(s, `ecdsa signature ${label} with the certificate`, [E], signed(E, P, { version: 1, signature }, { certificates: [E.der] }));
  }
  const point = E.spki.subarray(-65), ecSPKI = (p, params = oid('1.2.840.10045.3.1.7')) => seq(seq(oid(O.ec), params), bits(p));
  for (const [label, spki] of [['compressed', ecSPKI(cat(Buffer.from([2 + (point[64] & 1)]), point.subarray(1, 33)))], ['hybrid', ecSPKI(cat(Buffer.from([6 + (point[64] & 1)]), point.subarray(1)))], ['off the curve', ecSPKI(cat(point.subarray(0, 64), Buffer.from([point[64] ^ 1])))], ['short', ecSPKI(point.subarray(0, 63))], ['even length', ecSPKI(point.subarray(0, 64))], ['zero', ecSPKI(cat('04', Buffer.alloc(64)))], ['infinity', ecSPKI(Buffer.from('00', 'hex'))], ['coordinates of 33 bytes', ecSPKI(cat('0400', point.subarray(1, 33), '00', point.subarray(33)))], ['p384 parameters', ecSPKI(point, oid('1.3.132.0.34'))], ['parameters absent', seq(seq(oid(O.ec)), bits(point))], ['parameters NULL', ecSPKI(point, nul())], ['parameters explicit', ecSPKI(point, seq(int(1)))], ['parameters with long length', ecSPKI(point, tlvForm(1, 0x06, oid('1.2.840.10045.3.1.7').subarray(2)))], ['empty', ecSPKI(Buffer.alloc(0))]]) {
    const c = certificate(E.key, { by: R, spki, cn: label, skid: hash('sha1', Buffer.from(`ec ${label}`)) });
    check(s, `ec point ${label}`, [c], signed(c, P));
    check(s, `ec point ${label} with its certificate`, [c], signed(c, P, { version: 1 }, { certificates: [c.der] }));
  }
  const kinds = { 'rsa key, ec signature': [R, E], 'ec key, rsa signature': [E, R] };
  for (const [label, [holder, signer]] of Object.entries(kinds)) check(s, label, [holder], signed({ ...signer, skid: holder.skid }, P));
  for (const kind of ['mldsa44', 'mldsa65', 'mldsa87']) {
    const key = mldsaKey(kind), own = certificate(key, { cn: kind }), issued = certificate(key, { by: R, cn: `${kind} issued` });
    check(s, `${kind} self-signed`, [own], signed(own, P));
    check(s, `${kind} issued by rsa`, [issued], signed(issued, P, { hash: 'sha512' }));
    check(s, `${kind} issued by rsa, attributes`, [issued], signed(issued, P, { hash: 'sha512', attributes: true }));
    if (kind === 'mldsa44') {
      check(s, `${kind} issued, attributes with sha256`, [issued], signed(issued, P, { hash: 'sha256', attributes: true }));
      check(s, `${kind} with its certificate`, [issued], signed(issued, P, { hash: 'sha512', version: 1 }, { certificates: [issued.der] }));
      check(s, `${kind} attributes, with its certificate`, [issued], signed(issued, P, { hash: 'sha512', version: 1, attributes: true }, { certificates: [issued.der] }));
    }
  }
}
// Certificates offered to a keyring.
{
  const key = rsaKey(2048), make = (o) => certificate(key, { cn: 'subject', ...o }).der, usage = (...b) => tlv(0x03, ...b.map((x) => Buffer.from([x])));
  offer('plain', make({}));
  offer('expired', make({ notBefore: utc('990101000000Z'), notAfter: utc('000101000000Z') }));
  offer('not yet valid', make({ notBefore: general('21000101000000Z'), notAfter: general('22000101000000Z') }));
  offer('ends before it begins', make({ notBefore: utc('300101000000Z'), notAfter: utc('200101000000Z') }));
  for (const [t, v] of [['before 1970', utc('690101000000Z')], ['general 2030', general('20300101000000Z')], ['general 1949', general('19490101000000Z')], ['without Z', utc('2401010000000')], ['octets', oct(Buffer.from('240101000000Z'))], ['hour 24', utc('240101240000Z')]]) { offer(`notBefore ${t}`, make({ notBefore: v })); offer(`notAfter ${t}`, make({ notAfter: v })); }
  offer('validity without an end', make({ validity: seq(utc('240101000000Z')) }));
  offer('validity of three', make({ validity: seq(utc('240101000000Z'), utc('240101000000Z'), utc('240101000000Z')) }));
  offer('validity empty', make({ validity: seq() }));
  offer('no key id', make({ skid: false, akid: false }));
  offer('key id long form', make({ skid: false, akid: false, extensions: [ext(O.skid, tlvForm(1, 0x04, 'aabbccdd'))] }));
  offer('key id twice', make({ extensions: [ext(O.skid, oct('aabb'))] }));
  offer('key id empty', make({ skid: false, akid: false, extensions: [ext(O.skid, oct())] }));
  offer('key id one byte', make({ skid: false, akid: false, extensions: [ext(O.skid, oct('aa'))] }));
  offer('key id of 127 bytes', make({ skid: Buffer.alloc(127, 0x33) }));
  offer('key id of 128 bytes', make({ skid: Buffer.alloc(128, 0x33) }));
  offer('key id with trailing', make({ skid: false, akid: false, extensions: [ext(O.skid, cat(oct('aabb'), '00'))] }));
  offer('key id as BIT STRING', make({ skid: false, akid: false, extensions: [ext(O.skid, tlv(0x03, 'aabb'))] }));
  const akids = { 'both parts': 'both', 'issuer only': 'issuer', 'other key id': seq(prim(0, '0011')), 'empty': seq(), 'empty key id': seq(prim(0)), 'not a sequence': oct('00'), 'junk': Buffer.from('ff', 'hex'), 'serial without issuer': seq(prim(2, '01')), 'general names': seq(ctx(1, prim(1, '6161'), prim(2, '6262'), ctx(3, oct('00')), ctx(4, name('subject')), ctx(5, ctx(1, oct('00'))), ctx(5, ctx(0, oct('00')), ctx(1, oct('00'))), prim(6, '63'), prim(7, '7f000001'), prim(8, '2a03'), ctx(0, oid('1.2.3'), ctx(0, oct('00')))), prim(2, '1001')), 'names empty': seq(ctx(1)), 'unknown name': seq(ctx(1, prim(9, '00'))), 'wrong order': seq(prim(2, '01'), prim(0, 'aa')), 'trailing': cat(seq(prim(0, 'aa')), '0500'), 'trailing inside': seq(prim(0, 'aa'), nul()), 'fourth member': seq(prim(0, 'aa'), prim(3, '00')) };
  for (const [t, v] of Object.entries(akids)) { offer(`authority key id, ${t}`, make({ akid: v })); offer(`authority key id, ${t}, not self-issued`, make({ akid: v, by: R })); }
  const self = (o) => { const skid = hash('sha1', key.spki), serial = Buffer.from('1234', 'hex'), subject = name('contradiction'); return make({ skid, serial, subjectDER: subject, issuerDER: subject, akid: seq(prim(0, o.id ?? skid), ctx(1, ctx(4, o.name ?? subject)), prim(2, o.serial ?? serial)) }); };
  offer('authority agrees', self({}));
  offer('authority key id differs', self({ id: Buffer.from('aa', 'hex') }));
  offer('authority serial differs', self({ serial: Buffer.from('55', 'hex') }));
  offer('authority both differ', self({ id: Buffer.from('aa', 'hex'), serial: Buffer.from('55', 'hex') }));
  for (const [t, v] of [['digitalSignature', usage(7, 0x80)], ['keyCertSign', usage(2, 0x04)], ['keyCertSign with 3 unused', usage(3, 0x04)], ['two bytes', usage(7, 0x04, 0x80)], ['unused 8', usage(8, 0x80)], ['empty', usage(0)], ['no bytes', usage()], ['octets', oct('0080')], ['encipherment', usage(5, 0x20)]]) offer(`key usage ${t}`, make({ usage: v }));
  for (const [t, v] of [['empty', seq()], ['true', seq(tlv(0x01, 'ff'))], ['true and path', seq(tlv(0x01, 'ff'), int(0))], ['false', seq(tlv(0x01, '00'))], ['true as 01', seq(tlv(0x01, '01'))], ['path only', seq(int(0))], ['not a sequence', tlv(0x01, 'ff')], ['long length', tlvForm(1, 0x30, tlv(0x01, 'ff'))], ['trailing', cat(seq(tlv(0x01, 'ff')), '00')], ['one byte', Buffer.from('30', 'hex')]]) offer(`basic constraints ${t}`, make({ basic: v }));
  offer('critical unknown extension', make({ extensions: [ext('1.2.3.4.5', oct('00'), true)] }));
  offer('extension twice', make({ extensions: [ext('1.2.3.4.5', oct('00')), ext('1.2.3.4.5', oct('00'))] }));
  offer('extension value as BIT STRING', make({ extensions: [seq(oid('1.2.3.4'), tlv(0x03, '00'))] }));
  offer('extension empty', make({ extensions: [seq()] }));
  offer('extensions empty', make({ skid: false, akid: false, afterKey: [ctx(3, seq())] }));
  offer('extensions of a second kind', make({ skid: false, akid: false, afterKey: [ctx(3, seq(ext('1.2.3', oct('00'))), seq())] }));
  offer('unique identifiers', make({ afterKey: [prim(1, '00aa'), prim(2, '00bb')] }));
  offer('unique identifiers swapped', make({ afterKey: [prim(2, '00aa'), prim(1, '00bb')] }));
  offer('version absent', make({ version: Buffer.alloc(0) }));
  offer('version 1', make({ version: ctx(0, int(0)) }));
  offer('version 99', make({ version: ctx(0, int(99)) }));
  offer('version as octets', make({ version: ctx(0, oct('02')) }));
  offer('version of two members', make({ version: ctx(0, int(2), int(2)) }));
  offer('serial negative', make({ serial: Buffer.from('ff', 'hex') }));
  offer('serial empty', make({ serial: Buffer.alloc(0) }));
  offer('serial of 200 bytes', make({ serial: Buffer.alloc(200, 0x11) }));
  for (const [t, v] of [['empty', seq()], ['empty rdn', seq(set())], ['rdn sequence', seq(seq(seq(oid(O.cn), tlv(0x0c, '41'))))], ['multi-valued', seq(set(seq(oid(O.cn), tlv(0x0c, '41')), seq(oid(O.org), tlv(0x0c, '42'))))], ['only e-mail', seq(rdn(O.email, 'a@b', 0x16))], ['only organisation', seq(rdn(O.org, 'Org'))], ['country only', seq(rdn('2.5.4.6', 'DE', 0x13))], ['common name begins with organisation', name('Example Signing', 'Example')], ['seven characters alike', name('ExampleSigning', 'Example Corp')], ['common name of 300 bytes', name('x'.repeat(300))], ['common name of 256 bytes', name('y'.repeat(256))], ['NUL inside', seq(rdn(O.cn, 'a\0b'))], ['UTF-8', name('Größe')], ['two common names', seq(rdn(O.cn, 'one'), rdn(O.cn, 'two'))], ['value is a sequence', seq(set(seq(oid(O.cn), seq(int(1)))))]]) offer(`name ${t}`, make({ subjectDER: v, issuerDER: v }));
  offer('trailing bytes', cat(make({}), 'deadbeef'));
  offer('trailing inside', seq(make({}).subarray(4), nul()));
  offer('PEM', Buffer.from(`-----BEGIN CERTIFICATE-----\n${make({}).toString('base64')}\n-----END CERTIFICATE-----\n`));
  offer('one byte', Buffer.from('30', 'hex'));
  offer('cut', make({}).subarray(0, 400));
  offer('length of three bytes', cat('3083', '0002f5', make({}).subarray(4)));
  offer('indefinite', cat('3080', make({}).subarray(4), '0000'));
  offer('outer algorithm differs', make({ outer: seq(oid(RSA_WITH.sha384), nul()) }));
  offer('outer algorithm parameters differ', make({ outer: seq(oid(RSA_WITH.sha256)) }));
  offer('inner algorithm unknown', make({ inner: seq(oid('1.2.3')) }));
  offer('outer algorithm unknown', make({ outer: seq(oid('1.2.3')) }));
  offer('signature with unused bits', make({ signatureBits: tlv(0x03, '01', Buffer.alloc(256)) }));
  offer('signature empty', make({ signatureBits: tlv(0x03) }));
  offer('signature absent', make({ signatureBits: Buffer.alloc(0) }));
  offer('signature without bytes', make({ signatureBits: bits() }));
  offer('signature as octets', make({ signatureBits: oct(Buffer.alloc(256)) }));
  offer('self-signature wrong', make({ signature: key.sign(Buffer.from('other')) }));
  offer('signature wrong, not self-issued', certificate(key, { by: R, signature: Buffer.alloc(3) }).der);
  for (const h of ['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3-256', 'sha3-384', 'sha3-512', 'md5']) offer(`signed with ${h}`, make({ hash: h }));
  for (const h of ['sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sha3-256']) { const c = caught(() => certificate(ecKey('prime256v1'), { hash: h, cn: `ec ${h}` })); if (c) offer(`ec signed with ${h}`, c.der); }
  for (const curve of ['prime192v1', 'secp224r1', 'prime256v1', 'secp384r1', 'secp521r1', 'secp256k1', 'brainpoolP256r1', 'brainpoolP384r1']) { const c = caught(() => certificate(ecKey(curve), { cn: curve })); if (c) offer(`ec ${curve}`, c.der); }
  offer('ed25519', certificate(ed25519Key()).der);
  offer('ed25519 key, rsa signature', certificate(ed25519Key(), { by: R }).der);
  offer('rsa key, ed25519 signature', certificate(key, { by: certificate(ed25519Key()) }).der);
  offer('rsa-pss', certificate(pssKey()).der);
  offer('rsa-pss key, rsa signature', certificate(pssKey(), { by: R }).der);
  offer('gost signature', make({ inner: seq(oid(O.gostSig256)) }));
  offer('gost key', certificate(key, { by: R, spki: seq(seq(oid(O.gostKey256)), bits('00')) }).der);
  for (const kind of ['mldsa44', 'mldsa65', 'mldsa87']) { offer(`${kind} self-signed`, certificate(mldsaKey(kind), { cn: kind }).der); offer(`${kind} issued by rsa`, certificate(mldsaKey(kind), { by: R, cn: kind }).der); }
  offer('rsa key issued by mldsa', certificate(key, { by: certificate(mldsaKey('mldsa44'), { cn: 'pq root' }) }).der);
  offer('65536 bytes', cat(make({}), Buffer.alloc(65536 - make({}).length)));
  offer('65535 bytes', cat(make({}), Buffer.alloc(65535 - make({}).length)));
}
// Chains.
{
  const s = 'chain', rootKey = rsaKey(2048), root = certificate(rootKey, { cn: 'root', basic: seq(tlv(0x01, 'ff')), usage: tlv(0x03, '0204') });
  const both = { akid: 'both' }, middle = certificate(rsaKey(2048), { cn: 'middle', by: root, ...both }), leaf = certificate(rsaKey(2048), { cn: 'leaf', by: middle, ...both, usage: tlv(0x03, '0520'), basic: seq() });
  const all = [leaf.der, middle.der, root.der], sign = (c, certs, so = {}) => signed(c, P, { version: 1, ...so }, { certificates: certs });
  for (const [k, keys] of [['none', []], ['root', [root]], ['middle', [middle]], ['leaf', [leaf]], ['root and leaf', [root, leaf]], ['stranger', [stranger]]]) {
    check(s, `all embedded, trust ${k}`, keys, sign(leaf, all));
    check(s, `leaf and middle embedded, trust ${k}`, keys, sign(leaf, [leaf.der, middle.der]));
    check(s, `leaf embedded, trust ${k}`, keys, sign(leaf, [leaf.der]));
    check(s, `nothing embedded, trust ${k}`, keys, sign(leaf, []));
    check(s, `by key id, all embedded, trust ${k}`, keys, sign(leaf, all, { version: 3 }));
    check(s, `middle missing, trust ${k}`, keys, sign(leaf, [leaf.der, root.der]));
    check(s, `reverse order, trust ${k}`, keys, sign(leaf, [...all].reverse()));
  }
  check(s, 'attributes, all embedded, trust root', [root], sign(leaf, all, { attributes: true }));
  check(s, 'signature wrong, all embedded', [root], sign(leaf, all, { signature: leaf.key.sign(Buffer.from('x')) }));
  const viaKeyID = certificate(leaf.key, { cn: 'leaf keyid', by: middle }), viaIssuer = certificate(leaf.key, { cn: 'leaf issuer', by: middle, akid: 'issuer' }), noAKID = certificate(leaf.key, { cn: 'leaf alone', by: middle, akid: false });
  for (const [t, c] of [['key id', viaKeyID], ['issuer', viaIssuer], ['nothing', noAKID]]) for (const [k, keys] of [['root', [root]], ['middle', [middle]], ['none', []]]) {
    check(s, `authority by ${t}, all embedded, trust ${k}`, keys, sign(c, [c.der, middle.der, root.der]));
    check(s, `authority by ${t}, leaf embedded, trust ${k}`, keys, sign(c, [c.der]));
  }
  const mixed = certificate(leaf.key, { cn: 'mixed', by: middle, akid: seq(prim(0, root.skid), ctx(1, ctx(4, middle.issuer)), prim(2, middle.serial)) });
  for (const [k, keys] of [['root', [root]], ['middle', [middle]]]) {
    check(s, `authority contradicts, all embedded, trust ${k}`, keys, sign(mixed, [mixed.der, middle.der, root.der]));
    check(s, `authority contradicts, leaf embedded, trust ${k}`, keys, sign(mixed, [mixed.der]));
  }
  const forgedLink = certificate(leaf.key, { cn: 'forged', by: { ...middle, key: stranger.key }, ...both }), emptyID = certificate(leaf.key, { cn: 'empty id', by: middle, akid: seq(prim(0)) });
  check(s, 'link signed by another key, all embedded', [root], sign(forgedLink, [forgedLink.der, middle.der, root.der]));
  check(s, 'link signed by another key, leaf embedded, trust middle', [middle], sign(forgedLink, [forgedLink.der]));
  check(s, 'link signed by another key, trust the leaf', [forgedLink], sign(forgedLink, [forgedLink.der]));
  check(s, 'empty authority key id, leaf embedded', [middle], sign(emptyID, [emptyID.der]));
  const shortLink = certificate(leaf.key, { cn: 'short', by: middle, ...both, signature: Buffer.alloc(8) }), zeroLink = certificate(ecKey('prime256v1'), { cn: 'zero r', by: E, akid: 'keyid', signature: seq(int(0), int(1)) });
  check(s, 'link of another length, all embedded', [root], sign(shortLink, [shortLink.der, middle.der, root.der]));
  check(s, 'link with r 0, embedded', [E], sign(zeroLink, [zeroLink.der, E.der]));
  const a = { key: rsaKey(2048), serial: Buffer.from('0a', 'hex'), subject: name('a'), skid: hash('sha1', Buffer.from('a')) }, b = { key: rsaKey(2048), serial: Buffer.from('0b', 'hex'), subject: name('b'), skid: hash('sha1', Buffer.from('b')) };
  const crossA = certificate(a.key, { by: b, serial: a.serial, subjectDER: a.subject, skid: a.skid }), crossB = certificate(b.key, { by: a, serial: b.serial, subjectDER: b.subject, skid: b.skid });
  for (const [k, keys] of [['none', []], ['a', [crossA]], ['b', [crossB]]]) check(s, `two that sign each other, trust ${k}`, keys, sign(crossA, [crossA.der, crossB.der]));
  const selfNamed = certificate(leaf.key, { cn: 'self by key id', by: root, skid: root.skid });
  check(s, 'certificate with its issuer\'s key id', [root], sign(selfNamed, [selfNamed.der, root.der]));
  const sha3 = caught(() => certificate(leaf.key, { cn: 'sha3 leaf', by: root, hash: 'sha3-256' }));
  if (sha3) for (const [k, keys] of [['root', [root]], ['leaf', [sha3]], ['none', []]]) check(s, `link with sha3, trust ${k}`, keys, sign(sha3, [sha3.der, root.der]));
  const sha3ec = caught(() => certificate(leaf.key, { cn: 'sha3 ec leaf', by: E, hash: 'sha3-256' }));
  if (sha3ec) check(s, 'link with ecdsa sha3', [E], sign(sha3ec, [sha3ec.der, E.der]));
  const sha3root = caught(() => certificate(rsaKey(2048), { cn: 'sha3 root', hash: 'sha3-256' }));
  if (sha3root) { const under = certificate(leaf.key, { cn: 'under sha3', by: sha3root }); for (const [k, keys] of [['root', [sha3root]], ['leaf', [under]], ['none', []]]) check(s, `sha3 root, trust ${k}`, keys, sign(under, [under.der, sha3root.der])); check(s, 'sha3 root signs itself, trust it', [sha3root], sign(sha3root, [sha3root.der])); check(s, 'sha3 root not embedded', [sha3root], signed(sha3root, P)); }
  const window = certificate(leaf.key, { cn: 'window', by: root, notBefore: utc('250101000000Z'), notAfter: utc('251231235959Z') });
  const timed = (t) => ({ version: 1, attributes: (l) => [...l, attribute(O.signingTime, t)] });
  for (const [t, v] of [['inside', utc('250601000000Z')], ['before', utc('241231235959Z')], ['after', utc('260101000000Z')], ['at the start', utc('250101000000Z')], ['at the end', utc('251231235959Z')]]) {
    check(s, `signingTime ${t}, certificate embedded`, [root], sign(window, [window.der], timed(v)));
    check(s, `signingTime ${t}, nothing embedded`, [window], sign(window, [], timed(v)));
  }
  check(s, 'signingTime outside, by key id', [window], signed(window, P, { attributes: (l) => [...l, attribute(O.signingTime, utc('300101000000Z'))] }, { certificates: [window.der] }));
  check(s, 'expired signer', [certificate(R.key, { cn: 'expired', notBefore: utc('990101000000Z'), notAfter: utc('000101000000Z') })], good);
  const sameKey = certificate(stranger.key, { cn: 'same id', skid: R.skid });
  check(s, 'key id of another key', [sameKey], good);
  check(s, 'two keys of one id, wrong one first', [sameKey, R], good);
  const signerA = signerInfo(R, P, { version: 3 }), wrongA = signerInfo(R, P, { signature: R.key.sign(Buffer.from('x')) }), unknown = signerInfo(stranger, P), sha3s = signerInfo(R, P, { hash: 'sha3-256' }), sm3s = signerInfo(R, P, { digestAlgorithm: seq(oid(O.sm3)) });
  const combos = { 'good, good': [signerA, signerA], 'good, wrong': [signerA, wrongA], 'wrong, good': [wrongA, signerA], 'good, unknown': [signerA, unknown], 'unknown, good': [unknown, signerA], 'unknown, unknown': [unknown, unknown], 'good, sha3': [signerA, sha3s], 'sha3, good': [sha3s, signerA], 'sha3, unknown': [sha3s, unknown], 'unknown, sha3': [unknown, sha3s], 'sha3, sm3': [sha3s, sm3s], 'sha3, wrong': [sha3s, wrongA], 'good, empty id': [signerA, signerInfo(R, P, { sid: prim(0) })], 'empty id, good': [signerInfo(R, P, { sid: prim(0) }), signerA], 'key id then issuer form': [signerA, signerInfo(R, P, { version: 3, sid: 'issuer' })], 'issuer form then key id': [signerInfo(R, P, { version: 3, sid: 'issuer' }), signerA] };
  for (const [t, list] of Object.entries(combos)) { check(s, `signers ${t}`, [R], message(list)); }
  const v1 = (c, o = {}) => signerInfo(c, P, { version: 1, ...o });
  check(s, 'signers with one embedded wrong', [R, leaf], message([v1(R), v1(leaf, { signature: Buffer.alloc(256, 2) })], { version: 1, certificates: [leaf.der] }));
  check(s, 'signers, one through a chain', [root], message([v1(R), v1(leaf)], { version: 1, certificates: all }));
  check(s, 'signers, both through one chain', [root], message([v1(leaf), v1(middle)], { version: 1, certificates: all }));
  check(s, 'signers, both through one unknown chain', [], message([v1(leaf), v1(middle)], { version: 1, certificates: all }));
  check(s, 'signers issuer form then key id form in version 1', [R], message([v1(R), v1(R, { sid: 'skid' })], { version: 1 }));
  check(s, 'self-signed embedded and trusted', [R], sign(R, [R.der]));
  check(s, 'self-signed embedded, unknown', [], sign(R, [R.der]));
  check(s, 'certificate twice', [root], sign(leaf, [leaf.der, leaf.der, middle.der, root.der]));
  const many = Array.from({ length: 9 }, () => certificate(R.key, { by: R, cn: 'x' }).der);
  check(s, 'nine unrelated certificates', [R], signed(R, P, {}, { certificates: many }));
  const chain = [root];
  for (let i = 0; i < 8; i++) chain.push(certificate(ecKey('prime256v1'), { cn: `c${i}`, by: chain.at(-1), akid: i % 2 ? 'both' : 'keyid' }));
  check(s, 'nine deep, trust root', [root], sign(chain.at(-1), chain.slice(1).map((c) => c.der)));
  check(s, 'nine deep, trust none', [], sign(chain.at(-1), chain.map((c) => c.der)));
}
writeFileSync(process.argv[2], lines.map((l) => JSON.stringify(l)).join('\n') + '\n');
process.stderr.write(`${names.size} cases\n`);
