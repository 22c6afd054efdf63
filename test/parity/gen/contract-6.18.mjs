#!/usr/bin/env node
// The contract before 7.3 (the signature covers the instructions, the loader checks the hash of its metadata), as a transcript
// without answers: contract-6.18.mjs > IN.jsonl; then ../record.mjs IN.jsonl ../data/contract-7.2.jsonl.gz with an oracle that boots
// Debian's 7.2.12; the rows of acceptance.mjs alone (`--rows`) also with its 6.18.15, into ../data/contract-6.18.15.jsonl.gz. Loaders that
// bpftool 7.2 makes are refused by 6.18.15 (EACCES): they read the word `excl` of struct bpf_map, which is not in 6.18.15 yet.
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SESSION, Transcript, context, sha256, sign, skeleton, taken, u32 } from './build.mjs';

const t = new Transcript();
const LOG = { log: 1, logSize: 1 << 16 };
/** User space of 6.18: the metadata map, its hash asked for, then the load that binds no map. */
function prepare(skel, { data = skel.data, asksForHash = true, metadata = {}, key = true } = {}) {
  if (key) t.key();
  t.metadata(0, data, skel.digest, metadata);
  if (asksForHash) t.mapInfo(0, 32);
}
const load = (skel, more = {}) => t.progLoad({ insns: skel.insns, name: '__loader.prog', license: 'Dual BSD/GPL', signature: skel.signature, keyring: SESSION, fdArray: [0], save: 1, ...more });
const run = (skel, ctx = context(skel), rest = {}) => t.run(1, ctx, { take: taken(skel), ...rest });
const row = (name, desc) => t.case(`in-loader/${name}`, 'contract', desc);

for (const name of ['nomap', 'onemap', 'runnable']) {
  const skel = skeleton(`in-loader-check/${name}.lskel.h`);
  row(`${name}/loads`, 'as the user space of 6.18 does it');
  prepare(skel); load(skel); run(skel); for (let i = 0; i < skel.maps; i++) t.mapInfo(100 + i);
  row(`${name}/log`, 'the same with the signature step logged');
  prepare(skel); load(skel, LOG);
  row(`${name}/hash not asked for`, 'the kernel has not computed the hash that the loader reads');
  prepare(skel, { asksForHash: false }); load(skel); run(skel);
  row(`${name}/metadata changed`, 'one byte');
  for (const at of [0, Math.floor(skel.data.length / 2), skel.data.length - 1]) {
    const data = Buffer.from(skel.data); data[at] ^= 1;
    prepare(skel, { data }); load(skel); run(skel);
  }
  row(`${name}/not exclusive`, 'anybody may share the metadata map');
  prepare(skel, { metadata: { exclusive: false } }); load(skel); run(skel);
  row(`${name}/not frozen`, 'no hash then');
  prepare(skel, { metadata: { freeze: false } }); load(skel); run(skel);
  row(`${name}/map bound`, 'fd_array_cnt 1');
  prepare(skel); load(skel, { bound: 1 }); run(skel);
  row(`${name}/unsigned`, 'the same loader without its signature');
  prepare(skel); load(skel, { signature: undefined, keyring: 0 }); run(skel);
  row(`${name}/signature of another`, 'signed over instructions and metadata, as for 7.3');
  prepare(skel); load(skel, { signature: sign(Buffer.concat([skel.insns, skel.data])) }); load(skel, { signature: sign(Buffer.concat([skel.insns, skel.data])), bound: 1 });
  row(`${name}/no key`, 'nobody trusts the signer');
  prepare(skel, { key: false }); load(skel); load(skel, { keyring: 0 }); load(skel, { keyring: 1 }); load(skel, { keyring: 2 });
  row(`${name}/instruction changed`, 'the map is exclusive to the changed program');
  {
    const insns = Buffer.from(skel.insns); insns[Math.floor(insns.length / 2)] ^= 1;
    const changed = { ...skel, insns, digest: sha256(insns) };
    prepare(changed); load(changed);
  }
  row(`${name}/max_entries from the context`, 'a signed loader ignores it');
  prepare(skel); load(skel); run(skel, context(skel, { maxEntries: 0x4000 })); for (let i = 0; i < skel.maps; i++) t.mapInfo(100 + i);
}
{
  const skel = skeleton('signed/onemap.lskel.h');
  row('7.3/load-time skeleton', 'made for 7.3: the signature covers more than 6.18 asks about');
  prepare(skel); load(skel, { bound: 1 }); load(skel); t.metadata(0, skel.data, skel.digest); load(skel, { signature: sign(skel.insns) }); run(skel); t.lookup(100, u32(0), 8);
}
if (!process.argv.includes('--rows')) process.stdout.write(t.text());
// The rows of the 7.3 contract, asked of 6.18. What a hook sees there has no verdict; one row loads a payload that the verifier of
// 6.18 does not accept yet.
const NOT_ASKED = new Set(['26_lsm_verdict', '15_ctx_initial_value_unsigned']);
let asked = true;
for (const line of execFileSync(process.execPath, [join(dirname(fileURLToPath(import.meta.url)), 'acceptance.mjs')], { encoding: 'utf8', maxBuffer: 1 << 28 }).split('\n').filter(Boolean)) {
  const o = JSON.parse(line);
  if (o.case !== undefined) asked = !NOT_ASKED.has(o.case);
  if (o.blob !== undefined || asked) process.stdout.write(`${line}\n`);
}
