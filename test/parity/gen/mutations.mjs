#!/usr/bin/env node
// Writes a transcript of signatures and certificates changed at random, element by element: deleted, doubled, swapped, retagged,
// wrapped, with other lengths and contents. Answers come from test/parity/record.mjs or oracle.mjs.
//   mutations.mjs SEED COUNT OUT.jsonl
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { O, attribute, cat, certificate, ctx, ecKey, int, length, message, name, oct, oid, prim, rsaKey, seq, signed, signerInfo, tlv, utc } from './cms.mjs';

let state = Number(process.argv[2]) >>> 0 || 1;
const random = (n) => { state ^= state << 13; state >>>= 0; state ^= state >>> 17; state ^= state << 5; state >>>= 0; return state % n; };
const pick = (list) => list[random(list.length)];
const program = Buffer.from('b7000000000000009500000000000000', 'hex');

/** A tree of elements; primitive content that is itself an element stays bytes. */
function parse(bytes, from = 0, to = bytes.length) {
  const nodes = [];
  for (let at = from; at < to;) {
    const tag = bytes[at], first = bytes[at + 1];
    let n = first, start = at + 2;
    if (first > 0x80) { n = bytes.readUIntBE(start, first & 0x7f); start += first & 0x7f; }
    const end = start + n;
    nodes.push(tag & 0x20 ? { tag, children: parse(bytes, start, end) } : { tag, bytes: bytes.subarray(start, end) });
    at = end;
  }
  return nodes;
}
function encode(node) {
  const content = node.children ? cat(node.children.map(encode)) : node.bytes;
  if (node.form === 'indefinite') return cat(Buffer.from([node.tag, 0x80]), content, '0000');
  const n = Math.max(0, content.length + (node.wrong ?? 0));
  return cat(Buffer.from([node.tag]), length(n, node.form), content);
}
const all = (node, out = []) => { for (const child of node.children ?? []) { out.push([node, child]); all(child, out); } return out; };
const TAGS = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x10, 0x11, 0x13, 0x17, 0x18, 0x1f, 0x30, 0x31, 0x80, 0x81, 0x82, 0x83, 0xa0, 0xa1, 0xa2, 0xa3, 0x00, 0x24];
const OIDS = Object.values(O).map((dotted) => oid(dotted).subarray(2));

function mutate(der, donors) {
  const [root] = parse(der), count = 1 + random(3);
  for (let i = 0; i < count; i++) {
    const places = all(root), [parent, node] = pick(places), at = parent.children.indexOf(node);
    switch (random(14)) {
      case 0: parent.children.splice(at, 1); break;
      case 1: parent.children.splice(at, 0, structuredClone(node)); break;
      case 2: node.tag = pick(TAGS); break;
      case 3: node.tag ^= pick([0x20, 0x01, 0x40, 0x80]); break;
      case 4: { const other = random(parent.children.length); [parent.children[at], parent.children[other]] = [parent.children[other], parent.children[at]]; break; }
      case 5: parent.children[at] = { tag: pick([0x30, 0x31, 0xa0, 0xa1, 0xa2, 0xa3]), children: [node] }; break;
      case 6: node.form = pick([1, 2, 3, 'indefinite']); break;
      case 7: node.wrong = pick([-1, 1, 2, 100]); break;
      case 8: if (node.bytes) node.bytes = Buffer.from(node.bytes.subarray(0, random(node.bytes.length + 1))); else node.children = node.children.slice(0, random(node.children.length + 1)); break;
      case 9: if (node.bytes?.length) { const b = Buffer.from(node.bytes); b[random(b.length)] = random(256); node.bytes = b; } break;
      case 10: parent.children.splice(random(parent.children.length + 1), 0, structuredClone(pick(all(parse(pick(donors))[0]))[1])); break;
      case 11: if (node.tag === 0x06) node.bytes = pick(OIDS); else if (node.children) node.children = []; break;
      case 12: if (node.bytes) node.bytes = cat(node.bytes, Buffer.alloc(1 + random(3))); break;
      default: parent.children[at] = structuredClone(pick(all(parse(pick(donors))[0]))[1]);
    }
    for (const entry of all(root)) for (const part of entry) if (part.bytes && !Buffer.isBuffer(part.bytes)) part.bytes = Buffer.from(part.bytes);
  }
  const out = encode(root);
  return random(20) === 0 ? out.subarray(0, random(out.length + 1)) : out;
}

const signer = certificate(rsaKey(2048), { cn: 'signer', org: 'Example' }), root = certificate(rsaKey(1024), { cn: 'root', basic: seq(tlv(0x01, 'ff')), usage: tlv(0x03, '0204') });
const leaf = certificate(rsaKey(1024), { cn: 'leaf', by: root, akid: 'both', usage: tlv(0x03, '0780') }), viaKeyID = certificate(leaf.key, { cn: 'leaf 2', by: root });
const ec = certificate(ecKey('prime256v1'), { cn: 'ec', by: root });
const timed = (list) => [...list, attribute(O.signingTime, utc('260101000000Z')), attribute('1.2.3.4', oct('00'), int(1))];
const bases = [
  signed(signer, program), signed(signer, program, { attributes: true }), signed(signer, program, { attributes: timed }), signed(signer, program, { version: 1 }),
  signed(leaf, program, { version: 1 }, { certificates: [leaf.der, root.der] }), signed(viaKeyID, program, { version: 1, attributes: timed }, { certificates: [root.der, viaKeyID.der] }),
  message([signerInfo(signer, program), signerInfo(leaf, program)]), signed(signer, program, { unsigned: [ctx(1, attribute('1.2.3', oct('00')))] }), signed(ec, program, { version: 1 }, { certificates: [ec.der] }),
  message([signerInfo(signer, program, { sequence: true })], { certificates: Buffer.from(ctx(2, leaf.der)), crls: ctx(1, seq(root.der)) }),
];
const certificates = [signer.der, root.der, leaf.der, ec.der, certificate(leaf.key, { cn: 'many', by: root, akid: seq(prim(0, root.skid), ctx(1, prim(1, '6161'), ctx(4, name('x'))), prim(2, '01')), afterKey: [prim(1, '00aa')], extensions: [seq(oid('1.2.3'), tlv(0x01, 'ff'), oct('00'))] }).der];

const lines = [], hex = (b) => Buffer.from(b).toString('hex');
const attrOf = (size) => { const a = Buffer.alloc(168); a.writeUInt32LE(1, 0); a.writeUInt32LE(2, 4); a.writeUInt32LE(size, 160); a.writeInt32LE(-3, 164); return hex(a); };
for (let i = 0; i < Number(process.argv[3]); i++) {
  const asCertificate = random(3) === 0, blob = asCertificate ? mutate(pick(certificates), certificates) : mutate(pick(bases), [...bases, ...certificates]);
  lines.push({ case: `${asCertificate ? 'certificate' : 'message'} ${i}`, suite: 'mutations', mode: 'priv' });
  if (asCertificate) lines.push({ op: 'key', name: 'k', der: hex(blob) });
  else {
    const keys = pick([[signer], [root], [leaf], [signer, root], [signer, leaf]]);
    keys.forEach((key, k) => lines.push({ op: 'key', name: `k${k}`, der: `@${createHash('sha256').update(key.der).digest('hex').slice(0, 8)}` }));
    lines.push({ op: 'bpf', cmd: 'PROG_LOAD', attr: attrOf(blob.length), in: { 8: hex(program), 16: '47504c00', 152: hex(blob) } });
  }
}
const blobs = [signer, root, leaf].map((c) => ({ blob: createHash('sha256').update(c.der).digest('hex').slice(0, 8), hex: hex(c.der) }));
const resolve = (line) => line.op === 'key' && line.der.startsWith('@') ? { ...line, der: blobs.find(({ blob }) => blob === line.der.slice(1)).hex } : line;
writeFileSync(process.argv[4], [...blobs, ...lines.map(resolve)].map((line) => JSON.stringify(line)).join('\n') + '\n');
