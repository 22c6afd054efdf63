/**
 * @module src/cli/inspect
 * `bpftwin inspect FILE.lskel.h [--cert FILE]… [--object OBJ.o]`: one page about a light skeleton, or JSON. The facts are `src/inspect.ts`.
 */
import { parseLightSkeleton } from '../../loader/lskel.ts';
import { readCertificates } from '../certificates.ts';
import { inspectSkeleton, type Inspection } from '../inspect.ts';
import { installNodeCrypto } from '../node/native-crypto.ts';
import { possibleCPUs } from './host.ts';
import { EXIT_OK, EXIT_REJECTED, readInput, writeJSON, type Context } from './io.ts';
import { createRenderer, type Renderer } from './render.ts';

export interface InspectCommandOptions {
  readonly cert?: readonly string[];
  readonly object?: string;
  readonly strict?: boolean;
}

/** Runs the command; 1 where the signature does not verify against the given certificates, or the object generates something else. */
export async function inspectCommand(file: string, options: InspectCommandOptions, context: Context): Promise<number> {
  installNodeCrypto();
  const certificates = (options.cert ?? []).flatMap((path) => readCertificates(readInput(path), path));
  const skeleton = parseLightSkeleton(readInput(file), file);
  const object = options.object === undefined ? {} : { object: { bytes: readInput(options.object), file: options.object, possibleCPUs: possibleCPUs() } };
  const inspection = inspectSkeleton(skeleton, { certificates, now: Math.floor(Date.now() / 1000), ...object });
  if (context.json) writeJSON(context, inspection);
  else context.stdout.write(page(inspection, await createRenderer(context), { debug: context.debug, strict: options.strict === true }));
  const refused = inspection.signature.check.verdict === 'refused' || (certificates.length > 0 && inspection.signature.check.verdict !== 'verified');
  if (inspection.object?.matches === false || (options.strict === true && inspection.signature.strict.length > 0)) return EXIT_REJECTED;
  return refused ? EXIT_REJECTED : EXIT_OK;
}

function page(inspection: Inspection, render: Renderer, { debug, strict }: { readonly debug: boolean; readonly strict: boolean }): string {
  const { loader, metadata } = inspection;
  const facts: [string, string][] = [
    ['skeleton', render.tone('strong', inspection.name)],
    ['contract', `${inspection.contract.name} (${inspection.contract.evidence.join('; ')})`],
    ['digest', `${inspection.digest} (SHA-256 of the loader's ${loader.insns} instructions)`],
    ['metadata', `${metadata.bytes} bytes, SHA-256 ${metadata.sha256}`],
    ['explained', explained(inspection, render)],
    ['loader', `${loader.insns_run} instructions ran in the dry run, ${loader.insns_cleanup} are for cleaning up`],
    ...signatureFacts(inspection, render),
    ...(strict ? strictFacts(inspection, render) : []),
    ...objectFacts(inspection, render),
  ];
  if (loader.stopped !== null) facts.push(['stopped', render.tone('bad', `the dry run ended early: ${loader.stopped}; what follows is incomplete`)]);
  if (inspection.extra_functions.length > 0) facts.push(['note', render.tone('warning', `functions that no generator writes: ${inspection.extra_functions.join(', ')}`)]);
  const sections = [factLines(facts), maps(inspection, render), programs(inspection, render), relocations(inspection, render)];
  if (debug) sections.push(details(inspection));
  return sections.filter((section) => section !== '').join('\n');
}

function factLines(facts: readonly (readonly [string, string])[]): string {
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, text]) => `${name.padEnd(width)}  ${text}\n`).join('');
}

function explained({ metadata }: Inspection, render: Renderer): string {
  if (metadata.unexplained.length === 0) return render.tone('good', `all ${metadata.bytes} bytes of the metadata`);
  const ranges = metadata.unexplained.slice(0, 8).map(({ start, end }) => `${start}-${end - 1}`).join(', ');
  const more = metadata.unexplained.length > 8 ? ', …' : '';
  return render.tone('bad', `${metadata.explained} of ${metadata.bytes} bytes; not explained: ${ranges}${more}`);
}

function signatureFacts({ signature }: Inspection, render: Renderer): [string, string][] {
  if (!signature.present) return [['signature', render.tone('warning', 'none')]];
  const { check } = signature;
  const facts: [string, string][] = [['signature', `${signature.bytes} bytes over ${signature.covers.map(({ what, bytes }) => `${what} (${bytes} bytes)`).join(' and ')}`]];
  for (const signer of signature.signers) {
    const attributes = signer.signed_attributes.length > 0 ? `, with signed attributes ${signer.signed_attributes.join(', ')}` : '';
    const name = signer.identified_by === 'key identifier' ? `key identifier ${signer.key_id ?? ''}` : `issuer ${signer.issuer ?? ''}, serial ${signer.serial ?? ''}`;
    facts.push(['signer', `${signer.algorithm} with ${signer.digest}${attributes}, by ${name}`]);
  }
  for (const { subject, issuer, serial, key } of signature.certificates) facts.push(['carries', `certificate of ${subject} (${key}), issued by ${issuer}, serial ${serial}`]);
  if (signature.exclusive_hash_matches === false) facts.push(['exclusive', render.tone('bad', `the metadata is for another loader: ${signature.exclusive_hash}`)]);
  const by = check.signer === null ? '' : ` by ${check.signer.subject} (${check.signer.key}, serial ${check.signer.serial})`;
  const verdict = { verified: render.tone('good', `verified${by}`), refused: render.tone('bad', `refused: ${check.name}, ${check.reason}`), 'not checked': render.tone('warning', `not checked: ${check.reason}`) };
  facts.push(['verdict', verdict[check.verdict]]);
  return facts;
}

function strictFacts({ signature }: Inspection, render: Renderer): [string, string][] {
  if (!signature.present) return [];
  if (signature.strict.length === 0) return [['strict', render.tone('good', 'keeps every rule')]];
  return signature.strict.map(({ rule, reason, offset }) => ['strict', render.tone('bad', `${rule}: ${reason}${offset === null ? '' : `, byte ${offset}`}`)]);
}

function objectFacts({ object }: Inspection, render: Renderer): [string, string][] {
  if (object === null) return [];
  if (object.matches) return [['object', render.tone('good', `${object.file} generates these very bytes`)]];
  const parts = [['instructions', object.instructions_differ_at], ['metadata', object.metadata_differ_at]].flatMap(([what, at]) => (at === null ? [] : [`${what} from byte ${at}`]));
  return [['object', render.tone('bad', `${object.file} generates something else: ${parts.join(', ')}`)]];
}

function maps(inspection: Inspection, render: Renderer): string {
  if (inspection.maps.length === 0) return '';
  const rows = inspection.maps.map((map) => [
    map.name, map.type, String(map.key_size), String(map.value_size), String(map.max_entries), `0x${map.flags.toString(16)}`,
    map.frozen ? 'yes' : 'no', contents(map),
  ]);
  return render.table(['map', 'type', 'key', 'value', 'entries', 'flags', 'frozen', 'first contents'], rows);
}

function contents(map: Inspection['maps'][number]): string {
  const [first] = map.elements;
  if (first === undefined) return '';
  if (first.value === null) return `${map.elements.length} maps`;
  if (map.elements.length > 1) return `${map.elements.length} elements`;
  const shown = first.value.length > 32 ? `${first.value.slice(0, 32)}… (${first.value.length / 2} bytes)` : first.value;
  return first.from === 'process' ? `${shown} or the caller's` : shown;
}

function programs(inspection: Inspection, render: Renderer): string {
  if (inspection.progs.length === 0) return '';
  const rows = inspection.progs.map((program) => [
    program.name, program.type, program.attach_target ?? (program.attaches_by === 'nothing' ? '' : program.attaches_by), String(program.insns),
    program.tag ?? 'relocated', program.license, program.maps.join(', '),
  ]);
  return render.table(['program', 'type', 'attaches to', 'insns', 'tag', 'licence', 'maps'], rows);
}

function relocations(inspection: Inspection, render: Renderer): string {
  const rows = inspection.relocations.map(({ prog, insn, kind, name }) => [prog, String(insn), kind, name]);
  const core = inspection.core_relocations.length;
  const table = rows.length === 0 ? '' : render.table(['program', 'insn', 'lookup', 'symbol'], rows);
  return `${table}${core === 0 ? '' : `${core} CO-RE relocation${core === 1 ? '' : 's'} for the kernel to perform\n`}`;
}

function details(inspection: Inspection): string {
  const segments = inspection.metadata.segments.map(({ start, end, what }) => `${String(start).padStart(8)} ${String(end - start).padStart(7)}  ${what}\n`).join('');
  const listings = inspection.progs.map((program) => `\n${program.name}:\n${program.disassembly.map((line) => `  ${line}\n`).join('')}`).join('');
  return `requests of the loader:\n${inspection.calls.map((call) => `  ${call}\n`).join('')}\nmetadata:\n${segments}${listings}`;
}
