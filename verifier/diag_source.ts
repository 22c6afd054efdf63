/**
 * @module verifier/diag_source
 * How reports lay out text: wrapped paragraphs, source lines with a note under one of them, instructions around a place. Reproduces
 * the rendering functions of kernel/bpf/diagnostics.c.
 */
import { BPF_DW, BPF_IMM, BPF_LD } from '../isa/uapi.ts';
import { findContainingSubprog, type LineInfo, type VerifierEnv } from './env.ts';
import { insnText } from './print.ts';
import { findLineInfo } from './source_line.ts';
import { subprogName } from './subprogs.ts';

const TEXT_WIDTH = 100;
const INDENT = '  ';
const SOURCE_WIDTH = 88;
const TAB_WIDTH = 8;
/** Lines and instructions shown before and after the one in question. */
const CONTEXT = 2;
const MAX_INSTRUCTION_TEXT = 159;
const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;

/** Writes text in lines of at most 100 columns, broken at blanks. */
export function writeWrapped(env: VerifierEnv, firstPrefix: string, nextPrefix: string, text: string): void {
  let prefix = firstPrefix;
  let at = 0;
  while (at < text.length) {
    const width = Math.max(1, TEXT_WIDTH - prefix.length);
    let length = 0;
    let lastSpace = -1;
    while (at + length < text.length && text[at + length] !== '\n' && length < width) {
      if (text[at + length] === ' ') lastSpace = length;
      length++;
    }
    const next = text[at + length];
    if (next !== undefined && next !== '\n' && next !== ' ' && lastSpace > 0) length = lastSpace;
    env.log.write(`${prefix}${text.slice(at, at + length)}\n`);
    at += length;
    while (text[at] === ' ') at++;
    if (text[at] === '\n') at++;
    prefix = nextPrefix;
  }
}

/** Writes an indented paragraph. */
export function writeParagraph(env: VerifierEnv, text: string): void {
  writeWrapped(env, INDENT, INDENT, text);
}

function lineNumber(line: LineInfo): number {
  return line.lineCol >>> 10;
}

/** Columns of the blanks and tabs that a source line starts with. */
function indentOf(line: string): number {
  let columns = 0;
  for (const c of line) {
    if (c === '\t') columns = Math.ceil((columns + 1) / TAB_WIDTH) * TAB_WIDTH;
    else if (c === ' ') columns++;
    else break;
  }
  return columns;
}

/** A source line with tabs expanded, cut with an ellipsis where it is too wide. */
function sourceText(line: string, width: number): string {
  if (width <= 0) return '';
  let text = '';
  let at = 0;
  while (at < line.length && text.length < width) {
    if (line[at] === '\t') {
      const next = Math.ceil((text.length + 1) / TAB_WIDTH) * TAB_WIDTH;
      text = text.padEnd(Math.min(next, width));
    } else {
      text += line[at];
    }
    at++;
  }
  if (at === line.length) return text;
  const ellipsis = Math.min(3, width);
  return text.slice(0, width - ellipsis) + '.'.repeat(ellipsis);
}

function sourceLane(isMarked: boolean, width: number, number: number, line: string | undefined): string {
  if (number <= 0) return '';
  const head = `${isMarked ? '>>> ' : '    '}${String(number).padStart(width)} | `;
  return head + sourceText(line ?? '...', SOURCE_WIDTH - head.length);
}

function writeAnnotation(env: VerifierEnv, lineWidth: number, lineIndent: number, label: string, message: string): void {
  const indent = ' '.repeat(Math.min(lineIndent, Math.max(0, SOURCE_WIDTH - lineWidth - 8)));
  const margin = `  ${' '.repeat(lineWidth + 4)} | ${indent}`;
  writeWrapped(env, `${margin}^-- `, `${margin}    `, `${label}: ${message}`);
}

function writeInstructions(env: VerifierEnv, insn: number): void {
  const { code, count } = env.insns;
  const width = String(count > 0 ? count - 1 : 0).length;
  env.log.write('  Instruction context:\n');
  for (let i = insn - CONTEXT; i <= insn + CONTEXT; i++) {
    if (i < 0 || i >= count || (i > 0 && code[i - 1] === LD_IMM64)) continue;
    if (code[i] === LD_IMM64 && i + 1 >= count) continue;
    const text = insnText(env, i).slice(0, MAX_INSTRUCTION_TEXT).replace(/\n+$/, '');
    env.log.write(`  ${i === insn ? '>>> ' : '    '}${String(i).padStart(width)} | ${text}\n`);
  }
}

/** Shows an instruction with its source line, a labelled note and what is around both. */
export function writeSource(env: VerifierEnv, insn: number, label: string, message: string): void {
  const btf = env.btf?.btf;
  const line = findLineInfo(env, insn);
  const path = btf === undefined || line === undefined ? '' : (btf.stringAt(line.fileNameOffset) ?? '');
  const file = path.slice(path.lastIndexOf('/') + 1);
  if (btf === undefined || line === undefined || file === '') {
    env.log.write(`  insn ${insn}\n`);
    writeAnnotation(env, 0, 0, label, message);
    writeInstructions(env, insn);
    return;
  }
  const subprog = findContainingSubprog(env, insn);
  const name = subprog >= 0 ? subprogName(env, subprog) : '';
  const number = lineNumber(line);
  env.log.write(`  ${name === '' ? '' : `${name} @ `}${file}:${number}:${line.lineCol & 0x3ff}\n`);
  const text = btf.stringAt(line.lineOffset) ?? '';
  if (text === '') {
    writeAnnotation(env, 0, 0, label, message);
    writeInstructions(env, insn);
    return;
  }
  const known = linesAround(env, subprog, line);
  const width = String(Math.max(0, number + CONTEXT)).length;
  env.log.write('  Source context:\n');
  for (let i = number - CONTEXT; i <= number + CONTEXT; i++) {
    env.log.write(`  ${sourceLane(i === number, width, i, known.get(i))}\n`);
    if (i === number) writeAnnotation(env, width, indentOf(text), label, message);
  }
  writeInstructions(env, insn);
}

/** Source lines of the function that line information knows near a line of the same file, by number; the first one counts. */
function linesAround(env: VerifierEnv, subprog: number, line: LineInfo): Map<number, string> {
  const btf = env.btf?.btf;
  const known = new Map<number, string>();
  const from = subprog >= 0 ? env.subprogs[subprog]!.linfoIdx : 0;
  const to = subprog >= 0 && subprog + 1 < env.subprogCount ? env.subprogs[subprog + 1]!.linfoIdx : env.lineInfo.length;
  const number = lineNumber(line);
  for (let i = from; i < to; i++) {
    const other = env.lineInfo[i]!;
    const at = lineNumber(other);
    if (other.fileNameOffset !== line.fileNameOffset || at < number - CONTEXT || at > number + CONTEXT || known.has(at)) continue;
    const text = btf?.stringAt(other.lineOffset) ?? '';
    if (text !== '') known.set(at, text);
  }
  return known;
}
