/**
 * @module src/cli/verify
 * `bpftwin verify OBJ.o… [--prog NAME]… [--log LEVEL] [--btf FILE]`: would these programs load? Columns, order, filters and comparison
 * (`-o -e -s -f -n -C -R`), variables, source lines and dumps (`-G -S --dump`) as veristat has them.
 */
import { basename } from 'node:path';
import { BPF_F_TEST_REG_INVARIANTS, BPF_F_TEST_STATE_FREQ } from '../../kernel/flags.ts';
import { loadKernelBTF } from '../node/kernel-btf.ts';
import { rowStats, verifyObject, type VerifiedRow } from '../verify.ts';
import { differenceCells, isWorse, joinedValue, joinStats, type JoinedRow } from '../veristat/compare.ts';
import { formatCSV, parseCSV } from '../veristat/csv.ts';
import { addSource, findReport } from '../veristat/explain.ts';
import { isWanted, parseFilter, type Filter } from '../veristat/filter.ts';
import { parsePreset, type Preset } from '../veristat/presets.ts';
import { parseStatList, sortRows, SpecError, STATS, statValue, type StatDefinition, type StatName, type StatSpec } from '../veristat/stats.ts';
import { formatTopLines, topSourceLines } from '../veristat/top-lines.ts';
import { UsageError } from './failure.ts';
import { readConfiguration } from './host.ts';
import { EXIT_OK, EXIT_REJECTED, readInput, writeJSON, type Context } from './io.ts';
import { createProgress } from './progress.ts';
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
  readonly replay?: boolean;
  readonly explain?: boolean;
  readonly topN?: number;
  readonly topSrcLines?: number;
  readonly setGlobalVars?: readonly string[];
  readonly testStates?: boolean;
  readonly testRegInvariants?: boolean;
  readonly logFixed?: boolean;
  readonly logSize?: number;
  /** True for the option without a mode. */
  readonly dump?: true | 'xlated';
  readonly quiet?: boolean;
}

/** What the specifications on the command line say. */
interface Report {
  readonly isCSV: boolean;
  /** `undefined` where none were chosen. */
  readonly columns: readonly StatDefinition[] | undefined;
  readonly order: readonly StatSpec[];
  readonly filters: readonly Filter[];
  /** Rows shown at most. */
  readonly limit: number;
  readonly presets: readonly Preset[];
}

/** What verification gives besides rows. */
interface Verified {
  readonly rows: readonly VerifiedRow[];
  /** Listings of rewritten programs. */
  readonly dumps: ReadonlyMap<VerifiedRow, string>;
}

const LOG_FIXED = 8;

const TABLE_COLUMNS: readonly StatName[] = ['file_name', 'prog_name', 'verdict', 'duration', 'total_insns', 'total_states', 'peak_states'];

/** Runs the command; 1 where a program is refused, or its verdict got worse. */
export async function verifyCommand(files: readonly string[], options: VerifyCommandOptions, context: Context): Promise<number> {
  const report = readReport(options);
  checkCombination(options, context);
  if (options.compare === true) return await compareFiles(files, report, options, context);
  if (options.replay === true) return await replayFile(files, report, options, context);
  const isExplained = options.explain === true;
  const asked = options.log ?? (context.debug || isExplained ? 1 : 0);
  if (isExplained && (asked & 3) === 0) throw new UsageError(`--log ${asked}: --explain needs level 1 or 2, which have the report`);
  // Lines are counted in the log, which is not shown for that.
  const logLevel = asked === 0 && (options.topSrcLines ?? 0) > 0 ? 2 : asked;
  const { rows: all, dumps } = await verifyFiles(expandFiles(files), options, report, logLevel, context);
  const rows = arrange(all, report);
  if (context.json) writeJSON(context, rows.map((row) => ({ ...row, ...(isExplained ? { report: explainRow(row) } : {}), ...jsonExtras(row, options, dumps) })));
  else await writeReport(rows, dumps, report, options, context, asked);
  return rows.every(({ verdict }) => verdict === 'success') ? EXIT_OK : EXIT_REJECTED;
}

function jsonExtras(row: VerifiedRow, { topSrcLines, dump }: VerifyCommandOptions, dumps: ReadonlyMap<VerifiedRow, string>): object {
  return {
    ...(topSrcLines === undefined ? {} : { top_src_lines: topSourceLines(row.log, topSrcLines) }),
    ...(dump === undefined ? {} : { xlated: dumps.get(row) ?? '' }),
  };
}

function readReport({ output, emit, sort = 'file,prog', filter = [], topN = 0, setGlobalVars = [] }: VerifyCommandOptions): Report {
  try {
    return {
      isCSV: output === 'csv',
      columns: emit === undefined ? undefined : parseStatList('--emit', emit).map(({ stat }) => stat),
      order: parseStatList('--sort', sort),
      filters: filter.flatMap(linesOf).map(parseFilter),
      limit: topN === 0 ? Infinity : topN,
      presets: setGlobalVars.flatMap(linesOf).map(parsePreset),
    };
  } catch (error) {
    throw error instanceof SpecError ? new UsageError(error.message) : error;
  }
}

/** `@FILE` stands for the lines of a file, without blank ones and comments. */
function linesOf(spec: string): string[] {
  if (!spec.startsWith('@')) return [spec];
  return readText(spec.slice(1)).split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
}

function readText(file: string): string {
  return new TextDecoder().decode(readInput(file));
}

/** `@FILE` stands for the objects that a file lists. */
function expandFiles(files: readonly string[]): string[] {
  return files.flatMap(linesOf);
}

function checkCombination(options: VerifyCommandOptions, { json, debug }: Context): void {
  const { output, compare, replay, explain, prog, log, quiet } = options;
  if (json && output === 'csv') throw new UsageError('--output csv: not together with --json');
  if (explain === true && output === 'csv') throw new UsageError('--explain: not together with --output csv');
  if (quiet === true && debug) throw new UsageError('--quiet: not together with --debug');
  if (compare === true && replay === true) throw new UsageError('--replay: not together with --compare');
  const mode = compare === true ? '--compare' : '--replay';
  if (compare !== true && replay !== true) return;
  if (explain === true) throw new UsageError(`--explain: not together with ${mode}`);
  if (prog !== undefined || log !== undefined) throw new UsageError(`${mode}: loads nothing, so not together with --prog or --log; --filter chooses programs`);
  const other = (['topSrcLines', 'setGlobalVars', 'testStates', 'testRegInvariants', 'logFixed', 'logSize', 'dump'] as const).find((name) => options[name] !== undefined);
  if (other !== undefined) throw new UsageError(`${mode}: loads nothing, so not together with --${other.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
}

async function verifyFiles(files: readonly string[], options: VerifyCommandOptions, report: Report, logLevel: number, context: Context): Promise<Verified> {
  const names = report.filters.filter(({ kind }) => kind === 'name');
  const flags = (options.testStates === true ? BPF_F_TEST_STATE_FREQ : 0) | (options.testRegInvariants === true ? BPF_F_TEST_REG_INVARIANTS : 0);
  const rows: VerifiedRow[] = [];
  const dumps = new Map<VerifiedRow, string>();
  const progress = options.quiet === true || files.length < 2 ? undefined : await createProgress(context, files.length);
  try {
    for (const file of files) {
      progress?.step(basename(file));
      const listings = new Map<string, string>();
      const verified = verifyObject(readInput(file), file, {
        kernelBTF: () => loadKernelBTF(options.btf), logLevel: logLevel | (options.logFixed === true ? LOG_FIXED : 0), clock: () => performance.now(),
        presets: report.presets, flags, isWanted: (prog) => isWanted(names, { file: basename(file), prog, valueOf: () => undefined }),
        ...(options.logSize === undefined ? {} : { logSize: options.logSize }),
        ...(options.dump === undefined ? {} : { dump: (prog: string, listing: string) => listings.set(prog, listing) }),
        ...(options.kconfig === undefined ? {} : { configuration: readConfiguration(options.kconfig) }),
        ...(options.prog === undefined ? {} : { programs: options.prog }),
      });
      rows.push(...verified);
      for (const row of verified) if (listings.has(row.prog)) dumps.set(row, listings.get(row.prog) ?? '');
    }
  } finally {
    progress?.stop();
  }
  return { rows, dumps };
}

function arrange(rows: readonly VerifiedRow[], { filters, order, limit }: Report): VerifiedRow[] {
  const wanted = rows.map((row) => ({ row, stats: rowStats(row) })).filter(({ row, stats }) => isWanted(filters, {
    file: basename(row.file), prog: row.prog, valueOf: (spec) => numeric(statValue(stats, spec)),
  }));
  return sortRows(wanted, order, ({ stats }, spec) => statValue(stats, spec)).slice(0, limit).map(({ row }) => row);
}

/** A verdict counts 0 or 1 in filters. */
function numeric(value: string | number | undefined): number | undefined {
  if (typeof value === 'number') return value;
  return value === undefined ? undefined : Number(value === 'success');
}

async function writeReport(
  rows: readonly VerifiedRow[], dumps: ReadonlyMap<VerifiedRow, string>, report: Report, options: VerifyCommandOptions, context: Context, logLevel: number,
): Promise<void> {
  const { stdout } = context;
  const { topSrcLines = 0 } = options;
  if (report.isCSV) {
    writeDetails(rows, dumps, topSrcLines, context);
    const columns = report.columns ?? STATS;
    stdout.write(formatCSV([columns.map(({ name }) => name), ...rows.map((row) => rowCells(row, columns))]));
    return;
  }
  // With --explain the log is shown only where it was asked for.
  if (logLevel > 0 && (options.log !== undefined || options.explain !== true)) writeLogs(rows, context);
  writeDetails(rows, dumps, topSrcLines, context);
  if (options.explain === true) for (const row of rows) if (row.verdict === 'failure') stdout.write(`${basename(row.file)}/${row.prog}: ${explainRow(row)}\n`);
  await writeTable(context, rows, report.columns, options.quiet === true);
}

/** Listings and frequent lines, in front of the figures. */
function writeDetails(rows: readonly VerifiedRow[], dumps: ReadonlyMap<VerifiedRow, string>, topSrcLines: number, { stdout }: Context): void {
  for (const row of rows) {
    const listing = dumps.get(row);
    if (listing !== undefined) stdout.write(`DUMP (XLATED) ${basename(row.file)}/${row.prog}:\n${listing}\n`);
    if (topSrcLines > 0) stdout.write(formatTopLines(row.prog, topSourceLines(row.log, topSrcLines)));
  }
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

async function writeTable(context: Context, rows: readonly VerifiedRow[], chosen: readonly StatDefinition[] | undefined, isQuiet: boolean): Promise<void> {
  const render = await createRenderer(context);
  const columns = chosen ?? STATS.filter(({ name }) => TABLE_COLUMNS.includes(name));
  const cells = rows.map((row) => [
    ...rowCells(row, columns).map((cell, i) => (columns[i]?.name === 'verdict' ? render.tone(cell === 'success' ? 'good' : 'bad', cell) : cell)),
    ...(chosen !== undefined ? [] : [row.verdict === 'success' ? '' : `${row.name}: ${row.message}`]),
  ]);
  context.stdout.write(render.table([...columns.map(({ header }) => header), ...(chosen === undefined ? [''] : [])], cells));
  if (isQuiet) return;
  const refused = rows.filter(({ verdict }) => verdict === 'failure').length;
  context.stdout.write(`${rows.length} program${rows.length === 1 ? '' : 's'}, ${refused} refused\n`);
}

/** The rows of a CSV again, with other columns, order or filters. */
async function replayFile(files: readonly string[], report: Report, { quiet }: VerifyCommandOptions, context: Context): Promise<number> {
  const [file, ...more] = files;
  if (file === undefined || more.length > 0) throw new UsageError(`--replay: one CSV file is wanted, not ${files.length}`);
  const table = parseCSV(readText(file), file);
  const missing = report.columns?.find((column) => !table.columns.includes(column));
  if (missing !== undefined) throw new UsageError(`--emit ${missing.name}: not in the file`);
  const columns = report.columns ?? (report.isCSV ? table.columns : table.columns.filter(({ name }) => TABLE_COLUMNS.includes(name)));
  const wanted = table.rows.filter((stats) => isWanted(report.filters, {
    file: String(stats.file_name), prog: String(stats.prog_name), valueOf: (spec) => numeric(statValue(stats, spec)),
  }));
  const rows = sortRows(wanted, report.order, statValue).slice(0, report.limit);
  const cells = rows.map((stats) => columns.map(({ name }) => String(stats[name] ?? 'N/A')));
  if (context.json) writeJSON(context, rows);
  else if (report.isCSV) context.stdout.write(formatCSV([columns.map(({ name }) => name), ...cells]));
  else {
    const render = await createRenderer(context);
    context.stdout.write(render.table(columns.map(({ header }) => header), cells));
    if (quiet !== true) context.stdout.write(`${rows.length} program${rows.length === 1 ? '' : 's'}, ${rows.filter(({ verdict }) => verdict === 'failure').length} refused\n`);
  }
  return EXIT_OK;
}

async function compareFiles(files: readonly string[], report: Report, { quiet }: VerifyCommandOptions, context: Context): Promise<number> {
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
  await writeComparison(rows.slice(0, report.limit), columns, report, context, quiet === true);
  return rows.some(isWorse) ? EXIT_REJECTED : EXIT_OK;
}

async function writeComparison(rows: readonly JoinedRow[], columns: readonly StatDefinition[], { isCSV }: Report, context: Context, isQuiet: boolean): Promise<void> {
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
  if (!isQuiet) context.stdout.write(`${rows.length} program${rows.length === 1 ? '' : 's'}, ${rows.filter(isWorse).length} worse\n`);
}
