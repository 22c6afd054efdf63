/**
 * @module src/veristat/csv
 * veristat's CSV: a line of canonical names, then a line a program. No quoting, as in veristat; hostile text cannot add columns or lines.
 */
import { InputError } from '../../isa/errors.ts';
import { parseStatName, type StatDefinition, type StatName, type Stats } from './stats.ts';

/** A parsed CSV. */
export interface StatsTable {
  readonly columns: readonly StatDefinition[];
  readonly rows: readonly Stats[];
}

/** Lines of cells; what would be taken for a separator becomes a question mark. */
export function formatCSV(rows: readonly (readonly string[])[]): string {
  return rows.map((row) => `${row.map((cell) => cell.replace(/[,\p{Cc}]/gu, '?')).join(',')}\n`).join('');
}

/**
 * Reads what `verify -o csv` or `veristat -o csv` wrote.
 *
 * @throws InputError with the line, where it is no such thing
 *
 * @example
 * parseCSV('file_name,prog_name,verdict\na.o,p,success\n', 'a.csv').rows[0]; // { file_name: 'a.o', prog_name: 'p', verdict: 'success' }
 */
export function parseCSV(text: string, file: string): StatsTable {
  const [head = '', ...lines] = text.replace(/\n$/, '').split(/\r?\n/);
  const columns = head.split(',').map((name) => {
    const parsed = parseStatName(name);
    if (parsed === undefined) throw new InputError(file, 'line 1', `no figure is called ${JSON.stringify(name)}`);
    return parsed.stat;
  });
  for (const name of ['file_name', 'prog_name'] satisfies StatName[]) {
    if (!columns.some((column) => column.name === name)) throw new InputError(file, 'line 1', `no column ${name}`);
  }
  return { columns, rows: lines.flatMap((line, i) => (line === '' ? [] : [parseRow(line, columns, file, `line ${i + 2}`)])) };
}

function parseRow(line: string, columns: readonly StatDefinition[], file: string, place: string): Stats {
  const cells = line.split(',');
  if (cells.length !== columns.length) throw new InputError(file, place, `${cells.length} columns instead of ${columns.length}`);
  return Object.fromEntries(columns.map((column, i) => [column.name, parseCell(column, cells[i] ?? '', file, place)]));
}

function parseCell({ name, kind }: StatDefinition, cell: string, file: string, place: string): string | number {
  if (kind === 'verdict' && cell !== 'success' && cell !== 'failure') throw new InputError(file, place, `${JSON.stringify(cell)} is no verdict`);
  if (kind !== 'number') return cell;
  if (!/^-?\d{1,15}$/.test(cell)) throw new InputError(file, place, `${name}: ${JSON.stringify(cell)} is no whole number`);
  return Number(cell);
}
