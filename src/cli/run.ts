/**
 * @module src/cli/run
 * `bpftwin run FILE.lskel.h`: loads a light skeleton in a fresh kernel and reports. The run itself is `src/run.ts`.
 */
import { formatArgument, decodeArguments } from '../../isa/attr.ts';
import { errnoName } from '../../isa/errno.ts';
import type { SystemCall } from '../../kernel/api.ts';
import { parseLightSkeleton } from '../../loader/lskel.ts';
import { readCertificates } from '../certificates.ts';
import type { Tier } from '../../vm/types.ts';
import { nodeEngine } from '../node/engine.ts';
import { loadKernelBTF } from '../node/kernel-btf.ts';
import { installNodeCrypto } from '../node/native-crypto.ts';
import type { ReportedPolicy } from '../policy.ts';
import { runSkeleton, type KeyringName, type ReportedEngine, type RunOptions, type RunReport } from '../run.ts';
import { parsePreset } from '../veristat/presets.ts';
import { EXIT_OK, EXIT_REJECTED, readInput, writeJSON, type Context } from './io.ts';
import { createRenderer, type Renderer } from './render.ts';

export interface RunCommandOptions {
  readonly cert?: readonly string[];
  readonly keyring?: KeyringName;
  readonly kernel?: '7.3' | '6.18';
  readonly btf?: string;
  readonly policy?: readonly string[];
  /** First values of global variables of the policies. */
  readonly set?: readonly string[];
  readonly trace?: boolean;
  readonly strict?: boolean;
  readonly tier?: Tier;
  readonly stats?: boolean;
}

/** What `-d` asks the loader for. */
const DEBUG_LOG = { level: 1, size: 16 * 1024 * 1024 } as const;

/** Runs the command; 0 where the skeleton loads, 1 where the load is refused. */
export async function runCommand(file: string, options: RunCommandOptions, context: Context): Promise<number> {
  installNodeCrypto();
  const skeleton = parseLightSkeleton(readInput(file), file);
  const certificates = (options.cert ?? []).flatMap((path) => readCertificates(readInput(path), path));
  const showTrace = options.trace === true && !context.json;
  const runOptions: RunOptions = {
    certificates,
    kernelBTF: () => loadKernelBTF(options.btf),
    engine: nodeEngine(options.tier),
    ...(options.policy === undefined ? {} : { policies: options.policy.map((path) => ({ file: path, bytes: readInput(path), presets: (options.set ?? []).map(parsePreset) })) }),
    ...(options.stats === true ? { stats: true } : {}),
    ...(options.keyring === undefined ? {} : { keyring: options.keyring }),
    ...(options.kernel === undefined ? {} : { kernel: options.kernel }),
    ...(options.strict === true ? { strict: { now: Math.floor(Date.now() / 1000) } } : {}),
    ...(context.debug ? { log: DEBUG_LOG } : {}),
    ...(showTrace ? { onCall: (call: SystemCall) => context.stdout.write(`${traceLine(call)}\n`) } : {}),
  };
  const report = runSkeleton(skeleton, runOptions);
  if (context.json) writeJSON(context, report);
  else {
    writeReport(context, file, report, await createRenderer(context));
    if (report.policy !== undefined) context.stdout.write(`\n${policyText(report.policy)}`);
    if (report.engine !== undefined) context.stdout.write(`\n${engineText(report.engine)}`);
  }
  return report.result.errno === 0 ? EXIT_OK : EXIT_REJECTED;
}

/** `bpf(MAP_CREATE, {map_type=2, …}, 92) = 3`, calls of the loader program indented. */
export function traceLine(call: SystemCall): string {
  const view = new DataView(call.attr.buffer, call.attr.byteOffset, call.attr.byteLength);
  const args = decodeArguments(call.cmd, view, 0, Math.min(call.size, call.attr.byteLength)).map(formatArgument).join(', ');
  const result = call.result < 0 ? `-1 ${errnoName(-call.result)}` : String(call.result);
  return `${call.fromProgram ? '  ' : ''}bpf(${call.name}, {${args}}, ${call.size}) = ${result}`;
}

function writeReport(context: Context, file: string, report: RunReport, render: Renderer): void {
  const { stdout } = context;
  const { loader, result } = report;
  const { signature } = loader;
  stdout.write(`${render.tone('strong', file)}: ${loader.insns} loader instructions, ${loader.metadata} bytes of metadata, Linux ${report.kernel}\n`);
  stdout.write(`digest     ${loader.digest}\n`);
  stdout.write(`signature  ${signatureText(signature, render)}\n`);
  if (result.errno !== 0) {
    const call = result.call === null ? '' : ` (${result.call})`;
    stdout.write(`${render.tone('bad', 'rejected')}   ${result.name} (${result.errno}): ${result.step ?? ''}${call}\n`);
    if (report.log !== '') stdout.write(`\n${report.log.endsWith('\n') ? report.log : `${report.log}\n`}`);
    return;
  }
  stdout.write(`${render.tone('good', 'loaded')}     the loader made ${report.calls.filter((call) => call.from === 'loader').length} calls and returned ${report.retval ?? 0}\n`);
  if (report.maps.length > 0) stdout.write(`\n${mapTable(report, render)}`);
  if (report.progs.length > 0) stdout.write(`\n${programTable(report, render)}`);
  if (report.progs.some((program) => program.verdict === 'admitted')) {
    stdout.write(render.tone('warning', '\nPrograms were admitted, not verified: signature, fields and control flow were checked, their data flow was not.\n'));
  }
  if (context.debug && report.log !== '') stdout.write(`\n${report.log}`);
}

function policyText(policy: readonly ReportedPolicy[]): string {
  return policy.map(({ object, program, hook, runs, refusals, fault }) =>
    `policy     ${object}: ${program} on ${hook}: asked ${runs} times, refused ${refusals}${fault === null ? '' : `; cut short: ${fault}`}\n`).join('');
}

function engineText({ tier, runs, promoted, modules, bytes, emit_ms: emit, compile_ms: compile, fallbacks }: ReportedEngine): string {
  return [
    `engine     ${tier}: ${runs.interpreter} interpreted, ${runs.baseline} baseline, ${runs.optimised} optimised runs; ${promoted} promoted`,
    `           ${modules} modules of ${bytes} bytes, emitted in ${emit} ms, compiled in ${compile} ms`,
    ...fallbacks.map(({ program, tier: to, reason }) => `           ${program} on ${to}: ${reason}`), '',
  ].join('\n');
}

function signatureText(signature: RunReport['loader']['signature'], render: Renderer): string {
  if (!signature.present) return render.tone('warning', 'none');
  if (signature.verdict === 'UNSIGNED') return render.tone('bad', `not verified${signature.reason === null ? '' : `: ${signature.reason}`}`);
  const { type, serial } = signature.keyring;
  const record = type === 'NONE' ? 'this kernel keeps no record of it' : `keyring ${type}${serial === 0 ? '' : ` ${serial}`}`;
  return render.tone('good', `verified, signed by ${signature.signer ?? 'an unnamed key'}, ${record}`);
}

function mapTable(report: RunReport, render: Renderer): string {
  const rows = report.maps.map((map) => [
    String(map.id), map.name, map.type, String(map.key_size), String(map.value_size), String(map.max_entries), map.frozen ? 'yes' : 'no',
  ]);
  return render.table(['id', 'map', 'type', 'key', 'value', 'entries', 'frozen'], rows);
}

function programTable(report: RunReport, render: Renderer): string {
  const rows = report.progs.map((program) => [String(program.id), program.name, program.type, String(program.insns), program.tag, program.verdict]);
  return render.table(['id', 'program', 'type', 'insns', 'tag', 'verdict'], rows);
}
