#!/usr/bin/env node
// Measures and writes the numbers of docs/admission-cost.md: what `bpftwin bench` prints goes between the document's two marks.
//   npm run build && node bench/admission-doc.mjs      (on a machine that does nothing else)
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..'), file = join(root, 'docs', 'admission-cost.md');
const BEGIN = '<!-- measured -->\n', END = '<!-- end -->\n';
const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, process.env.BPFTWIN_DIST ?? 'dist', 'src', 'cli', 'main.js'), 'bench'], { encoding: 'utf8' });
if (status !== 0) throw new Error(`bench ended with status ${status}: ${stderr}`);
const text = readFileSync(file, 'utf8'), from = text.indexOf(BEGIN), to = text.indexOf(END);
if (from < 0 || to < from) throw new Error(`${file} has no place for the numbers`);
writeFileSync(file, `${text.slice(0, from + BEGIN.length)}\`\`\`\n${stdout}\`\`\`\n${text.slice(to)}`);
