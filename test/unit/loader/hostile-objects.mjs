// Malformed objects: the fixtures' with a field of a header, section, symbol, relocation, type or record changed, always the same ones.
//   hostile-objects.mjs BPFTOOL > data/hostile-objects.json     records what bpftool of Linux 7.3 makes of them: the first half of the SHA-256 of what it
//   writes, "refused", or "crash"
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OBJECTS, sha256 } from './foreign-names.mjs';

export const COUNT = 240;
export const FORMS = ['skeleton', 'light', 'subskeleton', 'c', 'raw', 'linked'];
export const shorten = (bytes) => sha256(bytes).slice(0, 32);

/** Numbers that are the same on every machine. */
class Dice {
  constructor(seed) { this.state = seed >>> 0; }
  roll(sides) {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.state / 4294967296) * sides);
  }
  pick(list) { return list[this.roll(list.length)]; }
}

class Patient {
  constructor(original) {
    this.bytes = Uint8Array.from(original);
    this.view = new DataView(this.bytes.buffer);
    this.little = this.bytes[5] === 1;
    const table = Number(this.view.getBigUint64(40, this.little));
    this.sections = Array.from({ length: this.u16(60) }, (_, i) => {
      const at = table + 64 * i;
      return { at, type: this.u32(at + 4), executable: (this.u32(at + (this.little ? 8 : 12)) & 4) !== 0, offset: this.long(at + 24), size: this.long(at + 32), nameAt: this.u32(at) };
    });
    const names = this.sections[this.u16(62)].offset;
    for (const section of this.sections) section.name = Buffer.from(this.bytes.subarray(names + section.nameAt, this.bytes.indexOf(0, names + section.nameAt))).toString('latin1');
  }
  u16(at) { return this.view.getUint16(at, this.little); }
  u32(at) { return this.view.getUint32(at, this.little); }
  long(at) { return Number(this.view.getBigUint64(at, this.little)); }
  set16(at, value) { this.view.setUint16(at, value, this.little); }
  set32(at, value) { this.view.setUint32(at, value >>> 0, this.little); }
  set64(at, value) { this.view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), this.little); }
  section(name) { return this.sections.find((candidate) => candidate.name === name); }
}

function word(dice, size) { return dice.pick([0, 1, 2, 7, 8, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, size, size - 1, size + 1, dice.roll(64), dice.roll(4096)]); }
function long(dice, size) { return dice.pick([0n, 1n, 8n, 0xffffffffn, 0x7fffffffffffffffn, 0xffffffffffffffffn, 0x100000000n, BigInt(size), BigInt(size - 1), BigInt(dice.roll(size)), BigInt(dice.roll(256))]); }

const CHANGES = [
  (p, d) => { const at = d.pick([16, 18, 40, 58, 60, 62]); if (at === 40) p.set64(at, long(d, p.bytes.length)); else p.set16(at, d.pick([0, 1, 2, 5, 63, 64, 247, 0xff, 0xffff])); },
  (p, d) => { const { at } = d.pick(p.sections.slice(1)), field = d.pick([0, 4, 8, 24, 32, 40, 44, 48, 56]); if (field === 4) p.set32(at + 4, d.pick([0, 1, 2, 3, 4, 8, 9, 11])); else if (field === 0 || field === 40 || field === 44) p.set32(at + field, d.pick([0, 1, p.sections.length, 0xffffffff, d.roll(p.sections.length)])); else p.set64(at + field, long(d, p.bytes.length)); },
  (p, d) => { const { at } = d.pick(p.sections.filter(({ size }) => size > 0)), { offset, size } = d.pick(p.sections.filter((other) => other.size > 0)); p.set64(at + 24, offset + d.pick([0, 4, 8, 16])); if (d.roll(2) === 0) p.set64(at + 32, d.pick([size, 8, 16, 24, 1])); },
  (p, d) => { const { offset, size } = p.sections.find(({ type }) => type === 2), at = offset + 24 * d.roll(size / 24), field = d.pick([0, 4, 5, 6, 8, 16]); if (field === 0) p.set32(at, word(d, size)); else if (field < 6) p.bytes[at + field] = d.pick([0, 1, 2, 3, 0x10, 0x11, 0x12, 0x20, 255]); else if (field === 6) p.set16(at + 6, d.pick([0, 1, p.sections.length, 0xfff1, 0xfff2, d.roll(p.sections.length)])); else p.set64(at + field, long(d, p.bytes.length)); },
  (p, d) => { const tables = p.sections.filter(({ type, size }) => type === 9 && size >= 16); if (tables.length === 0) return; const { offset, size } = d.pick(tables), at = offset + 16 * d.roll(size / 16), field = d.pick([0, 8, 12]); if (field === 0) p.set64(at, long(d, p.bytes.length)); else p.set32(at + field, word(d, 20)); },
  (p, d) => { const types = p.section('.BTF'); if (types !== undefined) p.set32(types.offset + d.pick([4, 8, 12, 16, 20]), word(d, types.size)); },
  ...Array.from({ length: 3 }, () => (p, d) => { const types = p.section('.BTF'); if (types === undefined) return; const at = types.offset + 24 + 4 * d.roll(p.u32(types.offset + 12) / 4), old = p.u32(at); p.set32(at, d.pick([0, 1, d.roll(80), d.roll(80), old + 1, old - 1, old ^ 0x80000000, old ^ (1 << (24 + d.roll(5))), old | 0xffff, 0xffffffff])); }),
  (p, d) => { const records = p.section('.BTF.ext'); if (records !== undefined) p.set32(records.offset + 4 * d.roll(records.size / 4), word(d, records.size)); },
  (p, d) => { const code = p.sections.filter(({ executable, size }) => executable && size > 0); const { offset, size } = d.pick(code); p.bytes[offset + d.roll(size)] = d.pick([0, 1, 0x18, 0x85, 0x95, 0xff, d.roll(256)]); },
  (p, d) => { const types = p.section('.BTF'); if (types === undefined) return; const at = types.offset + 24 + p.u32(types.offset + 16); p.bytes[at + d.roll(p.u32(types.offset + 20))] = d.pick([0, 0x20, 0x2e, 0xff, 0x41, 0x0a, 0x22]); },
];

const originals = OBJECTS.map(([, path]) => readFileSync(path));

/** The object with this number. */
export function hostileObject(number) {
  const dice = new Dice(7919 * number + 1);
  const patient = new Patient(originals[number % originals.length]);
  dice.pick(CHANGES)(patient, dice);
  return patient.bytes;
}

function record(bpftool) {
  const folder = mkdtempSync(join(tmpdir(), 'hostile-'));
  const file = join(folder, 'object.bpf.o'), linked = join(folder, 'linked.o');
  const made = (args, output) => {
    const { status, signal, stdout, error } = spawnSync(bpftool, args, { maxBuffer: 1 << 28, timeout: 20_000 });
    if (signal !== null || error !== undefined) return 'crash';
    return status === 0 ? shorten(output === undefined ? stdout : readFileSync(output)) : 'refused';
  };
  try {
    return Array.from({ length: COUNT }, (_, number) => {
      writeFileSync(file, hostileObject(number));
      return [
        made(['gen', 'skeleton', file, 'name', 'a']), made(['gen', 'skeleton', '-L', file, 'name', 'a']), made(['gen', 'subskeleton', file, 'name', 'a']),
        made(['btf', 'dump', 'file', file, 'format', 'c']), made(['btf', 'dump', 'file', file]), made(['gen', 'object', linked, file], linked),
      ];
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(`[\n${record(process.argv[2]).map((row) => JSON.stringify(row)).join(',\n')}\n]`);
