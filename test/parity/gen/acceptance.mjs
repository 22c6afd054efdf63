#!/usr/bin/env node
// The signing contract, row by row, as a transcript without answers: acceptance.mjs > IN.jsonl; then ../record.mjs IN.jsonl ../data/acceptance.jsonl
import { createHash } from 'node:crypto';
import { F, I, MAP, PROG, SESSION, Transcript, certificate, context, prog, sign, skeleton, taken, u32 } from './build.mjs';

const t = new Transcript();
const nomap = skeleton('signed/nomap.lskel.h'), onemap = skeleton('signed/onemap.lskel.h'), globals = skeleton('signed/globals.lskel.h');
const junk = Buffer.alloc(64); Buffer.from('30421337', 'hex').copy(junk);
const LOG = { log: 1, logSize: 1 << 16 };
const loader = (skel, more = {}) => ({ insns: skel.insns, name: '__loader.prog', license: 'Dual BSD/GPL', ...more });
const signed = (skel, more = {}) => loader(skel, { signature: skel.signature, keyring: SESSION, fdArray: [0], bound: 1, ...more });
const row = (n, name, desc) => t.case(`${String(n).padStart(2, '0')}_${name}`, 'acceptance', desc);
const runLoader = (skel, ctx = context(skel), rest = {}) => t.run(1, ctx, { take: taken(skel), ...rest });
const admit = (skel, more) => { t.key(); t.metadata(0, skel.data, skel.digest); t.progLoad(signed(skel, { save: 1, ...more })); };

row(1, 'loadtime_no_map', 'no map in the object; signed over insns and metadata');
admit(nomap); runLoader(nomap); t.progInfo(200);
row(1, 'loadtime_no_map_log', 'the same with the log of level 1');
admit(nomap, LOG);
row(2, 'loadtime_with_map', 'one map in the object');
admit(onemap); runLoader(onemap); t.mapInfo(100); t.progInfo(200); for (let i = 0; i < 4; i++) t.lookup(100, u32(i), 8);
row(2, 'loadtime_with_data', '.rodata, .data and .bss in the object');
admit(globals); runLoader(globals); for (let i = 0; i < 3; i++) { t.mapInfo(100 + i); t.lookup(100 + i, u32(0), 64); } t.progInfo(200);
row(3, 'metadata_match', 'unsigned, exclusive frozen metadata');
t.metadata(0, nomap.data, nomap.digest); t.progLoad(loader(nomap, { fdArray: [0], save: 1 })); runLoader(nomap); t.progInfo(200);
row(4, 'signature_enforced', 'junk signature, no map bound');
t.progLoad(loader(nomap, { signature: junk, keyring: SESSION, fdArray: [-1] }));
row(5, 'nonexclusive', 'frozen, not exclusive map in fd_array');
t.metadata(0, nomap.data, nomap.digest, { exclusive: false, name: 'nonexcl' }); t.progLoad(signed(nomap, { signature: junk })); t.progLoad(signed(nomap, { signature: junk, ...LOG }));
row(6, 'unfrozen', 'exclusive, not frozen');
t.metadata(0, nomap.data, nomap.digest, { freeze: false, name: 'unfrozen' }); t.progLoad(signed(nomap, { signature: junk })); t.progLoad(signed(nomap, { signature: junk, ...LOG }));
row(7, 'nonarray', 'exclusive hash map');
t.mapCreate({ type: MAP.HASH, value: 4, name: 'excl_hash', exclusive: nomap.digest, save: 0 }); t.progLoad(signed(nomap, { signature: junk })); t.progLoad(signed(nomap, { signature: junk, ...LOG }));
row(8, 'btf_in_fd_array', 'valid signature, a BTF fd as second entry');
t.key(); t.metadata(0, nomap.data, nomap.digest);
const btf = Buffer.concat([Buffer.from('9feb0100180000000000000010000000100000000500000000', 'hex').subarray(0, 24), Buffer.from('01000000000000010400000020000001', 'hex'), Buffer.from('\0int\0', 'latin1')]);
t.bpf('BTF_LOAD', Buffer.concat([Buffer.alloc(16), u32(btf.length), Buffer.alloc(20)]), { in: { 0: btf.toString('hex') }, save: 2 });
t.progLoad(signed(nomap, { fdArray: [0, 2], bound: 2 })); t.progLoad(signed(nomap, { fdArray: [0, 2], bound: 2, ...LOG }));
row(9, 'module_kfunc', 'signed, kfunc call with a module BTF at index 1, fd_array_cnt 0');
t.key();
const kfunc = prog(I.callKfunc(1, 1), I.mov(0, 0), I.exit());
t.bpf('BTF_LOAD', Buffer.concat([Buffer.alloc(16), u32(btf.length), Buffer.alloc(20)]), { in: { 0: btf.toString('hex') }, save: 2 });
t.progLoad({ insns: kfunc, signature: sign(kfunc), keyring: SESSION, fdArray: [-1, 2] }); t.progLoad({ insns: kfunc, signature: sign(kfunc), keyring: SESSION, fdArray: [-1, 2], license: 'GPL', ...LOG });
row(10, 'failure_logs', 'junk signature, log level 1');
t.progLoad(loader(nomap, { signature: junk, keyring: SESSION, log: 1, logSize: 1024 }));
row(11, 'too_large', 'signature_size 64 MiB');
t.progLoad(loader(nomap, { signature: Buffer.alloc(64), signatureSize: 64 << 20, keyring: SESSION, fdArray: [-1] }));
for (const size of [8191, 8192, 8193]) t.progLoad(loader(nomap, { signature: Buffer.alloc(8200), signatureSize: size, keyring: SESSION, fdArray: [-1], ...LOG }));
row(12, 'zero_size', 'signature_size 0');
t.progLoad(loader(nomap, { signature: Buffer.alloc(64), signatureSize: 0, keyring: SESSION, fdArray: [-1] }));
row(13, 'bad_keyring', 'keyring_id 2147483647');
t.progLoad(loader(nomap, { signature: Buffer.alloc(64), keyring: 0x7fffffff, fdArray: [-1] })); t.progLoad(loader(nomap, { signature: Buffer.alloc(64), keyring: 0x7fffffff, fdArray: [-1], ...LOG }));
for (const keyring of [0, 1, 2, 3, -1, -2, -4, -5, -6, -7, -8, -9]) t.progLoad(loader(nomap, { signature: junk, keyring, fdArray: [-1], ...LOG }));
row(14, 'ctx_max_entries', 'signed loader, every max_entries of the context set to 0x4000');
admit(onemap); runLoader(onemap, context(onemap, { maxEntries: 0x4000 })); t.mapInfo(100);
row(14, 'ctx_max_entries_unsigned', 'unsigned loader code honours it');
const plain = skeleton('unsigned/onemap.lskel.h');
t.metadata(0, plain.data, plain.digest, { exclusive: false }); t.progLoad(loader(plain, { fdArray: [0], save: 1 })); runLoader(plain, context(plain, { maxEntries: 0x4000 })); t.mapInfo(100);
row(15, 'ctx_initial_value', 'signed loader, every initial_value of the context points at 0xAA bytes');
admit(globals);
const evil = Array.from({ length: 3 }, (_, i) => [48, 24 + 16 * i + 8, 'aa'.repeat(64)]);
const addresses = { 48: [[32, 8], [48, 8], [64, 8]] };
runLoader(globals, context(globals), { inptr: evil, ignore: addresses }); for (let i = 0; i < 3; i++) t.lookup(100 + i, u32(0), 64);
row(15, 'ctx_initial_value_unsigned', 'unsigned loader code honours it');
const plainGlobals = skeleton('unsigned/globals.lskel.h');
t.metadata(0, plainGlobals.data, plainGlobals.digest, { exclusive: false }); t.progLoad(loader(plainGlobals, { fdArray: [0], save: 1 })); runLoader(plainGlobals, context(plainGlobals), { inptr: evil, ignore: addresses }); for (let i = 0; i < 3; i++) t.lookup(100 + i, u32(0), 64);
row(16, 'authenticates_insns', 'one byte of the instructions flipped, map bound to the flipped digest');
{
  const flipped = Buffer.from(nomap.insns); flipped[Math.floor(flipped.length / 2)] ^= 0xff;
  const { sha256 } = await import('./build.mjs');
  t.key(); t.metadata(0, nomap.data, sha256(flipped)); t.progLoad(signed({ ...nomap, insns: flipped })); t.progLoad(signed({ ...nomap, insns: flipped }, LOG));
  t.metadata(0, nomap.data, nomap.digest); t.progLoad(signed(nomap, { save: 1 })); runLoader(nomap);
}
row(17, 'authenticates_metadata', 'one byte of the metadata flipped');
{
  const flipped = Buffer.from(nomap.data); flipped[Math.floor(flipped.length / 2)] ^= 0xff;
  t.key(); t.metadata(0, flipped, nomap.digest); t.progLoad(signed(nomap)); t.progLoad(signed(nomap, LOG));
  t.metadata(0, nomap.data, nomap.digest); t.progLoad(signed(nomap, { save: 1 })); runLoader(nomap);
}
const any = Buffer.alloc(32); any[0] = 1;
const array = (o = {}) => t.mapCreate({ type: MAP.ARRAY, value: 64, name: 'md', exclusive: any, save: 0, ...o });
row(18, 'hash_requires_frozen', 'map hash of an unfrozen map');
array(); t.update(0, u32(0), Buffer.alloc(64)); t.mapInfo(0, 32);
row(19, 'no_update_after_freeze', 'update of a frozen map');
array(); t.update(0, u32(0), Buffer.alloc(64)); t.freeze(0); t.update(0, u32(0), Buffer.alloc(64)); t.freeze(0); t.remove(0, u32(0)); t.lookup(0, u32(0), 64);
row(20, 'freeze_writable_mmap', 'freeze while a writable mapping exists');
array({ flags: F.MMAPABLE, value: 4096 }); t.op({ op: 'mmap', slot: 0, size: 4096, prot: 3 }); t.freeze(0); t.op({ op: 'munmap' }); t.freeze(0);
row(21, 'no_writable_mmap_frozen', 'writable mapping of a frozen map');
array({ flags: F.MMAPABLE, value: 4096 }); t.freeze(0); t.op({ op: 'mmap', slot: 0, size: 4096, prot: 3 }); t.op({ op: 'mmap', slot: 0, size: 4096, prot: 1 });
row(22, 'map_hash_matches', 'hash of a frozen 64-byte element');
const bytes = Buffer.from(Array.from({ length: 64 }, (_, i) => (i * 7 + 1) & 255));
array({ exclusive: undefined, name: 'h' }); t.update(0, u32(0), bytes); t.freeze(0); t.mapInfo(0, 32);
row(23, 'map_hash_multi_element', '8 elements of 64 bytes');
array({ exclusive: undefined, name: 'h', max: 8 }); for (let i = 0; i < 8; i++) t.update(0, u32(i), Buffer.from(Array.from({ length: 64 }, (_, j) => (i * 31 + j * 7 + 1) & 255))); t.freeze(0); t.mapInfo(0, 32);
row(23, 'map_hash_padded_elements', '3 elements of 5 bytes: elements are padded to 8');
array({ exclusive: undefined, name: 'h', value: 5, max: 3 }); for (let i = 0; i < 3; i++) t.update(0, u32(i), Buffer.from([1, 2, 3, 4, i])); t.freeze(0); t.mapInfo(0, 32);
row(24, 'map_hash_bad_size', 'hash_size 16');
array({ exclusive: undefined, name: 'h' }); t.update(0, u32(0), Buffer.alloc(64)); t.freeze(0); t.mapInfo(0, 16);
row(25, 'map_hash_unsupported', 'hash of a hash map');
t.mapCreate({ type: MAP.HASH, value: 8, max: 4, name: 'h', save: 0 }); t.mapInfo(0, 32);
row(26, 'lsm_verdict', 'a hook on bpf_prog_load sees unsigned, verified over insns only, verified over insns and metadata');
t.op({ op: 'watch' });
t.metadata(0, nomap.data, nomap.digest); t.progLoad(loader(nomap, { fdArray: [0] })); t.op({ op: 'admissions' });
t.key(); t.metadata(0, nomap.data, nomap.digest); t.progLoad(signed(nomap, { signature: sign(nomap.insns), bound: 0 })); t.op({ op: 'admissions' });
t.metadata(0, nomap.data, nomap.digest); t.progLoad(signed(nomap, { signature: sign(Buffer.concat([nomap.insns, nomap.data])) })); t.op({ op: 'admissions' });
row(26, 'lsm_insns_only_log', 'the log of the second load');
t.key(); t.metadata(0, nomap.data, nomap.digest); t.progLoad(signed(nomap, { signature: sign(nomap.insns), bound: 0, ...LOG }));
row(27, 'no_fd_array', 'two-instruction program signed over its instructions');
const two = prog(I.mov(0, 0), I.exit()), other = prog(I.mov(0, 1), I.exit());
t.key(); t.progLoad({ insns: two, signature: sign(two), keyring: SESSION }); t.progLoad({ insns: other, signature: sign(two), keyring: SESSION }); t.progLoad({ insns: two, signature: sign(two), keyring: SESSION, ...LOG }); t.progLoad({ insns: other, signature: sign(two), keyring: SESSION, ...LOG });
row(28, 'map_by_fd', 'signed program with a raw map fd in a 16-byte load');
{
  const byFD = prog(I.ldMap(1), I.mov(0, 0), I.exit());
  const signedFD = Buffer.from(byFD);
  // the fd is part of what is signed, so it has to be the one that the map gets: the recorder has 0 to 4 open, our kernel 0 to 2
  t.key(); t.mapCreate({ type: MAP.ARRAY, value: 4, max: 1, name: 'raw', save: 0 });
  t.progLoad({ insns: byFD, signature: sign(signedFD), keyring: SESSION }); t.progLoad({ insns: byFD, signature: sign(signedFD), keyring: SESSION, ...LOG });
  t.progLoad({ insns: byFD, mapFDs: [[0, 0]], signature: sign(signedFD), keyring: SESSION, ...LOG });
}
row(29, 'sparse_fd_array', 'signed program that refers to a map by index, fd_array_cnt 0');
{
  const byIndex = prog(I.ldMapIdx(1, 0), I.mov(0, 0), I.exit());
  t.key(); t.mapCreate({ type: MAP.ARRAY, value: 4, max: 1, name: 'sparse', save: 0 });
  t.progLoad({ insns: byIndex, signature: sign(byIndex), keyring: SESSION, fdArray: [0] }); t.progLoad({ insns: byIndex, signature: sign(byIndex), keyring: SESSION, fdArray: [0], ...LOG });
}
row(30, 'zero_digest', 'maps bound by an unsigned program: exclusive to a digest of zeros, of ones, to the program itself');
{
  const plain = prog(I.mov(0, 0), I.exit());
  const digest = createHash('sha256').update(plain).digest();
  [Buffer.alloc(32), Buffer.alloc(32, 1), digest].forEach((exclusive, slot) => t.mapCreate({ type: MAP.ARRAY, value: 64, name: 'md', exclusive, save: slot }));
  for (const type of [PROG.SOCKET_FILTER, PROG.SYSCALL]) for (const slot of [0, 1, 2]) t.progLoad({ insns: plain, type, log: 1, fdArray: [slot], bound: 1 });
}
void certificate;
process.stdout.write(t.text());
