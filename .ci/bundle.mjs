// The package's entry, after `tsc -p tsconfig.build.json`: dist/src/cli/bpftwin.cjs, and beside it one file with all that a plain
// `gen skeleton -L` needs. Everything else stays as it is.
//   node .ci/bundle.mjs [DIST]
import { createHash } from 'node:crypto';
import { chmodSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const folder = join(process.argv[2] ?? fileURLToPath(new URL('../dist', import.meta.url)), 'src/cli');

/** One file of CommonJS. Constants are put where they are used: in a cold process every variable counts. */
async function bundle(name, { external = [], define = {}, banner = '' } = {}) {
  const build = await rolldown({
    input: join(folder, name), platform: 'node', external, transform: { define }, optimization: { inlineConst: { mode: 'all', pass: 3 } },
  });
  const { output: [{ code }] } = await build.generate({ format: 'cjs', minify: true, sourcemap: false, dynamicImportInCjs: true });
  await build.close();
  return banner + code;
}

for (const old of readdirSync(folder)) if (/^light-[0-9a-f]+\.cjs$/.test(old)) rmSync(join(folder, old));
const light = await bundle('light.js');
const name = `light-${createHash('sha256').update(light).digest('hex').slice(0, 12)}.cjs`;
writeFileSync(join(folder, name), light);
const start = await bundle('start.js', { external: ['./main.js', join(folder, 'main.js')], define: { LIGHT_BUNDLE: JSON.stringify(name) }, banner: '#!/usr/bin/env node\n' });
writeFileSync(join(folder, 'bpftwin.cjs'), start);
// npx keeps the link that it once made for a checkout: main.js was the entry before, and can be started as well.
for (const entry of ['bpftwin.cjs', 'main.js']) chmodSync(join(folder, entry), 0o755);
