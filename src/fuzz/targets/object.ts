/**
 * @module src/fuzz/targets/object
 * Files that people hand over: ELF objects, BTF, BTF.ext, the text of skeletons. Promises held: a reader gives a result or an InputError that
 * names a place, never anything else; what is read twice is the same; BTF that the reader takes apart the kernel's check answers with an
 * error number; a skeleton written from what was read reads the same.
 */
import { BTF } from '../../../btf/btf.ts';
import { checkBTF } from '../../../btf/check.ts';
import { parseBTFExt } from '../../../btf/ext.ts';
import { fromHex, toHex } from '../../../crypto/bytes.ts';
import { InputError } from '../../../isa/errors.ts';
import { latin1 } from '../../../isa/latin1.ts';
import { detectContract } from '../../../loader/contract.ts';
import { generateLoader } from '../../../loader/gen/gen-loader.ts';
import { GeneratorError } from '../../../loader/gen/loader-code.ts';
import { draftSkeleton, formatSkeleton } from '../../../loader/gen/skeleton-text.ts';
import { parseLightSkeleton } from '../../../loader/lskel.ts';
import { parseELF } from '../../../loader/object/elf.ts';
import { openObject } from '../../../loader/object/open.ts';
import { combine, type Coverage } from '../coverage.ts';
import { mutateBytes, spliceBytes, withInteger } from '../mutators/bytes.ts';
import { btfLoadCalls, transcriptOf } from '../load-calls.ts';
import { mutateInstructions } from '../mutators/instructions.ts';
import { buildObject, buildTypes, type MapSpec, type ObjectSpec } from '../mutators/object-file.ts';
import type { Random } from '../random.ts';
import { smallerBytes } from '../shrink.ts';
import type { Finding, Target, TargetEnvironment } from '../types.ts';
import { parseJSON } from './signature.ts';
import { OBJECTS } from './skeletons.ts';
import { textID } from './syscalls.ts';

const KINDS = ['elf', 'btf', 'btf.ext', 'skeleton'] as const;
type Kind = (typeof KINDS)[number];

/** One file. */
export interface ObjectInput {
  readonly kind: Kind;
  readonly bytes: Uint8Array;
}

const MOST_BYTES = 1 << 17;
const SECTION_HEADER = 64;
const utf8 = new TextEncoder();
const WORDS = [
  'static', 'const', 'char', 'struct', 'int', 'unsigned', 'void', '__attribute__', 'skel', 'opts_data', 'opts_insn', 'opts_sig', 'return', '(', ')', '{', '}', '[', ']', ';', ',',
  '"', '\\', '\\x00', '0x', '*', '/*', '*/', '//', '\n', '#define', '= ', '->', 'bpf_load_and_run', '_sz', 'fd', 'sizeof', '18446744073709551616', '-1', '\0', '\u00ff',
] as const;

function randomSpec(random: Random): ObjectSpec {
  const base = random.pick(Object.values(OBJECTS));
  const changeMap = (map: MapSpec): MapSpec => (random.oneIn(3)
    ? { ...map, type: random.below(36), keySize: random.below(16), valueSize: random.pick([0, 1, 8, 0x7fffffff]), maxEntries: random.int32() >>> 1, ...(random.oneIn(2) ? { flags: random.int32() >>> 1 } : {}) }
    : map);
  return {
    maps: base.maps.map(changeMap),
    programs: base.programs.map((program) => ({
      ...program,
      section: random.oneIn(4) ? random.pick(['fentry/f', 'lsm/file_open', 'iter/map', 'xdp.frags', 'kprobe/x', 'struct_ops/x', 'syscall', 'fexit/', '', '?xdp', 'tp_btf/sys']) : program.section,
      instructions: random.oneIn(3) ? mutateInstructions(program.instructions, random, undefined) : program.instructions,
    })),
    data: random.oneIn(3) ? base.data.map(({ section }) => ({ section: random.oneIn(2) ? random.pick(['.rodata', '.data', '.bss', '.kconfig', '.rodata.str', '.data.x']) : section, bytes: random.bytes(1 + random.below(40)) })) : base.data,
    license: random.oneIn(5) ? '' : base.license,
  };
}

/** `.BTF.ext` with function, line and relocation records. */
function buildExt(random: Random): Uint8Array {
  const section = (record: number, rows: readonly (readonly number[])[]): number[] => [record, random.below(8), rows.length, ...rows.flat()];
  const func = section(8, [[0, 3], [8, 3]].slice(0, random.below(3)));
  const line = section(16, [[0, 1, 1, 1 << 10]]);
  const core = section(16, [[0, 1, 1, random.below(13)]].slice(0, random.below(2)));
  const words = [0x0001eb9f, 32, 0, func.length * 4, func.length * 4, line.length * 4, (func.length + line.length) * 4, core.length * 4, ...func, ...line, ...core];
  const out = new Uint8Array(words.length * 4), view = new DataView(out.buffer);
  for (const [i, word] of words.entries()) view.setUint32(4 * i, word, true);
  return out;
}

const readWord = (bytes: Uint8Array, at: number): number => (at + 4 <= bytes.length ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true) : 0);

/** Changes one field of a header, of a section's header, or bytes of one section. */
function mutateELF(bytes: Uint8Array, random: Random): Uint8Array {
  const table = readWord(bytes, 40), count = readWord(bytes, 60) & 0xffff;
  if (table === 0 || count === 0 || table + count * SECTION_HEADER > bytes.length) return mutateBytes(bytes, random, undefined, MOST_BYTES);
  const header = table + SECTION_HEADER * random.below(count);
  const offset = readWord(bytes, header + 24), size = readWord(bytes, header + 32);
  switch (random.below(6)) {
    case 0: return withInteger(bytes, random.pick([16, 18, 20, 40, 48, 52, 58, 60, 62]), random.pick([2, 4]), random.int32());
    case 1: return withInteger(bytes, header + random.pick([0, 4, 8, 16, 24, 32, 40, 44, 48, 56]), 4, random.oneIn(2) ? random.int32() : random.below(count + 1));
    case 2: {
      const other = table + SECTION_HEADER * random.below(count);
      return spliceBytes(bytes, header, header + SECTION_HEADER, bytes.slice(other, other + SECTION_HEADER));
    }
    default: {
      if (size === 0 || offset + size > bytes.length) return mutateBytes(bytes, random, undefined, MOST_BYTES);
      const at = offset + random.below(size);
      return random.oneIn(2) ? withInteger(bytes, at & ~3, 4, random.int32()) : bytes.with(at, random.below(256));
    }
  }
}

/** BTF: a word of the header, of a type, or a byte of a string. */
function mutateTypes(bytes: Uint8Array, random: Random): Uint8Array {
  if (bytes.length < 28 || random.oneIn(6)) return mutateBytes(bytes, random, undefined, MOST_BYTES);
  const at = random.oneIn(4) ? random.below(6) * 4 : 24 + 4 * random.below((bytes.length - 24) >> 2);
  switch (random.below(4)) {
    case 0: return withInteger(bytes, at, 4, random.below(24));
    case 1: return withInteger(bytes, at, 4, (random.below(20) << 24) | random.below(4));
    case 2: return withInteger(bytes, at, 4, readWord(bytes, at) + random.between(-4, 4));
    default: return withInteger(bytes, at, 4, random.int32());
  }
}

/** Text: words put in, pieces left out or doubled, numbers changed. */
function mutateText(bytes: Uint8Array, random: Random): Uint8Array {
  const at = random.below(bytes.length + 1);
  switch (random.below(6)) {
    case 0: return spliceBytes(bytes, at, at, utf8.encode(random.pick(WORDS)));
    case 1: return spliceBytes(bytes, at, Math.min(bytes.length, at + random.below(40)), new Uint8Array(0));
    case 2: return spliceBytes(bytes, at, at, bytes.slice(at, at + random.below(80)));
    case 3: {
      const lines = latin1(bytes).split('\n');
      const line = random.below(lines.length), second = random.below(lines.length);
      const changed = random.oneIn(2) ? lines.toSpliced(line, 1) : lines.with(line, lines[second] ?? '');
      return Uint8Array.from(changed.join('\n'), (char) => char.charCodeAt(0) & 0xff);
    }
    case 4: {
      const digit = bytes.findIndex((byte, i) => i >= at && byte >= 0x30 && byte <= 0x39);
      return digit < 0 ? bytes : bytes.with(digit, 0x30 + random.below(10));
    }
    default: return mutateBytes(bytes, random, undefined, MOST_BYTES);
  }
}

const MUTATORS: Readonly<Record<Kind, (bytes: Uint8Array, random: Random) => Uint8Array>> = {
  elf: mutateELF, btf: mutateTypes, 'btf.ext': mutateTypes, skeleton: mutateText,
};

/** Classes of reasons that are told apart. */
const MOST_REASONS = 1 << 10;

/**
 * What a refusal says, without what the file made it say: what is in quotes, numbers, words with signs or capitals. Names that come through all
 * the same cannot fill the corpus: there are so many classes and no more.
 */
function reasonClass(reason: string): number {
  const plain = reason.replace(/'[^']*'|"[^"]*"/g, '').split(/[\s,:;()[\]]+/).filter((word) => /^[a-z']+$/.test(word));
  return textID(plain.join(' ')) % MOST_REASONS;
}

class ObjectTarget implements Target<ObjectInput> {
  readonly name = 'object';
  readonly #coverage: Coverage;
  readonly #skeletons: readonly Uint8Array[];
  readonly #types: BTF = BTF.parse(buildTypes(OBJECTS['data']!), { name: 'types' });

  constructor({ coverage, file }: TargetEnvironment) {
    this.#coverage = coverage;
    const text = (name: string, spec: ObjectSpec): Uint8Array => {
      const object = openObject(buildObject(spec), `${name}.o`, name);
      return utf8.encode(formatSkeleton(draftSkeleton(object, name), generateLoader(object)));
    };
    this.#skeletons = [file('examples/flow-signed.lskel.h'), ...Object.entries(OBJECTS).map(([name, spec]) => text(name, spec))];
  }

  seeds(): readonly ObjectInput[] {
    return [];
  }

  generate(random: Random): ObjectInput {
    const kind = random.pick(KINDS);
    const bytes = kind === 'elf' ? buildObject(randomSpec(random))
      : kind === 'btf' ? buildTypes(randomSpec(random))
        : kind === 'btf.ext' ? buildExt(random)
          : random.pick(this.#skeletons);
    return this.mutate({ kind, bytes }, random, undefined);
  }

  mutate({ kind, bytes }: ObjectInput, random: Random, other: ObjectInput | undefined): ObjectInput {
    if (other?.kind === kind && random.oneIn(12)) {
      const at = random.below(Math.min(bytes.length, other.bytes.length) + 1);
      return { kind, bytes: spliceBytes(bytes, at, bytes.length, other.bytes.slice(at)) };
    }
    let changed = bytes;
    for (let n = 1 + (random.oneIn(3) ? random.below(6) : 0); n > 0; n--) changed = MUTATORS[kind](changed, random);
    return { kind, bytes: changed.slice(0, MOST_BYTES) };
  }

  execute(input: ObjectInput): Finding | undefined {
    const first = this.#read(input), second = this.#read(input);
    this.#coverage.hit(combine(KINDS.indexOf(input.kind), reasonClass(first.reason)));
    for (const stage of first.stages) this.#coverage.hit(combine(KINDS.indexOf(input.kind), textID(stage), 1));
    if (first.finding !== undefined) return first.finding;
    return first.reason === second.reason && first.stages.join() === second.stages.join()
      ? undefined
      : { oracle: 'object', trace: `${input.kind} read twice`, message: `the same bytes gave "${first.reason}" and "${second.reason}"` };
  }

  /** Reads a file with every reader of its kind. What is no InputError comes through. */
  #read({ kind, bytes }: ObjectInput): { readonly reason: string; readonly stages: readonly string[]; readonly finding?: Finding } {
    const stages: string[] = [];
    try {
      switch (kind) {
        case 'elf': {
          parseELF(bytes, 'a.o');
          stages.push('elf');
          const object = openObject(bytes, 'a.o', 'a');
          stages.push('object');
          const draft = draftSkeleton(object, 'a');
          const loader = generateLoader(object);
          const text = formatSkeleton(draft, loader);
          stages.push('loader');
          const again = parseLightSkeleton(utf8.encode(text), 'a.lskel.h');
          if (toHex(again.instructions) !== toHex(loader.instructions) || toHex(again.metadata) !== toHex(loader.metadata)) {
            return { reason: '', stages, finding: { oracle: 'object', trace: 'skeleton read back', message: 'a generated skeleton reads back as another' } };
          }
          break;
        }
        case 'btf': {
          const { errno } = checkBTF(bytes);
          stages.push(`check ${errno}`);
          const btf = BTF.parse(bytes, { name: 'a' });
          stages.push(`types ${Math.min(btf.endID, 32)}`);
          break;
        }
        case 'btf.ext':
          parseBTFExt(bytes, this.#types, 'a.o');
          stages.push('ext');
          break;
        case 'skeleton': {
          const skeleton = parseLightSkeleton(bytes, 'a.lskel.h');
          stages.push('skeleton');
          stages.push(detectContract(skeleton).contract);
          break;
        }
      }
      return { reason: 'read', stages };
    } catch (error) {
      if (error instanceof GeneratorError) return { reason: `generator: ${error.message}`, stages };
      if (!(error instanceof InputError)) throw error;
      return { reason: error.reason, stages };
    }
  }

  serialise({ kind, bytes }: ObjectInput): Uint8Array {
    return utf8.encode(JSON.stringify({ kind, bytes: toHex(bytes) }));
  }

  deserialise(bytes: Uint8Array): ObjectInput {
    const { kind, bytes: hex } = parseJSON(bytes) as Partial<Record<string, unknown>>;
    const known = KINDS.find((name) => name === kind);
    if (known === undefined || typeof hex !== 'string') throw new InputError('input', '', 'kind and bytes expected');
    return { kind: known, bytes: fromHex(hex) };
  }

  *shrink({ kind, bytes }: ObjectInput): Iterable<ObjectInput> {
    for (const smaller of smallerBytes(bytes)) yield { kind, bytes: smaller };
  }

  size({ bytes }: ObjectInput): number {
    return bytes.length + bytes.reduce((sum, byte) => sum + (byte === 0 ? 0 : 1), 0);
  }

  /** Of all kinds a kernel reads only BTF. */
  toTranscript({ kind, bytes }: ObjectInput): string | undefined {
    return kind === 'btf' ? transcriptOf(btfLoadCalls(bytes)) : undefined;
  }

  toAssembly({ kind, bytes }: ObjectInput): string {
    return kind === 'skeleton' ? latin1(bytes) : `${kind} ${toHex(bytes)}\n`;
  }
}

/** Makes the target `object`. */
export function createTarget(environment: TargetEnvironment): Target<ObjectInput> {
  return new ObjectTarget(environment);
}
