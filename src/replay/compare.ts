/**
 * @module src/replay/compare
 * Compares answers: what must agree, how logs are masked, what a log's last message is. Pure functions.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import type { Got } from './perform.ts';
import type { Answer, Operation } from './transcript.ts';

/** What an operation can disagree in. `exception` is a bug of ours. */
export type Field = 'exception' | 'ret' | 'errno' | 'lastMessage' | 'log' | 'insnsProcessed' | 'retval' | 'dataSizeOut' | 'out' | 'seen';

/** One disagreement of one operation. */
export interface Difference {
  readonly field: Field;
  readonly got: string | number;
  readonly want: string | number;
}

/** Recorded logs longer than this are kept as a digest and a tail. */
const TAIL_CHARS = 2000;

/**
 * What two kernels cannot agree on: addresses, the padding they cause, times.
 * @example maskLog('R1=0xffff8880deadbeef   ; x') === 'R1=0xADDR ; x'
 */
export function maskLog(log: string): string {
  return log
    .replace(/0xff[0-9a-f]{14}\b/g, '0xADDR')
    .replace(/ +;/g, ' ;')
    .replace(/verification time \d+ usec/g, 'verification time N usec');
}

const STATISTIC = /^(processed |verification time|stack depth|max_states|arg#|mark_precise)/;

/** The last non-empty line that is not a statistic, `""` where there is none. */
export function lastMessage(log: string): string {
  let end = log.length;
  while (end > 0) {
    const start = log.lastIndexOf('\n', end - 1) + 1;
    const line = log.slice(start, end);
    if (line.trim() !== '' && !STATISTIC.test(line)) return line;
    end = start - 1;
  }
  return '';
}

/** `N` of the last "processed N insns", -1 where there is none. */
export function insnsProcessed(log: string): number {
  const at = log.lastIndexOf('processed ');
  const match = at < 0 ? null : /^processed (\d+) insns/.exec(log.slice(at, at + 40));
  return match === null ? -1 : Number(match[1]);
}

/** All differences between what a kernel answered and what ours did; empty where they agree. */
export function compareAnswers(operation: Operation, got: Got): readonly Difference[] {
  const { want } = operation;
  const differences: Difference[] = [];
  const compare = (field: Field, mine: string | number | undefined, theirs: string | number | undefined): void => {
    if (theirs !== undefined && mine !== theirs) differences.push({ field, got: mine ?? '(none)', want: theirs });
  };
  if (isSerial(operation)) {
    // serials are numbers of the kernel's own: any serial agrees with any other
    compare('ret', Math.sign(Number(got.ret)), Math.sign(Number(want.ret)));
  } else {
    compare('ret', got.ret, want.ret);
  }
  compare('errno', got.errno, want.errno);
  compareLogs(want, got, compare);
  compare('retval', got.retval, want.retval);
  compare('dataSizeOut', got.dataSizeOut, want.dataSizeOut);
  for (const [key, theirs] of Object.entries(want.out ?? {})) {
    const mine = got.out?.[key];
    if (mine !== masked(operation, key, theirs)) differences.push({ field: 'out', got: `${key}: ${mine ?? '(none)'}`, want: `${key}: ${theirs}` });
  }
  if (want.seen !== undefined) compare('seen', JSON.stringify(got.seen), JSON.stringify(want.seen));
  return differences;
}

function isSerial(operation: Operation): boolean {
  return operation.op === 'key' || operation.op === 'keyid';
}

/** A recorded answer with the ignored ranges zeroed, as the answer that it is compared with. */
function masked(operation: Operation, key: string, hex: string): string {
  const ranges = operation.op === 'bpf' ? operation.ignored.get(key) : undefined;
  if (ranges === undefined) return hex;
  const digits = [...hex];
  for (const [start, length] of ranges) digits.fill('0', 2 * start, 2 * (start + length));
  return digits.join('').replace(/(00)+$/, '');
}

function compareLogs(want: Answer, got: Got, compare: (field: Field, mine: string | number, theirs: string | number) => void): void {
  const mine = got.log ?? '';
  if (want.log !== undefined) {
    compare('lastMessage', lastMessage(mine), lastMessage(want.log));
    compare('log', mine, want.log);
    compare('insnsProcessed', insnsProcessed(mine), insnsProcessed(want.log));
    return;
  }
  if (want.logSha256 === undefined) return;
  const digest = bytesToHex(sha256(utf8ToBytes(mine)));
  if (digest !== want.logSha256) compare('log', `sha256 ${digest}`, `sha256 ${want.logSha256}`);
  if (want.logTail !== undefined) {
    const tail = mine.slice(-TAIL_CHARS);
    compare('lastMessage', lastMessage(tail), lastMessage(want.logTail));
    compare('insnsProcessed', insnsProcessed(tail), insnsProcessed(want.logTail));
  }
}
