#!/usr/bin/env node
// Single-bit flips of signed loaders, as a transcript without answers:
//   flips-fixtures.mjs > IN.jsonl; then ../record.mjs IN.jsonl ../data/flips-fixtures.jsonl.gz
import { SESSION, Transcript, sha256, skeleton } from './build.mjs';

const t = new Transcript();
let state = 20251121;
const below = (n) => { state ^= state << 13; state ^= state >>> 17; state ^= state << 5; return (state >>> 0) % n; };
const flip = (bytes, bit) => { const copy = Buffer.from(bytes); copy[bit >> 3] ^= 1 << (bit & 7); return copy; };
/** The kernel's digest: instructions with the fds of maps and what follows them zeroed. */
const digest = (insns) => { const copy = Buffer.from(insns); for (let i = 0; i + 16 <= copy.length; i += 8) if (copy[i] === 0x18 && [1, 2].includes(copy[i + 1] >> 4)) { copy.writeInt32LE(0, i + 4); copy.writeInt32LE(0, i + 12); i += 8; } return sha256(copy); };
for (const name of ['nomap', 'onemap', 'globals', 'runnable']) {
  const skel = skeleton(`signed/${name}.lskel.h`);
  // bits 4 to 7 of a register byte choose the kind of a 16-byte load: the first such load gets all of them
  const load = skel.insns.findIndex((byte, i) => i % 8 === 0 && byte === 0x18);
  const bits = [...[4, 5, 6, 7].map((bit) => 8 * (load + 1) + bit), ...Array.from({ length: 16 }, () => below(8 * skel.insns.length))];
  const attempt = (insns, data) => { t.metadata(0, data, digest(insns)); t.progLoad({ insns, name: '__loader.prog', signature: skel.signature, keyring: SESSION, fdArray: [0], bound: 1, log: 1, logSize: 4096 }); };
  t.case(`insns/${name}`, 'flips-fixtures'); t.key(); attempt(skel.insns, skel.data); for (const bit of bits) attempt(flip(skel.insns, bit), skel.data);
  t.case(`metadata/${name}`, 'flips-fixtures'); t.key(); for (let i = 0; i < 20; i++) attempt(skel.insns, flip(skel.data, below(8 * skel.data.length)));
}
process.stdout.write(t.text());
