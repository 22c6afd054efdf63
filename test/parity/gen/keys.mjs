#!/usr/bin/env node
// Writes key scenarios and asks a real kernel for the answers:
//   keys.mjs OUT.json.gz          (BPFTWIN_ORACLE as for record.mjs; needs gcc for test/parity/keys.c)
// A step is [call, …arguments]; "$N" is the result of step N. Serial numbers in answers become "$N" (of the step that first gave
// them) or "serial".
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { certificate, rsaKey, seq, signed, tlv } from './cms.mjs';

const here = dirname(fileURLToPath(import.meta.url)), oracle = resolve(process.env.BPFTWIN_ORACLE ?? (() => { throw new Error('set BPFTWIN_ORACLE to the folder of oracle.mjs'); })());
const { boot } = await import(join(oracle, 'oracle.mjs'));
const program = Buffer.from('b7000000000000009500000000000000', 'hex');
const OP = { get: 0, join: 1, update: 2, revoke: 3, describe: 6, clear: 7, link: 8, unlink: 9, search: 10, read: 11, setperm: 5, timeout: 15, invalidate: 21, restrict: 29, move: 30 };
const T = -1, PR = -2, S = -3, U = -4, US = -5;

const root = certificate(rsaKey(2048), { cn: 'root', basic: seq(tlv(0x01, 'ff')), usage: tlv(0x03, '0204') });
const leaf = certificate(rsaKey(2048), { cn: 'leaf', by: root, akid: 'both' }), other = certificate(rsaKey(2048), { cn: 'other' });
const under = certificate(rsaKey(2048), { cn: 'under', by: leaf });
const fake = certificate(rsaKey(2048), { cn: 'fake', by: { ...root, key: other.key } }), noID = certificate(rsaKey(2048), { cn: 'no id', by: root, akid: false });
const hex = (b) => b.toString('hex'), CERT = { root, leaf, other, under, fake, noID }, h = (c) => hex(CERT[c].der);
const sig = Object.fromEntries(Object.entries(CERT).map(([k, c]) => [k, hex(signed(c, program))]));
const sigV1 = hex(signed(leaf, program, { version: 1 })), chainSig = hex(signed(leaf, program, { version: 1 }, { certificates: [leaf.der] }));
const add = (type, desc, payload, ring) => ['add', type, desc, payload, ring], cert = (c, ring = S, desc = c) => add('asymmetric', desc, h(c), ring), ring = (name, into = S) => add('keyring', name, '', into);
const load = (r, c) => ['load', r, sig[c] ?? c], user = (d, p = 'aabb', into = S) => add('user', d, p, into);
const cases = {
  'special keyrings, not created': [[OP.get, T, 0], [OP.get, PR, 0], [OP.get, S, 0], [OP.get, U, 0], [OP.get, US, 0], [OP.get, -6, 0], [OP.get, -7, 0], [OP.get, -8, 0], [OP.get, -9, 0], [OP.get, 0, 0], [OP.get, 1, 0], [OP.get, 2147483647, 0]],
  'special keyrings, created': [[OP.get, T, 1], [OP.get, T, 0], [OP.get, PR, 1], [OP.get, PR, 0], [OP.get, S, 1], [OP.get, -6, 1], [OP.get, -7, 1], [OP.get, -8, 1], [OP.describe, '$0'], [OP.describe, '$2'], [OP.describe, '$4'], [OP.describe, U], [OP.describe, US], [OP.describe, S]],
  'add_key types': [add('user', 'a', 'aa', S), add('user', 'a', '', S), add('keyring', 'k', '', S), add('keyring', 'k', 'aa', S), add('logon', 'a:b', 'aa', S), add('logon', 'ab', 'aa', S), add('logon', ':b', 'aa', S), add('logon', 'x:y', '', S), add('nonsense', 'a', 'aa', S), add('.keyring', 'a', '', S), add('t:', 'a', 'aa', S), add('asymmetric', 'c', h('root'), S), add('asymmetric', 'c', '', S), add('asymmetric', 'c', '3000', S), add('asymmetric', '-', h('root'), S), add('asymmetric', 't:', h('root'), S), add('user', '-', 'aa', S), add('user', 't:', 'aa', S), add('keyring', '-', '', S), add('keyring', '.hidden', '', S), add('user', '.hidden', 'aa', S), add('asymmetric', '.hidden', h('root'), S), add('big_key_no', 'a', 'aa', S)],
  'add_key rings': [user('a', 'aa', 0), user('a', 'aa', -6), user('a', 'aa', -9), user('a', 'aa', 2147483647), user('a', 'aa', T), user('a', 'aa', PR), user('a', 'aa', U), user('a', 'aa', US), user('a', 'aa', '$4'), [OP.get, T, 0]],
  'update by add_key': [user('a', 'aa'), user('a', 'bbcc'), [OP.read, '$0'], cert('root'), cert('root'), [OP.describe, '$3'], [OP.describe, '$4'], ring('r'), ring('r'), [OP.describe, '$7'], [OP.describe, '$8'], [OP.update, '$0', '-', 0], [OP.read, S]],
  'descriptions': [user('some\x01words'), cert('root'), cert('leaf', S, '-'), ring('r'), [OP.describe, '$0'], [OP.describe, '$1'], [OP.describe, '$2'], [OP.describe, '$3'], [OP.describe, 12345], [OP.read, '$0'], [OP.read, '$1'], [OP.read, '$3'], [OP.read, 12345], add('logon', 'l:x', 'aa', S), [OP.read, '$13'], [OP.describe, '$13']],
  'search': [ring('r'), user('a', 'aa', '$0'), user('b', 'bb'), [OP.search, S, 't:user', 't:a', 0], [OP.search, S, 't:user', 't:b', 0], [OP.search, S, 't:user', 't:c', 0], [OP.search, S, 't:nonsense', 't:a', 0], [OP.search, S, 't:keyring', 't:r', 0], [OP.search, '$1', 't:user', 't:a', 0], [OP.search, '$0', 't:user', 't:b', 0], [OP.search, S, 't:user', 't:a', '$0'], [OP.search, S, 't:user', 't:b', '$0'], [OP.read, '$0'], [OP.search, 0, 't:user', 't:a', 0], [OP.search, S, 't:user', 't:a', 999999], [OP.search, S, 't:keyring', 't:_ses', 0]],
  'search for certificates': [cert('root'), cert('leaf'), [OP.search, S, 't:asymmetric', 't:root', 0], [OP.search, S, 't:asymmetric', `t:id:${hex(root.skid)}`, 0], [OP.search, S, 't:asymmetric', `t:id:${hex(root.skid).slice(32)}`, 0], [OP.search, S, 't:asymmetric', `t:id:${hex(root.skid).slice(0, 8)}`, 0], [OP.search, S, 't:asymmetric', `t:ex:${hex(root.skid)}`, 0], [OP.search, S, 't:asymmetric', `t:ex:${hex(root.skid).slice(32)}`, 0], [OP.search, S, 't:asymmetric', `t:ex:${hex(root.serial)}${hex(root.issuer ?? root.subject).slice(4)}`, 0], [OP.search, S, 't:asymmetric', `t:dn:${hex(leaf.subject.subarray(2))}`, 0], [OP.search, S, 't:asymmetric', 't:id:', 0], [OP.search, S, 't:asymmetric', 't:id:abc', 0], [OP.search, S, 't:asymmetric', 't:id:zz', 0], [OP.search, S, 't:asymmetric', 't:', 0], [OP.search, S, 't:asymmetric', 't:xx:00', 0]],
  'request_key': [ring('r'), user('a', 'aa', '$0'), ['req', 'user', 'a', 0], ['req', 'user', 'none', 0], ['req', 'nonsense', 'a', 0], ['req', 'keyring', 'r', 0], ['req', 'user', 'a', S], [OP.read, S], [OP.timeout, '$1', 1], ['sleep', 2], ['req', 'user', 'a', 0], [OP.search, S, 't:user', 't:a', 0]],
  'request_key of a revoked one': [user('a'), [OP.revoke, '$0'], ['req', 'user', 'a', 0], [OP.search, S, 't:user', 't:a', 0], user('a', 'cc'), ['req', 'user', 'a', 0], [OP.read, S]],
  'link and unlink': [ring('r'), ring('q'), user('a', 'aa', '$0'), [OP.link, '$2', '$1'], [OP.read, '$1'], [OP.link, '$2', '$1'], [OP.read, '$1'], [OP.unlink, '$2', '$0'], [OP.unlink, '$2', '$0'], [OP.describe, '$2'], [OP.unlink, '$2', '$1'], [OP.describe, '$2'], [OP.unlink, '$2', '$1'], [OP.link, '$0', 999], [OP.link, 999, '$0'], [OP.link, '$0', 0]],
  'unlink what stands in its place': [ring('r'), ring('q'), user('a', 'aa', '$0'), user('a', 'bb', '$1'), [OP.unlink, '$3', '$0'], [OP.read, '$0'], [OP.read, '$1'], [OP.unlink, '$3', '$0']],
  'move': [ring('r'), ring('q'), user('a', 'aa', '$0'), user('a', 'bb', '$1'), [OP.move, '$2', '$0', '$1', 1], [OP.read, '$0'], [OP.move, '$2', '$0', '$1', 0], [OP.read, '$0'], [OP.read, '$1'], [OP.move, '$2', '$0', '$1', 0], [OP.move, '$2', '$1', '$1', 0], [OP.move, '$2', '$1', '$0', 2], [OP.move, '$2', '$1', '$0', 1], [OP.read, '$0'], [OP.move, 999, '$0', '$1', 0], [OP.move, '$2', 999, '$1', 0], [OP.move, '$2', '$0', 999, 0], [OP.move, '$2', '$0', 0, 0]],
  'move what is refused': [ring('r'), ring('q'), user('a', 'aa', '$0'), user('b'), [OP.move, '$2', '$3', '$0', 0], [OP.move, '$2', '$0', '$3', 0], [OP.move, '$1', S, '$0', 0], [OP.move, '$0', S, '$1', 0], [OP.read, '$0'], [OP.restrict, '$1', '-', '-'], [OP.move, '$2', '$0', '$1', 0], [OP.read, '$0'], [OP.revoke, '$1'], [OP.move, '$2', '$0', '$1', 0]],
  'move what stands in its place': [ring('r'), ring('q'), ring('p'), user('a', 'aa', '$0'), user('a', 'bb', '$1'), [OP.move, '$4', '$0', '$2', 0], [OP.read, '$0'], [OP.read, '$1'], [OP.read, '$2']],
  'link into what is no keyring': [user('a'), user('b'), [OP.link, '$0', '$1'], [OP.unlink, '$0', '$1'], [OP.clear, '$0'], [OP.link, '$0', '$0']],
  'link replaces the same description': [ring('r'), ring('q'), user('a', 'aa', '$0'), user('a', 'bb', '$1'), [OP.link, '$3', '$0'], [OP.read, '$0'], [OP.describe, '$2']],
  'cycles': [ring('r'), ring('q', '$0'), ring('p', '$1'), [OP.link, '$0', '$2'], [OP.link, '$0', '$0'], [OP.link, '$2', '$0'], [OP.read, '$0'], [OP.link, S, '$0']],
  'deep trees': [ring('r1'), ring('r2', '$0'), ring('r3', '$1'), ring('r4', '$2'), ring('r5', '$3'), ring('r6', '$4'), ring('r7', '$5'), ring('r8', '$6'), cert('root', '$4'), cert('leaf', '$5'), cert('other', '$6'), cert('under', '$7'), load(S, 'root'), load(S, 'leaf'), load(S, 'other'), load(S, 'under'), load('$0', 'root'), load('$0', 'leaf'), load('$0', 'other'), load('$0', 'under'), load('$1', 'under'), load('$2', 'under'), ring('a'), [OP.link, '$0', '$22'], [OP.link, '$22', '$7'], [OP.search, S, 't:asymmetric', 't:other', 0]],
  'clear': [ring('r'), user('a', 'aa', '$0'), [OP.clear, '$0'], [OP.read, '$0'], [OP.describe, '$1'], [OP.clear, S], [OP.describe, '$0'], [OP.clear, T], [OP.get, T, 0], [OP.clear, 0], [OP.clear, 999]],
  'revoke': [user('a'), [OP.revoke, '$0'], [OP.revoke, '$0'], [OP.describe, '$0'], [OP.read, '$0'], [OP.unlink, '$0', S], [OP.describe, '$0'], [OP.revoke, 999], [OP.revoke, 0]],
  'revoke a keyring': [ring('r'), user('a', 'aa', '$0'), [OP.revoke, '$0'], user('b', 'bb', '$0'), [OP.link, '$1', '$0'], [OP.read, '$0'], [OP.describe, '$1'], [OP.search, S, 't:user', 't:a', 0], [OP.clear, '$0'], [OP.read, S]],
  'invalidate': [user('a'), [OP.invalidate, '$0'], ['sleep', 2], [OP.describe, '$0'], [OP.read, S], [OP.invalidate, 999]],
  'timeout': [user('a'), [OP.timeout, '$0', 1], [OP.read, '$0'], ['sleep', 2], [OP.read, '$0'], [OP.describe, '$0'], [OP.timeout, '$0', 0], [OP.read, '$0'], [OP.search, S, 't:user', 't:a', 0], [OP.revoke, '$0'], user('b'), [OP.timeout, '$10', 1000], [OP.read, '$10'], user('b', 'cc'), [OP.timeout, 999, 1]],
  'expired keyring': [ring('r'), user('a', 'aa', '$0'), cert('root', '$0'), [OP.timeout, '$0', 1], ['sleep', 2], [OP.search, S, 't:user', 't:a', 0], [OP.read, '$0'], user('b', 'bb', '$0'), [OP.describe, '$0'], load('$0', 'root'), load(S, 'root'), [OP.timeout, '$0', 0], [OP.get, '$0', 0]],
  'permissions': [user('a'), [OP.setperm, '$0', 0x3f000000], [OP.read, '$0'], [OP.describe, '$0'], [OP.setperm, '$0', 0x01000000], [OP.read, '$0'], [OP.describe, '$0'], [OP.revoke, '$0'], [OP.search, S, 't:user', 't:a', 0], [OP.setperm, '$0', 0x3f3f3f3f], [OP.unlink, '$0', S], ring('r'), [OP.setperm, '$11', 0x09000000], user('b', 'bb', '$11'), [OP.link, '$11', '$11'], [OP.clear, '$11'], [OP.read, '$11'], [OP.revoke, '$11'], [OP.setperm, 999, 0], user('c'), [OP.setperm, '$19', 0x40000000]],
  'join a session': [[OP.get, S, 0], user('a'), [OP.join, '-'], [OP.get, S, 0], [OP.describe, '$1'], [OP.join, 't:named'], [OP.describe, '$5'], user('b'), [OP.join, 't:named'], [OP.join, '-'], [OP.describe, '$7'], [OP.join, 't:.hidden'], [OP.join, 't:named']],
  'loads: keyring kinds': [cert('root'), user('u'), load(S, 'root'), load('$0', 'root'), load('$1', 'root'), load(T, 'root'), load(PR, 'root'), load(U, 'root'), load(US, 'root'), cert('root', T), load(T, 'root'), cert('root', PR), load(PR, 'root'), cert('root', U), load(U, 'root'), load(US, 'root'), load(999999, 'root'), load(0, 'root'), load(1, 'root'), load(2, 'root')],
  'loads: nested keyrings': [ring('r'), ring('q', '$0'), cert('root', '$1'), load(S, 'root'), load('$0', 'root'), load('$1', 'root'), [OP.unlink, '$1', '$0'], load(S, 'root'), load('$1', 'root')],
  'loads: revoked key': [cert('root'), cert('other'), load(S, 'root'), [OP.revoke, '$0'], load(S, 'root'), load(S, 'other'), load(S, 'leaf'), load('$0', 'root')],
  'loads: revoked key in a nested keyring': [ring('r'), cert('root', '$0'), [OP.revoke, '$1'], load(S, 'root'), load(S, 'other'), cert('other'), load(S, 'other'), load('$0', 'other')],
  'loads: revoked keyring': [ring('r'), cert('root', '$0'), [OP.revoke, '$0'], load('$0', 'root'), load(S, 'root')],
  'loads: expired key': [cert('root'), cert('other'), [OP.timeout, '$0', 1], ['sleep', 2], load(S, 'root'), load(S, 'other'), load(S, 'leaf'), [OP.timeout, '$0', 0], load(S, 'root')],
  'loads: expired keyring': [ring('r'), cert('root', '$0'), [OP.timeout, '$0', 1], ['sleep', 2], load('$0', 'root'), load(S, 'root')],
  'loads: invalidated': [ring('r'), cert('root', '$0'), [OP.invalidate, '$1'], ['sleep', 2], load(S, 'root'), load('$0', 'root')],
  'loads: key without search permission': [cert('root'), [OP.setperm, '$0', 0x31010000], load(S, 'root'), [OP.setperm, '$0', 0x39010000], load(S, 'root')],
  'loads: keyring without search permission': [ring('r'), cert('root', '$0'), [OP.setperm, '$0', 0x37010000], load(S, 'root'), load('$0', 'root')],
  'loads: keys that are not possessed': [ring('r'), cert('root', '$0'), [OP.link, '$0', U], [OP.unlink, '$0', S], load('$0', 'root'), load(U, 'root'), load(S, 'root')],
  'loads: chain and nested roots': [ring('r'), cert('root', '$0'), load(S, 'leaf'), load(S, sigV1), load(S, chainSig), [OP.revoke, '$1'], load(S, chainSig)],
  'restrict: nothing more': [ring('r'), [OP.restrict, '$0', '-', '-'], user('a', 'aa', '$0'), cert('root', '$0'), [OP.link, S, '$0'], [OP.restrict, '$0', '-', '-'], [OP.read, '$0']],
  'restrict: bad requests': [ring('r'), user('a'), [OP.restrict, '$1', '-', '-'], [OP.restrict, '$0', 't:asymmetric', '-'], [OP.restrict, '$0', '-', 't:x'], [OP.restrict, '$0', 't:user', 't:x'], [OP.restrict, '$0', 't:nonsense', 't:x'], [OP.restrict, '$0', 't:asymmetric', 't:x'], [OP.restrict, '$0', 't:asymmetric', 't:key_or_keyring'], [OP.restrict, '$0', 't:asymmetric', 't:key_or_keyring:abc'], [OP.restrict, '$0', 't:asymmetric', 't:key_or_keyring:0'], [OP.restrict, '$0', 't:asymmetric', 't:key_or_keyring:999999'], [OP.restrict, '$0', 't:asymmetric', 't:key_or_keyring:0:other'], [OP.restrict, 999, '-', '-'], cert('root', '$0')],
  'restrict: builtin': [ring('r'), [OP.restrict, '$0', 't:asymmetric', 't:builtin_trusted'], cert('root', '$0'), cert('leaf', '$0'), user('a', 'aa', '$0')],
  'restrict: chain from nothing': [ring('r'), [OP.restrict, '$0', 't:asymmetric', 't:key_or_keyring:0:chain'], cert('leaf', '$0'), cert('root', '$0'), cert('leaf', '$0'), cert('under', '$0'), user('a', 'aa', '$0')],
};
/** Restrictions name serial numbers in text, so those are asked by two-step cases: the text has "$N" in it. */
Object.assign(cases, {
  'restrict: by keyring': [ring('trust'), cert('root', '$0'), ring('r'), [OP.restrict, '$2', 't:asymmetric', 't:key_or_keyring:$0'], cert('leaf', '$2'), cert('root', '$2'), cert('other', '$2'), cert('under', '$2'), cert('fake', '$2'), cert('noID', '$2'), user('a', 'aa', '$2'), ring('k', '$2'), cert('other'), [OP.link, '$12', '$2'], [OP.link, '$4', S], [OP.read, '$2']],
  'restrict: by keyring, chain': [ring('trust'), cert('root', '$0'), ring('r'), [OP.restrict, '$2', 't:asymmetric', 't:key_or_keyring:$0:chain'], cert('under', '$2'), cert('leaf', '$2'), cert('under', '$2'), cert('other', '$2'), cert('fake', '$2')],
  'restrict: by key': [cert('root'), ring('r'), [OP.restrict, '$1', 't:asymmetric', 't:key_or_keyring:$0'], cert('leaf', '$1'), cert('root', '$1'), cert('other', '$1'), cert('fake', '$1'), cert('noID', '$1')],
  'restrict: by a revoked key': [cert('root'), ring('r'), [OP.restrict, '$1', 't:asymmetric', 't:key_or_keyring:$0'], [OP.revoke, '$0'], cert('leaf', '$1')],
  'restrict: by a user key': [user('a'), ring('r'), [OP.restrict, '$1', 't:asymmetric', 't:key_or_keyring:$0'], cert('leaf', '$1')],
  'restrict: by itself': [ring('r'), [OP.restrict, '$0', 't:asymmetric', 't:key_or_keyring:$0']],
  'restrict: in a circle': [ring('r'), ring('q'), [OP.restrict, '$0', 't:asymmetric', 't:key_or_keyring:$1'], [OP.restrict, '$1', 't:asymmetric', 't:key_or_keyring:$0']],
});

const word = (v) => v === '' ? '-' : String(v).replaceAll(' ', '\x01');
const text = Object.values(cases).map((steps) => steps.map(([call, ...args]) => (typeof call === 'number' ? ['ctl', call, ...args] : [call, ...args]).map(word).join(' ')).join('\n')).join('\ncase\n') + '\n';
const dir = mkdtempSync(join(tmpdir(), 'keys-'));
try {
  execFileSync('gcc', ['-static', '-O1', '-o', join(dir, 'keys'), join(here, '../keys.c')], { stdio: 'inherit' });
  writeFileSync(join(dir, 'in'), text);
  boot(dir, '/io/keys /io/in /io/out');
  const answers = readFileSync(join(dir, 'out'), 'utf8').trim().split('\n');
  const out = Object.entries(cases).map(([name, steps]) => {
    const serials = new Map();
    const mask = (value, i) => { if (value < 3) return value; if (!serials.has(value)) serials.set(value, `$${i}`); return serials.get(value); };
    return {
      name, steps: steps.map(([call, ...args], i) => {
        const [ret, bytes] = (answers.shift() ?? '').split(' '), value = Number(ret);
        const kind = typeof call === 'number' ? Object.keys(OP).find((k) => OP[k] === call) : call;
        const givesSerial = ['add', 'req', 'get', 'join', 'search'].includes(kind), want = givesSerial ? mask(value, i) : value;
        const isRing = kind === 'read' && bytes !== undefined && !['a', 'b'].includes('') && value % 4 === 0 && value > 0;
        const numbers = isRing ? Array.from({ length: value / 4 }, (_, k) => Buffer.from(bytes, 'hex').readInt32LE(4 * k)) : [];
        const data = bytes === undefined ? undefined : isRing && numbers.every((n) => serials.has(n)) ? { keys: numbers.map((n) => serials.get(n)) } : { hex: bytes };
        return { call: kind, args, want, ...(data ? { data } : {}) };
      }),
    };
  });
  if (answers.length) throw new Error(`${answers.length} answers too many`);
  writeFileSync(process.argv[2], gzipSync(JSON.stringify(out), { level: 9 }));
  process.stderr.write(`${out.length} cases, ${out.reduce((n, c) => n + c.steps.length, 0)} steps\n`);
} finally { rmSync(dir, { recursive: true, force: true }); }
