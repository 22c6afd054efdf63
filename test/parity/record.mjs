#!/usr/bin/env node
// Fills in the answers of a transcript from a real Linux 7.3.4, with all operations of docs/transcripts.md:
//   record.mjs IN.jsonl[.gz] OUT.jsonl[.gz]
// BPFTWIN_ORACLE is the folder of oracle.mjs (boots the kernel: oracle.mjs sh DIR COMMAND), LINUX a source
// tree of Linux 7.3 (headers of libbpf and UAPI only).
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { createHash } from 'node:crypto';

const here = dirname(fileURLToPath(import.meta.url));
const oracle = resolve(process.env.BPFTWIN_ORACLE ?? (() => { throw new Error('set BPFTWIN_ORACLE to the folder of oracle.mjs'); })());
const { CMD, comparable } = await import(join(oracle, 'oracle.mjs'));
const FD_COMMANDS = new Set([0, 5, 7, 13, 14, 17, 18, 19, 28, 30, 33, 36]);
const LOG_OFFSET = { 5: 32, 18: 8 };
const LONGEST_LOG = 256 * 1024;

export function read(file) {
  const raw = readFileSync(file);
  const text = (file.endsWith('.gz') ? gunzipSync(raw) : raw).toString('utf8');
  return text.split('\n').filter((line) => line.trim()).map((line) => JSON.parse(line));
}

function agentLines(lines) {
  const blobs = new Map(lines.filter((o) => o.blob).map((o) => [o.blob, o.hex]));
  const hex = (value) => (value.startsWith('@') ? blobs.get(value.slice(1)) : value) || '-';
  return lines.filter((o) => !o.blob).map((o) => {
    if (o.case !== undefined) return 'case';
    switch (o.op) {
      case 'bpf': {
        const parts = [`bpf ${CMD[o.cmd] ?? o.cmd} ${o.attr || '-'}`];
        for (const [off, h] of Object.entries(o.in ?? {})) parts.push(`p${off}=${hex(h)}`);
        for (const [off, h] of Object.entries(o.inout ?? {})) parts.push(`x${off}=${hex(h)}`);
        for (const [off, n] of Object.entries(o.out ?? {})) parts.push(`o${off}=${n}`);
        for (const [off, at, h] of o.inptr ?? []) parts.push(`n${off}:${at}=${hex(h)}`);
        for (const [off, at, n] of [...(o.outptr ?? []), ...(o.logptr ?? [])]) parts.push(`m${off}:${at}=${n}`);
        for (const [off, s] of Object.entries(o.fd ?? {})) parts.push(`f${off}=${s}`);
        for (const [off, at, s] of o.infd ?? []) parts.push(`i${off}:${at}=${s}`);
        for (const [off, at, s] of o.take ?? []) parts.push(`k${off}:${at}=${s}`);
        if (o.save !== undefined) parts.push(`s=${o.save}`);
        return parts.join(' ');
      }
      case 'key': return `key ${o.name} ${o.der}`;
      case 'keyid': return `keyid ${o.id}`;
      case 'mmap': return `mmap ${o.slot} ${o.size} ${o.prot}`;
      case 'close': return `close ${o.slot}`;
      case 'dup': return `dup ${o.slot} ${o.save}`;
      case 'caps': return `caps ${o.effective}`;
      case 'munmap': case 'watch': case 'admissions': return o.op;
      default: throw new Error(`unknown operation ${JSON.stringify(o).slice(0, 100)}`);
    }
  });
}

function build(dir) {
  const linux = process.env.LINUX;
  if (!linux) throw new Error('set LINUX to a source tree of Linux 7.3');
  mkdirSync(join(dir, 'inc/linux'), { recursive: true });
  symlinkSync(join(linux, 'tools/lib/bpf'), join(dir, 'inc/bpf'));
  for (const name of ['bpf.h', 'bpf_common.h', 'btf.h']) symlinkSync(join(linux, 'tools/include/uapi/linux', name), join(dir, 'inc/linux', name));
  const skeleton = resolve(here, '../fixtures/unsigned/lsm.lskel.h');
  execFileSync('gcc', ['-O1', '-w', '-static', `-I${dir}/inc`, `-I${dir}/inc/bpf`, `-DLSM_SKEL="${skeleton}"`, join(here, 'agent.c'), '-o', join(dir, 'io/agent')]);
}

function fill(o, line) {
  const [ret, errno, ...rest] = line.split(' ');
  const want = { ret: Number(ret), errno: Number(errno) };
  if (o.op === 'dup' && want.ret >= 0) want.ret = 'fd';
  if (o.op === 'admissions') {
    const [count, verdict, keyringType, serial] = rest;
    want.seen = { count: Number(count), verdict: Number(verdict), keyringType: Number(keyringType), serial };
  }
  if (o.op === 'bpf') {
    const cmd = CMD[o.cmd] ?? o.cmd;
    if (FD_COMMANDS.has(cmd) && want.ret >= 0) want.ret = 'fd';
    for (const field of rest) {
      if (field[0] === 'a') {
        const attr = Buffer.from(field.slice(1), 'hex');
        if (cmd === 10) { want.retval = attr.readUInt32LE(4); want.dataSizeOut = attr.readUInt32LE(12); }
        continue;
      }
      const eq = field.indexOf('='), key = field.slice(0, eq), value = field.slice(eq + 1) === '-' ? '' : field.slice(eq + 1);
      if (Number(key) === LOG_OFFSET[cmd] || (o.logptr ?? []).some(([off, at]) => key === `${off}+${at}`)) {
        const log = comparable(Buffer.from(value, 'hex').toString('latin1').split('\0')[0]);
        if (log.length <= LONGEST_LOG) want.log = log;
        else { want.logSha256 = createHash('sha256').update(log).digest('hex'); want.logTail = log.slice(-2000); }
      } else {
        const digits = [...value];
        for (const [start, length] of o.ignore?.[key] ?? []) digits.fill('0', 2 * start, Math.min(digits.length, 2 * (start + length)));
        (want.out ??= {})[key] = digits.join('').replace(/(00)+$/, '');
      }
    }
    if (o.unstable) { delete want.retval; }
  }
  return { ...o, want };
}

export function record(lines) {
  const dir = mkdtempSync(join(tmpdir(), 'record-'));
  try {
    mkdirSync(join(dir, 'io'));
    build(dir);
    writeFileSync(join(dir, 'io/requests'), `${agentLines(lines).join('\n')}\n`);
    const said = execFileSync('flock', ['/tmp/oracle.lock', process.execPath, join(oracle, 'oracle.mjs'), 'sh', join(dir, 'io'), '/io/agent /io/requests /io/results'], { encoding: 'utf8' });
    if (!/exit 0\s*$/.test(said)) throw new Error(said);
    const answers = existsSync(join(dir, 'io/results')) ? readFileSync(join(dir, 'io/results'), 'latin1').split('\n') : [];
    let at = 0;
    return lines.map((o) => (o.blob || o.case !== undefined ? o : fill(o, answers[at++] ?? '-1 0')));
  } finally { rmSync(dir, { recursive: true, force: true }); }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [from, to] = process.argv.slice(2);
  const text = `${record(read(from)).map((o) => JSON.stringify(o)).join('\n')}\n`;
  writeFileSync(to, to.endsWith('.gz') ? gzipSync(text, { level: 9 }) : text);
}
