/**
 * @module src/veristat/top-lines
 * Source lines that the verifier came by most often, counted in its log of level 2 (`print_top_src_lines()` of
 * `tools/testing/selftests/bpf/veristat.c`).
 */

/** One line of source. */
export interface SourceLine {
  readonly count: number;
  readonly text: string;
  /** `file.c:12`; '' where the log does not say. */
  readonly place: string;
}

/** The `limit` most frequent lines, ties in the order of their text. */
export function topSourceLines(log: string, limit: number): SourceLine[] {
  const counts = new Map<string, number>();
  for (const line of log.split('\n')) if (line.startsWith('; ')) counts.set(line.slice(2), (counts.get(line.slice(2)) ?? 0) + 1);
  return [...counts].toSorted(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, limit).map(([line, count]) => {
    const at = line.lastIndexOf('@');
    return at < 0 ? { count, text: line, place: '' } : { count, text: line.slice(0, at).trimEnd(), place: line.slice(at + 1).trimStart() };
  });
}

/** The lines as veristat prints them; '' where there are none. */
export function formatTopLines(program: string, lines: readonly SourceLine[]): string {
  if (lines.length === 0) return '';
  const rows = lines.map(({ count, text, place }) => `${String(count).padStart(5)}: ${place === '' ? text : `(${place})\t${text}`}\n`);
  return `Top source lines (${program}):\n${rows.join('')}\n`;
}
