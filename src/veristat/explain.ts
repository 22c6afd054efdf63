/**
 * @module src/veristat/explain
 * The report that the verifier ends the log of a refused program with, "Verification failed: …", and the lines of source around the
 * places that it names. Reads no file: where sources are is the caller's.
 */

/** Lines of a source file by the name that the report has for it; `undefined` where it is not found. */
export type SourceFinder = (name: string) => readonly string[] | undefined;

const START = /^Verification failed: /m;
const STATISTICS = /^(?:processed \d+ insns |verification time \d+ usec|stack depth )/m;
const PLACE = /^ {2}\S+ @ (.+):(\d{1,9}):\d+$/;
/** The verifier shows the source itself where the object's BTF has its text. */
const SHOWN = '  Source context:';
/** What the verifier says of a place whose text it does not have. */
const REMARK = /^ {7}\| /;
const AROUND = 2;

/**
 * Takes the report out of a log; '' where there is none.
 *
 * @example
 * findReport(row.log).split('\n')[0]; // 'Verification failed: Memory Safety: Access outside bounds'
 */
export function findReport(log: string): string {
  const start = START.exec(log);
  if (start === null) return '';
  const report = log.slice(start.index);
  return `${report.slice(0, STATISTICS.exec(report)?.index).trimEnd()}\n`;
}

/**
 * Puts the source around each place that a report names below it, in the form of the verifier's own "Source context:"; a place that has
 * one stays as it is.
 */
export function addSource(report: string, sourceOf: SourceFinder): string {
  const lines = report.split('\n');
  const result: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    result.push(line);
    const [, file, number] = PLACE.exec(line) ?? [];
    if (file === undefined || lines[i + 1] === SHOWN) continue;
    const source = sourceOf(file);
    const at = Number(number);
    // A line beyond the end means that this is another file of that name, or another version of it.
    if (source === undefined || at < 1 || at > source.length) continue;
    const end = lines.findIndex((next, j) => j > i && !REMARK.test(next));
    const remarks = lines.slice(i + 1, end < 0 ? lines.length : end);
    result.push(SHOWN, ...excerpt(source, at, remarks));
    i += remarks.length;
  }
  return result.join('\n');
}

function excerpt(source: readonly string[], line: number, remarks: readonly string[]): string[] {
  const first = Math.max(1, line - AROUND);
  const shown = source.slice(first - 1, line + AROUND);
  const width = Math.max(2, String(first + shown.length - 1).length);
  const numbered = shown.map((text, i) => `  ${first + i === line ? '>>>' : '   '} ${String(first + i).padStart(width)} | ${printable(text)}`.trimEnd());
  numbered.splice(line - first + 1, 0, ...remarks.map((remark) => ' '.repeat(width) + remark));
  return numbered;
}

function printable(text: string): string {
  return text.replaceAll('\t', '    ').replace(/\p{Cc}/gu, '?');
}
