/**
 * @module src/veristat/filter
 * Which programs a report is about: `[!]FILE_GLOB[/PROG_GLOB]` and `[!]FIGURE OPERATOR VALUE`, as veristat reads them
 * (`append_filter()` of `tools/testing/selftests/bpf/veristat.c`).
 */
import { parseStatName, SpecError, type StatSpec } from './stats.ts';

type Operator = '==' | '!=' | '<=' | '<' | '>=' | '>';

/** A filter on names; an empty pattern is one that is not there. */
export interface NameFilter {
  readonly kind: 'name';
  readonly isDenied: boolean;
  /** Matches file or program. */
  readonly any: string;
  readonly file: string;
  readonly prog: string;
}

/** A filter on a figure. */
export interface StatFilter extends Omit<StatSpec, 'isAscending'> {
  readonly kind: 'stat';
  readonly isDenied: boolean;
  readonly operator: Operator;
  readonly value: number;
}

export type Filter = NameFilter | StatFilter;

const EXPRESSION = /^(.*?)(==|!=|<>|<=|<|>=|>|=)(.*)$/s;
const OPERATORS: Readonly<Record<string, Operator>> = { '=': '==', '==': '==', '!=': '!=', '<>': '!=', '<=': '<=', '<': '<', '>=': '>=', '>': '>' };
const WORDS: Readonly<Record<string, number>> = {
  true: 1, t: 1, success: 1, succ: 1, s: 1, match: 1, m: 1, false: 0, f: 0, failure: 0, fail: 0, mismatch: 0, mis: 0,
};

/**
 * Reads one filter.
 *
 * @throws SpecError that names it
 *
 * @example
 * parseFilter('!verdict=success'); // every program that is refused
 */
export function parseFilter(text: string): Filter {
  const isDenied = text.startsWith('!');
  const body = isDenied ? text.slice(1) : text;
  const expression = EXPRESSION.exec(body);
  return expression === null ? parseNameFilter(text, body, isDenied) : parseStatFilter(text, expression, isDenied);
}

function fail(text: string, reason: string): never {
  throw new SpecError(`--filter ${JSON.stringify(text)}: ${reason}`);
}

function parseStatFilter(text: string, [, left = '', sign = '', right = '']: RegExpExecArray, isDenied: boolean): StatFilter {
  const operator = OPERATORS[sign];
  const parsed = parseStatName(left.trim());
  if (parsed === undefined || operator === undefined) fail(text, `no figure is called ${JSON.stringify(left.trim())}`);
  const { stat } = parsed;
  if (stat.kind === 'key' || stat.kind === 'name') fail(text, `${stat.name} is no number`);
  const word = right.trim().toLowerCase();
  const value = Object.hasOwn(WORDS, word) ? WORDS[word] : /^[+-]?\d{1,15}$/.test(word) ? Number(word) : undefined;
  if (value === undefined) fail(text, `${JSON.stringify(right.trim())} is no whole number`);
  return { kind: 'stat', isDenied, operator, value, ...parsed };
}

function parseNameFilter(text: string, body: string, isDenied: boolean): NameFilter {
  const slash = body.indexOf('/');
  const filter: NameFilter = slash < 0
    ? { kind: 'name', isDenied, any: body, file: '', prog: '' }
    : { kind: 'name', isDenied, any: '', file: body.slice(0, slash), prog: body.slice(slash + 1) };
  if (filter.any === '' && filter.file === '' && filter.prog === '') fail(text, 'empty');
  return filter;
}

/** What filters need to know of a row. */
export interface FilteredRow {
  readonly file: string;
  readonly prog: string;
  /** A number, 0 or 1 for a verdict; `undefined` where it is not known. */
  valueOf(spec: Omit<StatSpec, 'isAscending'>): number | undefined;
}

/**
 * True where no `!` filter matches, and of the others one on names (if there is any) and one on figures (if there is any).
 */
export function isWanted(filters: readonly Filter[], row: FilteredRow): boolean {
  if (filters.some((filter) => filter.isDenied && matches(filter, row))) return false;
  return (['name', 'stat'] as const).every((kind) => {
    const allowed = filters.filter((filter) => !filter.isDenied && filter.kind === kind);
    return allowed.length === 0 || allowed.some((filter) => matches(filter, row));
  });
}

function matches(filter: Filter, row: FilteredRow): boolean {
  if (filter.kind === 'stat') return matchesStat(filter, row.valueOf(filter));
  if (filter.any !== '') return matchesGlob(row.file, filter.any) || matchesGlob(row.prog, filter.any);
  return (filter.file === '' || matchesGlob(row.file, filter.file)) && (filter.prog === '' || matchesGlob(row.prog, filter.prog));
}

function matchesStat({ operator, value }: StatFilter, actual: number | undefined): boolean {
  if (actual === undefined) return false;
  switch (operator) {
    case '==': return actual === value;
    case '!=': return actual !== value;
    case '<=': return actual <= value;
    case '<': return actual < value;
    case '>=': return actual >= value;
    case '>': return actual > value;
  }
}

/** `*` stands for any characters, nothing else is special. No regular expression: a pattern with many stars would take it for ever. */
export function matchesGlob(text: string, pattern: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return text === pattern;
  const last = rest.pop() ?? '';
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}
