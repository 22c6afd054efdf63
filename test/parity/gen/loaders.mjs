#!/usr/bin/env node
// Every fixture's loader, with the verifier's log of the loader itself and of the last program that it loads, as a transcript
// without answers: loaders.mjs > IN.jsonl; then ../record.mjs IN.jsonl ../data/loaders.jsonl.gz
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { SESSION, Transcript, context, fixtures, skeleton, taken } from './build.mjs';

const t = new Transcript();
for (const kind of ['unsigned', 'signed']) {
  for (const file of readdirSync(join(fixtures, kind)).toSorted()) {
    // the recorded kernel has no ECDSA, and one RSA key is enough here
    if (file.split('.').length > 3) continue;
    const name = file.split('.')[0], skel = skeleton(`${kind}/${file}`), isSigned = kind === 'signed';
    for (const level of kind === 'signed' ? [1] : [1, 2]) {
      t.case(`${kind}/${name}/log${level}`, 'loaders');
      if (isSigned) t.key();
      t.metadata(0, skel.data, skel.digest, { exclusive: isSigned });
      t.progLoad({ insns: skel.insns, name: '__loader.prog', fdArray: [0], log: level, logSize: 1 << 23, save: 1, ...(isSigned ? { signature: skel.signature, keyring: SESSION, bound: 1 } : {}) });
      const ctx = context(skel);
      ctx.writeUInt32LE(level, 8); ctx.writeUInt32LE(1 << 22, 12);
      t.run(1, ctx, { take: taken(skel), logptr: [[48, 16, 1 << 22]], ignore: { 48: [[16, 8]] } });
      // the tag covers the address of a kernel symbol, which is another on every boot
      for (let i = 0; i < skel.progs; i++) t.progInfo(200 + i, name === 'kfuncs' ? [[8, 8]] : []);
    }
  }
}
process.stdout.write(t.text());
