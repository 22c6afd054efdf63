/**
 * @module src/cli/verify
 * `bpftwin verify OBJ.o… [--prog NAME]… [--log LEVEL] [--btf FILE]`: would these programs load? Columns as veristat has them.
 */
import { basename } from 'node:path';
import { loadKernelBTF } from '../node/kernel-btf.ts';
import { verifyObject, type VerifiedRow } from '../verify.ts';
import { readConfiguration } from './host.ts';
import { EXIT_OK, EXIT_REJECTED, readInput, writeJSON, type Context } from './io.ts';
import { createRenderer } from './render.ts';

export interface VerifyCommandOptions {
  readonly prog?: readonly string[];
  readonly log?: number;
  readonly btf?: string;
  readonly kconfig?: string;
}

/** Runs the command; 1 where a program is refused. */
export async function verifyCommand(files: readonly string[], options: VerifyCommandOptions, context: Context): Promise<number> {
  const logLevel = options.log ?? (context.debug ? 1 : 0);
  const rows = files.flatMap((file) => verifyObject(readInput(file), file, {
    kernelBTF: () => loadKernelBTF(options.btf), logLevel, clock: () => performance.now(),
    ...(options.kconfig === undefined ? {} : { configuration: readConfiguration(options.kconfig) }),
    ...(options.prog === undefined ? {} : { programs: options.prog }),
  }));
  if (context.json) writeJSON(context, rows);
  else await writeTable(context, rows, logLevel > 0);
  return rows.every(({ verdict }) => verdict === 'success') ? EXIT_OK : EXIT_REJECTED;
}

async function writeTable(context: Context, rows: readonly VerifiedRow[], showLogs: boolean): Promise<void> {
  const { stdout } = context;
  if (showLogs) for (const { prog, log } of rows) if (log !== '') stdout.write(`PROCESSING ${prog}\n${log.endsWith('\n') ? log : `${log}\n`}\n`);
  const render = await createRenderer(context);
  const cells = rows.map((row) => [
    basename(row.file), row.prog, render.tone(row.verdict === 'success' ? 'good' : 'bad', row.verdict), String(row.duration_us), String(row.insns),
    String(row.states), String(row.peak_states), row.verdict === 'success' ? '' : `${row.name}: ${row.message}`,
  ]);
  stdout.write(render.table(['File', 'Program', 'Verdict', 'Duration (us)', 'Insns', 'States', 'Peak states', ''], cells));
  const refused = rows.filter(({ verdict }) => verdict === 'failure').length;
  stdout.write(`${rows.length} program${rows.length === 1 ? '' : 's'}, ${refused} refused\n`);
}
