/**
 * @module src/veristat/compare
 * Two sets of figures side by side: which programs are in both, how much each figure changed, and whether a verdict got worse. Values and
 * their form are those of veristat's comparison mode.
 */
import { statValue, type StatDefinition, type StatSpec, type Stats } from './stats.ts';

/** A program of either set, or of both. */
export interface JoinedRow {
  readonly file: string;
  readonly prog: string;
  readonly base: Stats | undefined;
  readonly comp: Stats | undefined;
}

/** Joins by file and program; of several rows of one program the last counts. */
export function joinStats(base: readonly Stats[], comp: readonly Stats[]): JoinedRow[] {
  const [left, right] = [keyed(base), keyed(comp)];
  return [...new Set([...left.keys(), ...right.keys()])].map((key) => {
    const [a, b] = [left.get(key), right.get(key)];
    const { file_name: file, prog_name: prog } = a ?? b ?? {};
    return { file: String(file), prog: String(prog), base: a, comp: b };
  });
}

function keyed(rows: readonly Stats[]): Map<string, Stats> {
  return new Map(rows.map((row) => [`${row.file_name}\n${row.prog_name}`, row]));
}

/** True where a program that was accepted is now refused. */
export function isWorse({ base, comp }: JoinedRow): boolean {
  return base?.verdict === 'success' && comp?.verdict === 'failure';
}

/** The value that order and filters see; `undefined` where one side that it needs is missing. */
export function joinedValue(row: JoinedRow, { stat, side, isAbsolute }: Omit<StatSpec, 'isAscending'>): string | number | undefined {
  if (stat.name === 'file_name') return row.file;
  if (stat.name === 'prog_name') return row.prog;
  if (side === 'base' || side === 'comp') return row[side] === undefined ? undefined : statValue(row[side], { stat, isAbsolute });
  const [a, b] = [row.base?.[stat.name], row.comp?.[stat.name]];
  if (a === undefined || b === undefined) return undefined;
  if (typeof a === 'string' || typeof b === 'string') return a === b ? 1 : 0;
  const value = side === 'diff' ? b - a : percent(a, b);
  return isAbsolute ? Math.abs(value) : value;
}

/** Change in percent of the first value; from nothing to something is a hundred. */
function percent(a: number, b: number): number {
  if (a !== 0) return ((b - a) * 100) / a;
  return Math.sign(b) * 100;
}

/** Base, comparison and difference: `10`, `12`, `+2 (+20.00%)`; `MATCH` or `MISMATCH` for words; `N/A` for what is missing. */
export function differenceCells({ base, comp }: JoinedRow, { name }: StatDefinition): [base: string, comp: string, diff: string] {
  const [a, b] = [base?.[name], comp?.[name]];
  return [a === undefined ? 'N/A' : String(a), b === undefined ? 'N/A' : String(b), difference(a, b)];
}

function difference(a: string | number | undefined, b: string | number | undefined): string {
  if (a === undefined || b === undefined) return 'N/A';
  if (typeof a === 'string' || typeof b === 'string') return a === b ? 'MATCH' : 'MISMATCH';
  return `${signed(b - a, 0)} (${signed(percent(a, b), 2)}%)`;
}

function signed(value: number, digits: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(digits)}`;
}
