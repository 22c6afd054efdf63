#!/usr/bin/env node
// Asks a real kernel about every single-bit flip of four signatures and of the program they sign:
//   flips.mjs OUT.json.gz
// Answers are kept as one byte a bit (the error number), deflated with the rest. BPFTWIN_ORACLE as for record.mjs.
import { join, resolve } from 'node:path';
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { certificate, ecKey, rsaKey, seq, signed, tlv } from './cms.mjs';

const oracle = resolve(process.env.BPFTWIN_ORACLE ?? (() => { throw new Error('set BPFTWIN_ORACLE to the folder of oracle.mjs'); })());
const { perform } = await import(join(oracle, 'oracle.mjs'));
const program = Buffer.from('b7000000000000009500000000000000', 'hex');

function load(signature, insns = program) {
  const attr = Buffer.alloc(168);
  attr.writeUInt32LE(1, 0);
  attr.writeUInt32LE(insns.length / 8, 4);
  attr.writeUInt32LE(signature.length, 160);
  attr.writeInt32LE(-3, 164);
  return { op: 'bpf', cmd: 'PROG_LOAD', attr: attr.toString('hex'), in: { 8: insns.toString('hex'), 16: '47504c00', 152: signature.toString('hex') } };
}
function* flips(bytes) {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] ^= 1 << (bit & 7);
    yield flipped;
  }
}
const signer = certificate(rsaKey(2048), { cn: 'signer' }), root = certificate(rsaKey(2048), { cn: 'root', basic: seq(tlv(0x01, 'ff')) });
const middle = certificate(rsaKey(2048), { cn: 'middle', by: root, akid: 'both' }), leaf = certificate(rsaKey(2048), { cn: 'leaf', by: middle, akid: 'both' });
const ecMiddle = certificate(ecKey('prime256v1'), { cn: 'ec middle', by: root }), ecLeaf = certificate(ecKey('prime256v1'), { cn: 'ec leaf', by: ecMiddle, akid: 'both' });
const blobs = [
  { name: 'rsa', keys: [signer], blob: signed(signer, program) },
  { name: 'rsa attributes', keys: [signer], blob: signed(signer, program, { attributes: true }) },
  { name: 'rsa chain', keys: [root], blob: signed(leaf, program, { version: 1 }, { certificates: [leaf.der, middle.der] }) },
  { name: 'ecdsa chain', keys: [root], blob: signed(ecLeaf, program, { version: 1 }, { certificates: [ecLeaf.der, ecMiddle.der] }) },
];
const ops = [];
for (const { name, keys, blob } of blobs) {
  ops.push({ case: name, suite: 'flips', mode: 'priv' }, ...keys.map((k, i) => ({ op: 'key', name: `k${i}`, der: k.der.toString('hex') })), load(blob));
  for (const flipped of flips(blob)) ops.push(load(flipped));
  for (const flipped of flips(program)) ops.push(load(blob, flipped));
}
process.stderr.write(`${ops.length} operations\n`);
perform({ blobs: new Map(), ops });
const result = [];
for (const op of ops) {
  if (op.case !== undefined) result.push({ name: op.case, answers: [] });
  else if (op.op === 'bpf') result.at(-1).answers.push(op.want.errno);
}
const out = blobs.map(({ name, keys, blob }, i) => {
  const [whole, ...answers] = result[i].answers, bytes = Buffer.from(answers);
  process.stderr.write(`${name}: whole ${whole}, accepted ${answers.slice(0, blob.length * 8).filter((e) => e === 0).length} of ${blob.length * 8}, of the program ${answers.slice(blob.length * 8).filter((e) => e === 0).length}\n`);
  return { name, keys: keys.map((k) => k.der.toString('hex')), program: program.toString('hex'), blob: blob.toString('hex'), whole, flips: bytes.subarray(0, blob.length * 8).toString('base64'), programFlips: bytes.subarray(blob.length * 8).toString('base64') };
});
writeFileSync(process.argv[2], gzipSync(JSON.stringify(out), { level: 9 }));
