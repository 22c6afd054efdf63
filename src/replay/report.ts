/**
 * @module src/replay/report
 * Turns a summary into text for people: shares, the most frequent ways to differ, the first differences in full.
 */
import type { Mismatch, ReplaySummary } from './replay.ts';

/** Differences of the same kind: one per case, the first. */
export interface MismatchGroup {
  readonly title: string;
  readonly cases: readonly string[];
}

/** `"97.50 %"`, cut rather than rounded, so that 100 means all. */
export function share(part: number, whole: number): string {
  if (whole === 0) return '-';
  return `${(Math.floor((part / whole) * 10000) / 100).toFixed(2)} %`;
}

/** Groups the first mismatch of every case by what it says, most frequent first. */
export function groupMismatches(mismatches: readonly Mismatch[]): readonly MismatchGroup[] {
  const groups = new Map<string, string[]>();
  for (const [testCase, first] of firstMismatches(mismatches)) {
    const title = describe(first);
    const cases = groups.get(title);
    if (cases === undefined) groups.set(title, [testCase]);
    else cases.push(testCase);
  }
  return [...groups].map(([title, cases]) => ({ title, cases })).toSorted((a, b) => b.cases.length - a.cases.length);
}

/** All mismatches of the first operation of each case that differs. */
function firstMismatches(mismatches: readonly Mismatch[]): ReadonlyMap<string, readonly Mismatch[]> {
  const first = new Map<string, Mismatch[]>();
  for (const mismatch of mismatches) {
    const list = first.get(mismatch.case);
    if (list === undefined) first.set(mismatch.case, [mismatch]);
    else if (list[0]?.op === mismatch.op) list.push(mismatch);
  }
  return first;
}

/** What differs in one operation, with numbers and registers taken out so that like falls to like. */
function describe(mismatches: readonly Mismatch[]): string {
  const first = mismatches[0];
  if (first === undefined) return '';
  const of = (field: string): Mismatch | undefined => mismatches.find((mismatch) => mismatch.field === field);
  const exception = of('exception');
  if (exception !== undefined) return `${first.cmd}: exception ${general(exception.got)}`;
  const errno = of('errno');
  const message = of('lastMessage');
  if (errno !== undefined) {
    const said = message === undefined ? '' : `: "${general(message.got)}", want "${general(message.want)}"`;
    return `${first.cmd}: errno ${errno.got}, want ${errno.want}${said}`;
  }
  if (message !== undefined) return `${first.cmd}: last message "${general(message.got)}", want "${general(message.want)}"`;
  const log = of('log');
  if (log !== undefined) return `${first.cmd}: log only: ${general(firstDifferingLine(log))}`;
  return `${first.cmd}: ${first.field} ${general(first.got)}, want ${general(first.want)}`;
}

function firstDifferingLine({ got, want }: Mismatch): string {
  const mine = String(got).split('\n');
  const theirs = String(want).split('\n');
  const at = theirs.findIndex((line, index) => line !== mine[index] && !line.startsWith('(line '));
  return `"${mine[at] ?? ''}", want "${theirs[at] ?? ''}"`;
}

function general(text: string | number): string {
  const first = String(text).split('\n')[0] ?? '';
  return first.replace(/0x[0-9a-fA-F]+/g, '0xN').replace(/-?\d+/g, 'N').slice(0, 160);
}

/** The report of `bpftwin replay`; `show` is the number of groups and of differences that are printed in full. */
export function formatReport(summary: ReplaySummary, show: number, seconds: number): string {
  const { cases, agree, retval } = summary;
  const rows: [string, number, number][] = [
    ['everything', agree.cases, cases],
    ['ret', agree.ret, cases],
    ['errno', agree.errno, cases],
    ['last message', agree.lastMessage, cases],
    ['whole log', agree.log, cases],
    ['insns processed', agree.insnsProcessed, cases],
    ['retval (runs)', retval.agree, retval.compared],
  ];
  const lines = [`${cases} cases, ${summary.operations} operations, ${seconds.toFixed(1)} s`];
  for (const [label, part, whole] of rows) lines.push(`  ${label.padEnd(16)} ${String(part).padStart(5)} of ${String(whole).padStart(5)}  ${share(part, whole)}`);
  if (summary.exceptions > 0) lines.push(`  exceptions       ${String(summary.exceptions).padStart(5)}`);
  if (summary.leaks > 0) lines.push(`  leaks            ${String(summary.leaks).padStart(5)}`, ...summary.leaking.slice(0, show).map((text) => `    ${text}`));
  if (show > 0 && summary.mismatches.length > 0) lines.push(...formatMismatches(summary.mismatches, show));
  return `${lines.join('\n')}\n`;
}

function formatMismatches(mismatches: readonly Mismatch[], show: number): string[] {
  const lines = ['', 'most frequent:'];
  const groups = groupMismatches(mismatches);
  for (const { title, cases } of groups.slice(0, show)) {
    lines.push(`${String(cases.length).padStart(5)}  ${title}`, `         ${cases.slice(0, 3).join(', ')}${cases.length > 3 ? ', …' : ''}`);
  }
  if (groups.length > show) lines.push(`       and ${groups.length - show} more kinds`);
  lines.push('', 'first differences:');
  const shown = new Set<string>();
  for (const mismatch of mismatches) {
    if (!shown.has(mismatch.case) && shown.size >= show) break;
    shown.add(mismatch.case);
    lines.push(`${mismatch.case} #${mismatch.op} ${mismatch.cmd} ${mismatch.field}`, indent('got ', mismatch.got), indent('want', mismatch.want));
  }
  return lines;
}

function indent(label: string, text: string | number): string {
  return String(text).split('\n').map((line, index) => `  ${index === 0 ? label : '    '} ${line}`).join('\n');
}
