/**
 * @module loader/gen/ts-skeleton
 * Skeletons in TypeScript (`gen skeleton --lang ts`): a module with a class that opens, loads, attaches and destroys the object, and with
 * the types of its maps and global variables. With a loader program inside, as C light skeletons have one, or with the whole object.
 * What the module calls is `loader/live/`; types are `ts-types.ts`.
 */
import { readable } from '../../isa/latin1.ts';
import * as U from '../../isa/uapi.ts';
import { attachSpec, type AttachKind } from '../object/attach-spec.ts';
import type { BPFObject, ObjectMap, ObjectProgram } from '../object/model.ts';
import { mapMappingSize } from '../object/map-defs.ts';
import type { GeneratedLoader } from './gen-loader.ts';
import { dataSections, sectionAccess, skeletonAttach, skeletonMaps, skeletonPrograms, type DataSection, type SkeletonMapMember } from './skeleton-model.ts';
import type { LoaderSignature } from './skeleton-text.ts';
import { bytesOf, comment, pascal, property, quote, TypeWriter, type TypeText } from './ts-types.ts';

const BASE64_LINE = 116;
/** Names of the runtime that a module may import. */
const VALUES = ['decodeBytes', 'layouts', 'LiveLightSkeleton', 'LiveObjectSkeleton'] as const;
const TYPES = ['ArrayView', 'Layout', 'LightBlueprint', 'LinkHandle', 'MapHandle', 'ObjectBlueprint', 'ProgramHandle', 'TextView', 'TypedMap'] as const;
/** Names of the language that the module uses or that must keep their meaning. */
const LANGUAGE = ['Uint8Array', 'Record', 'Object', 'Symbol', 'Iterable', 'Array', 'String', 'Number', 'Boolean', 'BigInt', 'Function', 'BLUEPRINT', 'l'];
/** Maps of which one value is read at a time. */
const TYPED_MAPS: ReadonlySet<number> = new Set([U.BPF_MAP_TYPE_HASH, U.BPF_MAP_TYPE_ARRAY, U.BPF_MAP_TYPE_LRU_HASH, U.BPF_MAP_TYPE_LPM_TRIE]);

/** A module before the object is relocated: everything but the loader. */
export interface ModuleDraft {
  readonly file: string;
  readonly name: string;
  readonly className: string;
  /** Module that the runtime comes from. */
  readonly runtime: string;
  readonly littleEndian: boolean;
  readonly declarations: string;
  readonly shape: string;
  readonly getters: string;
  /** First values are known once the loader is generated: configuration is looked up for it. */
  readonly maps: () => string;
  readonly programs: string;
  /** struct_ops maps with their links. */
  readonly structOps: string;
}

/**
 * Takes from a freshly opened object what its module declares. Call before `generateLoader`, which changes the object's types.
 *
 * @param attach how programs are attached: by a light skeleton, or as libbpf would
 * @param runtime what the module imports from: a package or a path
 * @throws InputError where a variable cannot be declared
 */
export function draftModule(object: BPFObject, name: string, attach: 'light' | 'whole', runtime: string): ModuleDraft {
  return new ModuleWriter(object, name, attach, runtime).draft();
}

class ModuleWriter {
  readonly #object: BPFObject;
  readonly #name: string;
  readonly #attach: 'light' | 'whole';
  readonly #runtime: string;
  readonly #prefix: string;
  readonly #writer: TypeWriter | undefined;
  readonly #className: string;
  readonly #maps: readonly SkeletonMapMember[];
  readonly #programs: readonly ObjectProgram[];

  constructor(object: BPFObject, name: string, attach: 'light' | 'whole', runtime: string) {
    this.#object = object;
    this.#name = name;
    this.#attach = attach;
    this.#runtime = runtime;
    this.#prefix = pascal(name);
    this.#className = `${this.#prefix}Skeleton`;
    this.#writer = object.btf === undefined ? undefined : new TypeWriter(object.btf, [...VALUES, ...TYPES, ...LANGUAGE, this.#className, `${this.#prefix}Shape`]);
    this.#maps = skeletonMaps(object).map((member) => ({ ...member, ident: readable(member.ident) }));
    this.#programs = skeletonPrograms(object).map((program) => ({ ...program, name: readable(program.name) }));
  }

  draft(): ModuleDraft {
    const sections = this.#sections();
    const maps = this.#maps.map((map) => this.#map(map, sections.get(map.map)));
    const programs = this.#programs.map((program) => `    { name: ${quote(program.name)}, attach: ${attachText(this.#attachOf(program))} },\n`);
    const structOps = this.#maps.flatMap(({ isStructOps, ident }) => (isStructOps ? [ident] : []));
    const section = (text: (entry: SectionText) => string): string => [...sections.values()].map(text).join('');
    return {
      file: this.#object.file, name: this.#name, className: this.#className, runtime: this.#runtime, littleEndian: this.#object.littleEndian,
      declarations: this.#writer?.declarations() ?? '',
      maps: () => maps.map(({ blueprint }) => blueprint()).join(''),
      programs: programs.join(''),
      structOps: structOps.map((ident) => `    { name: ${quote(ident)}, attach: ${attachText(this.#attach === 'light' ? { kind: 'none' } : STRUCT_OPS)} },\n`).join(''),
      shape: `/** What the skeleton has. */\nexport interface ${this.#prefix}Shape {\n`
        + group('maps', maps.map(({ member }) => member)) + group('progs', this.#programs.map(({ name }) => `${property(name)}: ProgramHandle`))
        + group('links', [...this.#programs.map(({ name }) => name), ...structOps].map((name) => `${property(name)}: LinkHandle`)) + group('sections', [...sections.values()].map(({ ident, type }) => `${property(ident)}: ${type}`)) + '}\n',
      getters: section(({ ident, type, doc }) => `\n  /** ${doc} */\n  get ${property(ident)}(): ${type} {\n    return this.sections.${ident};\n  }\n`),
    };
  }

  // --- data sections ------------------------------------------------------------------------------------------------

  #sections(): Map<ObjectMap, SectionText> {
    const { btf } = this.#object;
    const texts = new Map<ObjectMap, SectionText>();
    if (btf === undefined || this.#writer === undefined) return texts;
    for (const section of dataSections(this.#object, btf)) texts.set(section.map, this.#section(this.#writer, section));
    return texts;
  }

  #section(writer: TypeWriter, { map, ident, section, variables }: DataSection): SectionText {
    const name = writer.unique(`${this.#prefix}${pascal(ident)}`);
    const properties: string[] = [];
    const layouts: string[] = [];
    const names = new Set<string>();
    for (const { type, ident: variable, name: original, offset } of variables) {
      const text = names.has(variable) ? undefined : writer.describe(type, `${ident}_${variable}`);
      if (text === undefined || writer.sizeOf(type) < 0) {
        properties.push(`  // ${comment(original)}: its type has no size\n`);
        continue;
      }
      names.add(variable);
      properties.push(`  ${text.isView ? 'readonly ' : ''}${property(variable)}: ${text.type};\n`);
      layouts.push(`  [${quote(variable)}, ${offset}, ${text.layout}],\n`);
    }
    const data = map.data ?? new Uint8Array(0);
    const layout = writer.unique(`layoutOf${name}`);
    const access = sectionAccess(map);
    const doc = `\`${comment(section ?? map.realName)}\`${access === 'read' ? ', read-only once it is loaded' : access === 'protect' ? ', the first values: what each CPU has is in the map' : ''}.`;
    writer.declare(`/** ${doc} */\nexport interface ${name} {\n${properties.join('')}}\n\nconst ${layout}: Layout<${name}> = l.struct<${name}>(${data.length}, [\n${layouts.join('')}]);\n`);
    return {
      ident, type: name, doc,
      blueprint: () => `{\n      name: ${quote(ident)}, mmapSize: ${mapMappingSize(map)}, access: ${quote(access)}, layout: ${layout},\n      initial: ${bytesText(map.data ?? data)},\n    }`,
    };
  }

  // --- maps and programs --------------------------------------------------------------------------------------------

  #map({ map, ident }: SkeletonMapMember, section: SectionText | undefined): { readonly blueprint: () => string; readonly member: string } {
    const types = section === undefined ? this.#mapTypes(map) : undefined;
    const fields = (): string[] => [
      `name: ${quote(ident)}`, ...(types === undefined ? [] : [`key: ${types.key.layout}`, `value: ${types.value.layout}`]),
      ...(section === undefined ? [] : [`section: ${section.blueprint()}`]),
    ];
    return {
      blueprint: () => `    { ${fields().join(', ')} },\n`,
      member: `${property(ident)}: ${types === undefined ? 'MapHandle' : `TypedMap<${types.key.type}, ${types.value.type}>`}`,
    };
  }

  /** Key and value of a map that can be read by key. */
  #mapTypes({ definition, kind, name }: ObjectMap): { readonly key: TypeText; readonly value: TypeText } | undefined {
    const { type, keySize, valueSize, keyTypeID, valueTypeID } = definition;
    if (kind !== 'user' || !TYPED_MAPS.has(type) || keySize === 0 || valueSize === 0) return undefined;
    const text = (id: number, size: number, what: string): TypeText => {
      const described = id === 0 || this.#writer?.sizeOf(id) !== size ? undefined : this.#writer.describe(id, `${name}_${what}`);
      return described ?? bytesOf(size);
    };
    return { key: text(keyTypeID, keySize, 'key'), value: text(valueTypeID, valueSize, 'value') };
  }

  #attachOf(program: ObjectProgram): AttachKind {
    return this.#attach === 'light' ? skeletonAttach(this.#object, program) : attachSpec(program);
  }
}

interface SectionText {
  readonly ident: string;
  readonly type: string;
  readonly doc: string;
  readonly blueprint: () => string;
}

/** Only with the object inside is it known what the callbacks are. */
const STRUCT_OPS: AttachKind = { kind: 'struct_ops' };

function attachText(attach: AttachKind): string {
  const fields = Object.entries(attach).map(([name, value]) => `${name}: ${typeof value === 'string' ? quote(value) : String(value)}`);
  return `{ ${fields.join(', ')} }`;
}

function group(name: string, members: readonly string[]): string {
  return members.length === 0 ? `  readonly ${name}: Record<string, never>;\n` : `  readonly ${name}: {\n${members.map((member) => `    readonly ${member};\n`).join('')}  };\n`;
}

/** Bytes as base64 in lines. */
function bytesText(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += 4096) binary += String.fromCharCode(...bytes.subarray(at, at + 4096));
  const text = btoa(binary);
  if (text.length <= BASE64_LINE) return `decodeBytes('${text}')`;
  return `decodeBytes(\`\n${text.match(new RegExp(`.{1,${BASE64_LINE}}`, 'g'))?.join('\n') ?? ''}\n\`)`;
}

/** The module around a generated loader. */
export function formatLightModule(draft: ModuleDraft, loader: GeneratedLoader, signature?: LoaderSignature): string {
  const signed = signature === undefined ? '' : `  signature: {\n    bytes: ${bytesText(signature.signature)},\n    exclusiveHash: ${bytesText(signature.exclusiveHash)},\n  },\n`;
  return formatModule(draft, `${signature === undefined ? '-L' : '-L -S'} --lang ts`, 'LiveLightSkeleton', 'LightBlueprint',
    `${signed}  metadata: ${bytesText(loader.metadata)},\n  instructions: ${bytesText(loader.instructions)},\n`);
}

/** The module around a whole object. */
export function formatObjectModule(draft: ModuleDraft, object: Uint8Array): string {
  return formatModule(draft, '--lang ts', 'LiveObjectSkeleton', 'ObjectBlueprint', `  object: ${bytesText(object)},\n`);
}

function formatModule(draft: ModuleDraft, options: string, base: string, blueprint: string, payload: string): string {
  const { className, name, shape, declarations, getters, maps, programs, structOps } = draft;
  const body = `const l = layouts(${draft.littleEndian});\n\n${declarations}${declarations === '' ? '' : '\n'}${shape}
const BLUEPRINT: ${blueprint} = {
  name: ${quote(name)},
  maps: [
${maps()}  ],
  programs: [
${programs}  ],
${structOps === '' ? '' : `  structOps: [\n${structOps}  ],\n`}${payload}};

/** The skeleton of ${comment(draft.file.split('/').at(-1) ?? '')}. */
export class ${className} extends ${base}<${pascal(name)}Shape> {
  private constructor() {
    super(BLUEPRINT);
  }

  /** A skeleton that is not loaded yet: its data sections can be written. */
  static open(): ${className} {
    return new ${className}();
  }
${getters}}
`;
  const usesLayouts = /\bl\.\w/.test(body);
  const text = usesLayouts ? body : body.replace(/^const l = .*\n\n/, '');
  const isUsed = (word: string): boolean => new RegExp(`\\b${word}\\b`).test(text);
  const imports = [...VALUES.filter(isUsed), ...TYPES.filter(isUsed).map((type) => `type ${type}`)];
  return `// Generated by bpftwin gen skeleton ${options}: do not edit.\nimport {\n${imports.map((word) => `  ${word},\n`).join('')}} from ${quote(draft.runtime)};\n\n${text}`;
}
