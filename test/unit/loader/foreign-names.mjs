// Objects whose names are no UTF-8: those of the fixtures with bytes of their names replaced, every other name in each of two variants.
//   foreign-names.mjs BPFTOOL > data/foreign-names.json     records what bpftool of Linux 7.3 makes of them: SHA-256, or null where it refuses
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
export const OBJECTS = [
  ...['globals', 'maps', 'mapinmap', 'core', 'kfuncs', 'lsm', 'tracing', 'most', 'subprogs'].map((name) => [name, join(here, `../../fixtures/objects/${name}.bpf.o`)]),
  ...['declarations', 'declarations-be', 'structops', 'arena'].map((name) => [name, join(here, `data/${name}.bpf.o`)]),
];
export const VARIANTS = [0, 1];
/** Lonely bytes, an overlong form, half of a surrogate pair, and a letter that is UTF-8. */
const BYTES = [[0xff], [0x80], [0xe9], [0xc3, 0xa9], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5]];
/** Names that mean something to libbpf, and those that share their bytes in a table of strings. */
const KEPT = /(license|LICENSE|version|maps|socket|syscall|char|text|type|entries|size|flags|value|values|extra|pinning|struct_ops|tcp_congestion_ops|ssthresh|cong_avoid|undo_cwnd|name|owner)$/;

/** An object in which names have other bytes, the same wherever they stand. */
export function withForeignNames(bytes, variant) {
  const changed = Buffer.from(bytes);
  const names = new Set([...changed.toString('latin1').matchAll(/\0([A-Za-z_][A-Za-z0-9_]{3,})(?=\0)/g)].map(([, name]) => name));
  for (const [i, name] of [...names].filter((candidate) => !KEPT.test(candidate)).entries()) {
    const foreign = BYTES[(7 * i + variant + (i >> 1)) % BYTES.length];
    if (i % 2 !== variant || name.length < foreign.length + 2) continue;
    const pattern = Buffer.from(`${name}\0`, 'latin1');
    for (let at = changed.indexOf(pattern); at >= 0; at = changed.indexOf(pattern, at + 1)) Buffer.from(foreign).copy(changed, at + 1);
  }
  return new Uint8Array(changed);
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

function record(bpftool) {
  const folder = mkdtempSync(join(tmpdir(), 'foreign-names-'));
  const recorded = {};
  try {
    for (const [name, path] of OBJECTS) {
      for (const variant of VARIANTS) {
        const file = join(folder, 'object.bpf.o'), linked = join(folder, 'linked.o');
        writeFileSync(file, withForeignNames(readFileSync(path), variant));
        const digest = (args, output) => {
          const { status, stdout } = spawnSync(bpftool, args, { maxBuffer: 1 << 28 });
          return status === 0 ? sha256(output === undefined ? stdout : readFileSync(output)) : null;
        };
        recorded[`${name} ${variant}`] = {
          skeleton: digest(['gen', 'skeleton', file, 'name', 'a']), light: digest(['gen', 'skeleton', '-L', file, 'name', 'a']), subskeleton: digest(['gen', 'subskeleton', file, 'name', 'a']),
          c: digest(['btf', 'dump', 'file', file, 'format', 'c']), raw: digest(['btf', 'dump', 'file', file]), json: digest(['-j', 'btf', 'dump', 'file', file]), linked: digest(['gen', 'object', linked, file], linked),
        };
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return recorded;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // One a line.
  console.log(`{\n${Object.entries(record(process.argv[2])).map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(',\n')}\n}`);
}
