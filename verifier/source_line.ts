/**
 * @module verifier/source_line
 * Source lines in the log: `; text @ file:line` where an instruction begins a new line (`verbose_linfo`, kernel/bpf/log.c).
 */
import type { LineInfo, VerifierEnv } from './env.ts';

/** The line record that covers an instruction (`bpf_find_linfo`). */
export function findLineInfo(env: VerifierEnv, insn: number): LineInfo | undefined {
  const lines = env.lineInfo;
  if (lines.length === 0 || insn >= env.insns.count) return undefined;
  let low = 0;
  let high = lines.length - 1;
  while (low < high) {
    const middle = low + ((high - low + 1) >> 1);
    if (lines[middle]!.insn <= insn) low = middle;
    else high = middle - 1;
  }
  return lines[low];
}

/** Writes the source line of an instruction after `prefix`, unless it is the line written last. */
export function verboseLine(env: VerifierEnv, insn: number, prefix: string): void {
  if (env.log.level === 0) return;
  const previous = env.prevLineInfo;
  const line = findLineInfo(env, insn);
  if (line === undefined || line === previous) return;
  if (previous !== undefined && line.fileNameOffset === previous.fileNameOffset && line.lineCol >>> 10 === previous.lineCol >>> 10) return;
  const btf = env.btf!.btf;
  env.log.write(prefix);
  env.log.write((btf.stringAt(line.lineOffset) ?? '').replace(/^[\t-\r ]+/, ''));
  const file = btf.stringAt(line.fileNameOffset) ?? '';
  env.log.write(` @ ${file.slice(file.lastIndexOf('/') + 1)}:${line.lineCol >>> 10}\n`);
  env.prevLineInfo = line;
}
