/**
 * @module src/veristat/stats
 * The figures that veristat has of a program: their names, headings and values, and the lists of them that choose columns and order.
 * Owns no file and no output. Names, aliases and default directions are those of `tools/testing/selftests/bpf/veristat.c`.
 */

/** Which side of a comparison a figure is of; without a comparison it does not matter. */
export type Side = 'base' | 'comp' | 'diff' | 'pct';

/** Canonical names, which are the columns of the CSV. */
export type StatName =
  | 'file_name' | 'prog_name' | 'verdict' | 'duration' | 'total_insns' | 'total_states' | 'peak_states' | 'max_states_per_insn'
  | 'max_mark_read_len' | 'prog_size' | 'prog_size_jited' | 'prog_type' | 'attach_type' | 'stack_depth' | 'max_stack_depth' | 'mem_peak';

/** One figure. */
export interface StatDefinition {
  readonly name: StatName;
  readonly header: string;
  readonly aliases: readonly string[];
  /** Direction of the order where none is asked for. */
  readonly isAscending: boolean;
  /** How values are compared and written; a verdict counts 0 or 1 in filters. */
  readonly kind: 'key' | 'verdict' | 'name' | 'number';
}

/** Values of one program; a figure that is not known is missing. */
export type Stats = Partial<Readonly<Record<StatName, string | number>>>;

/** One element of a list of figures. */
export interface StatSpec {
  readonly stat: StatDefinition;
  readonly side: Side;
  /** `|name|`: without the sign. */
  readonly isAbsolute: boolean;
  readonly isAscending: boolean;
}

/** A list or filter that cannot be read; the message names it. */
export class SpecError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SpecError';
  }
}

const number = (name: StatName, header: string, ...aliases: string[]): StatDefinition => ({ name, header, aliases, isAscending: false, kind: 'number' });

/** Every figure, in the order of the columns of veristat's CSV. */
export const STATS: readonly StatDefinition[] = [
  { name: 'file_name', header: 'File', aliases: ['filename', 'file'], isAscending: true, kind: 'key' },
  { name: 'prog_name', header: 'Program', aliases: ['progname', 'prog'], isAscending: true, kind: 'key' },
  { name: 'verdict', header: 'Verdict', aliases: [], isAscending: true, kind: 'verdict' },
  number('duration', 'Duration (us)', 'dur'),
  number('total_insns', 'Insns', 'insns'),
  number('total_states', 'States', 'states'),
  number('peak_states', 'Peak states'),
  number('max_states_per_insn', 'Max states per insn'),
  number('max_mark_read_len', 'Max mark read length', 'mark_read'),
  number('prog_size', 'Program size'),
  number('prog_size_jited', 'Jited size'),
  { name: 'prog_type', header: 'Program type', aliases: [], isAscending: false, kind: 'name' },
  { name: 'attach_type', header: 'Attach type', aliases: [], isAscending: false, kind: 'name' },
  number('stack_depth', 'Stack depth', 'stack'),
  number('max_stack_depth', 'Max stack depth'),
  number('mem_peak', 'Peak memory (MiB)'),
];

const SIDES: ReadonlyMap<string, Side> = new Map([['_a', 'base'], ['_b', 'comp'], ['_diff', 'diff'], ['_pct', 'pct']]);
const SIDE_SUFFIX = /^(.+?)(_a|_b|_diff|_pct)$/;
const BY_NAME: ReadonlyMap<string, StatDefinition> = new Map(STATS.flatMap((stat) => [stat.name, ...stat.aliases].map((name) => [name, stat] as const)));

/** The definition of a canonical name or alias; `undefined` where there is none. */
export function findStat(name: string): StatDefinition | undefined {
  return BY_NAME.get(name);
}

/** Reads `name`, `name_a`, `|name_diff|`…; `undefined` where no figure is called so. */
export function parseStatName(text: string): Omit<StatSpec, 'isAscending'> | undefined {
  const isAbsolute = text.length > 2 && text.startsWith('|') && text.endsWith('|');
  const name = isAbsolute ? text.slice(1, -1) : text;
  const plain = findStat(name);
  if (plain !== undefined) return { stat: plain, side: 'comp', isAbsolute };
  const [, stem = '', suffix = ''] = SIDE_SUFFIX.exec(name) ?? [];
  const stat = findStat(stem);
  const side = SIDES.get(suffix);
  return stat === undefined || side === undefined ? undefined : { stat, side, isAbsolute };
}

/**
 * Reads a list of figures as `--emit` and `--sort` take it: separated by commas, each with `^` for ascending or one of `v V . ! _` for
 * descending behind it.
 *
 * @throws SpecError that names the list
 *
 * @example
 * parseStatList('--sort', 'insns^,prog').map(({ stat }) => stat.name); // ['total_insns', 'prog_name']
 */
export function parseStatList(option: string, text: string): StatSpec[] {
  return text.split(',').map((item) => {
    const [, name = '', order = ''] = /^(.+?)([\^vV.!_]?)$/.exec(item.trim()) ?? [];
    const parsed = parseStatName(name) ?? parseStatName(item.trim());
    if (parsed === undefined) throw new SpecError(`${option} ${JSON.stringify(text)}: no figure is called ${JSON.stringify(name)}`);
    return { ...parsed, isAscending: order === '' ? parsed.stat.isAscending : order === '^' };
  });
}

/** Order of two values: numbers by size, text by its characters, what is missing first. */
export function compareValues(a: string | number | undefined, b: string | number | undefined): number {
  if (a === b) return 0;
  if (a === undefined) return -1;
  if (b === undefined) return 1;
  return a < b ? -1 : 1;
}

/** Rows in the order of a list; what the list leaves open is decided by file and program. */
export function sortRows<Row>(rows: readonly Row[], specs: readonly StatSpec[], valueOf: (row: Row, spec: StatSpec) => string | number | undefined): Row[] {
  const all = [...specs, ...parseStatList('--sort', 'file_name,prog_name')];
  return rows.toSorted((a, b) => {
    for (const spec of all) {
      const order = compareValues(valueOf(a, spec), valueOf(b, spec));
      if (order !== 0) return spec.isAscending ? order : -order;
    }
    return 0;
  });
}

/** The value of a figure for order and filters. */
export function statValue(stats: Stats, { stat, isAbsolute }: Pick<StatSpec, 'stat' | 'isAbsolute'>): string | number | undefined {
  const value = stats[stat.name];
  return isAbsolute && typeof value === 'number' ? Math.abs(value) : value;
}
