/**
 * @module src/cli/verify
 * `bpftwin verify OBJ.o… [--prog NAME]… [--log LEVEL] [--btf FILE]`: would these programs load? Columns, order, filters and comparison
 * (`-o -e -s -f -C`) as veristat has them.
 */
import { basename } from 'node:path';
import { loadKernelBTF } from '../node/kernel-btf.ts';
import { rowStats, verifyObject, type VerifiedRow } from '../verify.ts';
import { differenceCells, isWorse, joinedValue, joinStats, type JoinedRow } from '../veristat/compare.ts';
import { formatCSV, parseCSV } from '../veristat/csv.ts';
import { addSource, findReport } from '../veristat/explain.ts';
import { isWanted, parseFilter, type Filter } from '../veristat/filter.ts';
import { parseStatList, sortRows, SpecError, STATS, statValue, type StatDefinition, type StatName, type StatSpec } from '../veristat/stats.ts';
import { UsageError } from './failure.ts';
import { readConfiguration } from './host.ts';
import { EXIT_OK, EXIT_REJECTED, readInput, writeJSON, type Context } from './io.ts';
import { createRenderer } from './render.ts';
import { createSourceFinder } from './sources.ts';

export interface VerifyCommandOptions {
  readonly prog?: readonly string[];
  readonly log?: number;
  readonly btf?: string;
  readonly kconfig?: string;
  readonly output?: 'table' | 'csv';
  readonly emit?: string;
  readonly sort?: string;
  readonly filter?: readonly string[];
  readonly compare?: boolean;
  readonly explain?: boolean;
}

/** What the specifications on the command line say. */
interface Report {
  readonly isCSV: boolean;
  /** `undefined` where none were chosen. */
  readonly columns: readonly StatDefinition[] | undefined;
  readonly order: readonly StatSpec[];
  readonly filters: readonly Filter[];
}

const TABLE_COLUMNS: readonly StatName[] = ['file_name', 'prog_name', 'verdict', 'duration', 'total_insns', 'total_states', 'peak_states'];

/** Runs the command; 1 where a program is refused, or its verdict got worse. */
export async function verifyCommand(files: readonly string[], options: VerifyCommandOptions, context: Context): Promise<number> {
  const report = readReport(options);
  checkCombination(options, context);
  if (options.compare === true) return await compareFiles(files, report, context);
  const logLevel = options.log ?? (context.debug || options.explain === true ? 1 : 0);
  if (options.explain === true && (logLevel & 3) === 0) throw new UsageError(`--log ${logLevel}: --explain needs level 1 or 2, which have the report`);
  const rows = arrange(verifyFiles(files, options, logLevel), report);
  if (context.json) writeJSON(context, options.explain === true ? rows.map((row) => ({ ...row, report: explainRow(row) })) : rows);
  else await writeReport(rows, report, options, context, logLevel);
  return rows.every(({ verdict }) => verdict === 'success') ? EXIT_OK : EXIT_REJECTED;
}

function readReport({ output, emit, sort = 'file,prog', filter = [] }: VerifyCommandOptions): Report {
  try {
    return {
      isCSV: output === 'csv',
      columns: emit === undefined ? undefined : parseStatList('--emit', emit).map(({ stat }) => stat),
      order: parseStatList('--sort', sort),
      filters: filter.flatMap(filtersOf).map(parseFilter),
    };
  } catch (error) {
    throw error instanceof SpecError ? new UsageError(error.message) : error;
  }
}

/** `@FILE` stands for the lines of a file, without blank ones and comments. */
function filtersOf(spec: string): string[] {
  if (!spec.startsWith('@')) return [spec];
  return readText(spec.slice(1)).split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
}

function readText(file: string): string {
  return new TextDecoder().decode(readInput(file));
}

function checkCombination({ output, compare, explain, prog, log }: VerifyCommandOptions, { json }: Context): void {
  if (json && output === 'csv') throw new UsageError('--output csv: not together with --json');
  if (explain === true && output === 'csv') throw new UsageError('--explain: not together with --output csv');
  if (explain === true && compare === true) throw new UsageError('--explain: not together with --compare');
  if (compare === true && (prog !== undefined || log !== undefined)) throw new UsageError('--compare: loads nothing, so not together with --prog or --log; --filter chooses programs');
}

function verifyFiles(files: readonly string[], options: VerifyCommandOptions, logLevel: number): VerifiedRow[] {
  return files.flatMap((file) => verifyObject(readInput(file), file, {
    kernelBTF: () => loadKernelBTF(options.btf), logLevel, clock: () => performance.now(),
    ...(options.kconfig === undefined ? {} : { configuration: readConfiguration(options.kconfig) }),
    ...(options.prog === undefined ? {} : { programs: options.prog }),
  }));
}

function arrange(rows: readonly VerifiedRow[], { filters, order }: Report): VerifiedRow[] {
  const wanted = rows.map((row) => ({ row, stats: rowStats(row) })).filter(({ row, stats }) => isWanted(filters, {
    file: basename(row.file), prog: row.prog, valueOf: (spec) => numeric(statValue(stats, spec)),
  }));
  return sortRows(wanted, order, ({ stats }, spec) => statValue(stats, spec)).map(({ row }) => row);
}

/** A verdict counts 0 or 1 in filters. */
function numeric(value: string | number | undefined): number | undefined {
  if (typeof value === 'number') return value;
  return value === undefined ? undefined : Number(value === 'success');
}

async function writeReport(rows: readonly VerifiedRow[], report: Report, options: VerifyCommandOptions, context: Context, logLevel: number): Promise<void> {
  const { stdout } = context;
  if (report.isCSV) {
    const columns = report.columns ?? STATS;
    stdout.write(formatCSV([columns.map(({ name }) => name), ...rows.map((row) => rowCells(row, columns))]));
    return;
  }
  // With --explain the log is shown only where it was asked for.
  if (logLevel > 0 && (options.log !== undefined || options.explain !== true)) writeLogs(rows, context);
  if (options.explain === true) for (const row of rows) if (row.verdict === 'failure') stdout.write(`${basename(row.file)}/${row.prog}: ${explainRow(row)}\n`);
  await writeTable(context, rows, report.columns);
}

function rowCells(row: VerifiedRow, columns: readonly StatDefinition[]): string[] {
  const stats = rowStats(row);
  return columns.map(({ name }) => String(stats[name] ?? 'N/A'));
}

function writeLogs(rows: readonly VerifiedRow[], { stdout }: Context): void {
  for (const { prog, log } of rows) if (log !== '') stdout.write(`PROCESSING ${prog}\n${log.endsWith('\n') ? log : `${log}\n`}\n`);
}

/** The verifier's report; where it made none, or libbpf refused, the message that decided. */
function explainRow(row: VerifiedRow): string {
  if (row.verdict === 'success') return '';
  const report = findReport(row.log);
  return report === '' ? `${row.name}: ${row.message}\n` : addSource(report, createSourceFinder(row.file));
}

async function writeTable(context: Context, rows: readonly VerifiedRow[], chosen: readonly StatDefinition[] | undefined): Promise<void> {
  const render = await createRenderer(context);
  const columns = chosen ?? STATS.filter(({ name }) => TABLE_COLUMNS.includes(name));
  const cells = rows.map((row) => [
    ...rowCells(row, columns).map((cell, i) => (columns[i]?.name === 'verdict' ? render.tone(cell === 'success' ? 'good' : 'bad', cell) : cell)),
    ...(chosen !== undefined ? [] : [row.verdict === 'success' ? '' : `${row.name}: ${row.message}`]),
  ]);
  context.stdout.write(render.table([...columns.map(({ header }) => header), ...(chosen === undefined ? [''] : [])], cells));
  const refused = rows.filter(({ verdict }) => verdict === 'failure').length;
  context.stdout.write(`${rows.length} program${rows.length === 1 ? '' : 's'}, ${refused} refused\n`);
}

async function compareFiles(files: readonly string[], report: Report, context: Context): Promise<number> {
  const [baseFile, compFile, ...more] = files;
  if (baseFile === undefined || compFile === undefined || more.length > 0) throw new UsageError(`--compare: two CSV files are wanted, not ${files.length}`);
  const base = parseCSV(readText(baseFile), baseFile);
  const comp = parseCSV(readText(compFile), compFile);
  const common = base.columns.filter(({ name }) => comp.columns.some((column) => column.name === name));
  const missing = report.columns?.find((column) => !common.includes(column));
  if (missing !== undefined) throw new UsageError(`--emit ${missing.name}: not in both files`);
  const columns = report.columns ?? (report.isCSV ? common : common.filter(({ name }) => TABLE_COLUMNS.includes(name)));
  const wanted = joinStats(base.rows, comp.rows).filter((row) => isWanted(report.filters, {
    file: row.file, prog: row.prog, valueOf: (spec) => numeric(joinedValue(row, spec)),
  }));
  const rows = sortRows(wanted, report.order, joinedValue);
  await writeComparison(rows, columns, report, context);
  return rows.some(isWorse) ? EXIT_REJECTED : EXIT_OK;
}

async function writeComparison(rows: readonly JoinedRow[], columns: readonly StatDefinition[], { isCSV }: Report, context: Context): Promise<void> {
  const cells = rows.map((row) => columns.flatMap((stat) => (stat.kind === 'key' ? [String(joinedValue(row, { stat, side: 'comp', isAbsolute: false }))] : differenceCells(row, stat))));
  const head = (suffixes: readonly string[], label: (stat: StatDefinition) => string): string[] =>
    columns.flatMap((stat) => (stat.kind === 'key' ? [label(stat)] : suffixes.map((suffix) => label(stat) + suffix)));
  const names = head(['_base', '_comp', '_diff'], ({ name }) => name);
  if (context.json) {
    writeJSON(context, rows.map((row, i) => ({ ...Object.fromEntries(names.map((name, column) => [name, cells[i]?.[column]])), worse: isWorse(row) })));
    return;
  }
  if (isCSV) {
    context.stdout.write(formatCSV([names, ...cells]));
    return;
  }
  const render = await createRenderer(context);
  context.stdout.write(render.table(head([' (A)', ' (B)', ' (DIFF)'], ({ header }) => header), cells));
  context.stdout.write(`${rows.length} program${rows.length === 1 ? '' : 's'}, ${rows.filter(isWorse).length} worse\n`);
}
