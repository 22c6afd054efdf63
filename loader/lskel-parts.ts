/**
 * @module loader/lskel-parts
 * What the grammar finds in a light skeleton's text, and how it becomes one blueprint: whether every part is there and all sizes agree.
 * Owns those checks; reading the text is `lskel.ts`, the blueprint `skeleton.ts`.
 */
import { InputError } from '../isa/errors.ts';
import { printable } from './lskel-tokens.ts';
import {
  LOADER_CTX_SIZE, MAP_DESC_SIZE, PROG_DESC_SIZE,
  type LightSkeleton, type SkeletonAttach, type SkeletonData, type SkeletonMap, type SkeletonProgram, type SkeletonSignature,
  type SkeletonVariable,
} from './skeleton.ts';

export interface StructBody {
  readonly maps: { readonly name: string; readonly line: number }[];
  readonly programs: { readonly name: string; readonly line: number }[];
  readonly links: string[];
  structOpsSize: number;
  hasKeyringID: boolean;
  /** C declarations of each data section, by member name. */
  readonly sections: Map<string, Declaration[]>;
}

export interface Declaration {
  /** As written, blanks folded. */
  readonly text: string;
  readonly words: readonly string[];
}

export interface InitialValue {
  readonly bytes: Uint8Array;
  readonly mmapSize: number;
  readonly line: number;
}

export interface LoadBody {
  readonly strings: Map<string, { readonly bytes: Uint8Array; readonly line: number }>;
  metadata: Uint8Array | undefined;
  instructions: Uint8Array | undefined;
  signature: SkeletonSignature | undefined;
  readonly access: Map<string, { readonly access: SkeletonData['access']; readonly mmapSize: number }>;
}

/** The parts of one file, as they are found. */
export class SkeletonParts {
  readonly file: string;
  name = '';
  readonly struct: StructBody = { maps: [], programs: [], links: [], structOpsSize: 0, hasKeyringID: false, sections: new Map() };
  readonly attach: Map<string, SkeletonAttach> = new Map();
  readonly initial: Map<string, InitialValue> = new Map();
  readonly load: LoadBody = { strings: new Map(), metadata: undefined, instructions: undefined, signature: undefined, access: new Map() };
  readonly freed: Map<string, { readonly size: number; readonly line: number }> = new Map();
  readonly asserts: Map<string, Map<string, number>> = new Map();
  readonly functions: Map<string, number> = new Map();
  readonly extra: string[] = [];
  readonly sizes: Map<string, { readonly of: string | number; readonly line: number }> = new Map();
  readonly sources: Map<string, { readonly name: string; readonly bytes: Uint8Array; readonly line: number }> = new Map();

  constructor(file: string) {
    this.file = file;
  }

  /** Ends in an InputError at that line, worded as the lexer's. */
  #failAt(line: number, reason: string): never {
    throw new InputError(this.file, `line ${line}`, reason);
  }

  /**
   * The skeleton that the parts make up.
   * @param lastLine where the file ends
   * @throws InputError where parts are missing or do not agree
   */
  assemble(lastLine: number): LightSkeleton {
    for (const part of ['open', 'load', 'destroy']) {
      if (!this.functions.has(`${this.name}__${part}`)) {
        this.#failAt(lastLine, `the file ends without the function ${printable(this.name)}__${part}`);
      }
    }
    this.#checkSizes();
    const metadata = this.#required(this.load.metadata, 'opts.data');
    const instructions = this.#required(this.load.instructions, 'opts.insns');
    const source = this.sources.get('insns_sz');
    if (instructions.length === 0 || instructions.length % 8 !== 0) {
      this.#failAt(source?.line ?? 0, `the loader program has ${instructions.length} bytes, which is no whole number of instructions`);
    }
    const { maps, programs, links, structOpsSize } = this.struct;
    return {
      file: this.file,
      name: this.name,
      maps: maps.map((map) => ({ ...map, data: this.#mapData(map.name, map.line) }) satisfies SkeletonMap),
      programs: programs.map((program) => ({ ...program, attach: this.attach.get(program.name) ?? { kind: 'none' } }) satisfies SkeletonProgram),
      links,
      structOpsSize,
      contextSize: LOADER_CTX_SIZE + MAP_DESC_SIZE * maps.length + structOpsSize + PROG_DESC_SIZE * programs.length,
      metadata,
      instructions,
      signature: this.#signature(),
      extraFunctions: this.extra,
    };
  }

  #required<T>(value: T | undefined, what: string): T {
    return value ?? this.#failAt(this.functions.get(`${this.name}__load`) ?? 0, `${printable(this.name)}__load does not set ${what}`);
  }

  #checkSizes(): void {
    const loadLine = this.functions.get(`${this.name}__load`) ?? 0;
    for (const [option, source] of this.sources) {
      const size = this.sizes.get(option);
      if (size === undefined) this.#failAt(loadLine, `opts.${option} is not set`);
      const length = typeof size.of === 'number' ? size.of : this.load.strings.get(size.of)?.bytes.length;
      if (length === undefined) this.#failAt(size.line, `no string named ${printable(String(size.of))}`);
      if (length !== source.bytes.length) this.#failAt(size.line, `opts.${option} says ${length} bytes, there are ${source.bytes.length}`);
    }
    for (const [option, size] of this.sizes) {
      if (!this.sources.has(option)) this.#failAt(size.line, `opts.${option} is set without the bytes it belongs to`);
    }
  }

  #signature(): SkeletonSignature | undefined {
    const signature = this.load.signature;
    if (signature === undefined) return undefined;
    for (const option of ['signature_sz', 'excl_prog_hash_sz']) {
      if (!this.sources.has(option)) this.#failAt(signature.line, `a signed skeleton without opts.${stripSuffix(option, '_sz')}`);
    }
    if (!this.struct.hasKeyringID) this.#failAt(signature.line, 'a signed skeleton without the member keyring_id');
    return signature;
  }

  #mapData(name: string, line: number): SkeletonData | undefined {
    const initial = this.initial.get(name);
    const finalized = this.load.access.get(name);
    if (initial === undefined && finalized === undefined) return undefined;
    if (initial === undefined || finalized === undefined) {
      return this.#failAt(line, `map ${printable(name)} is ${initial === undefined ? 'mapped without' : 'not mapped but has'} an initial value`);
    }
    const sizes = [finalized.mmapSize, this.freed.get(name)?.size ?? finalized.mmapSize];
    for (const size of sizes) {
      if (size !== initial.mmapSize) this.#failAt(initial.line, `the mapping of ${printable(name)} has ${initial.mmapSize} bytes here and ${size} elsewhere`);
    }
    if (initial.bytes.length > initial.mmapSize || initial.mmapSize % 4096 !== 0) {
      this.#failAt(initial.line, `the initial value of ${printable(name)} has ${initial.bytes.length} bytes, its mapping ${initial.mmapSize}`);
    }
    const variables = this.#variables(name, initial);
    return { initialValue: initial.bytes, mmapSize: initial.mmapSize, access: finalized.access, variables };
  }

  /** Names come from the size assertions, which are in the order of the declarations and leave out padding. */
  #variables(section: string, initial: InitialValue): SkeletonVariable[] {
    const sizes = [...(this.asserts.get(section) ?? [])];
    let next = 0;
    let total = 0;
    const variables = (this.struct.sections.get(section) ?? []).map(({ text: declaration, words }): SkeletonVariable => {
      const padding = /^char __pad\d+\[(\d+)\]$/.exec(declaration);
      if (padding !== null) {
        total += Number(padding[1]);
        return { name: '', declaration, size: Number(padding[1]) };
      }
      const candidate = sizes[next];
      if (candidate === undefined || !words.includes(candidate[0])) return { name: '', declaration, size: undefined };
      next++;
      total += candidate[1];
      return { name: candidate[0], declaration, size: candidate[1] };
    });
    if (next < sizes.length) this.#failAt(initial.line, `no variable ${printable(sizes[next]?.[0] ?? '')} in section ${printable(section)}`);
    if (total > initial.bytes.length) {
      this.#failAt(initial.line, `the variables of ${printable(section)} take ${total} bytes, its initial value has ${initial.bytes.length}`);
    }
    return variables;
  }
}

export function stripSuffix(text: string, suffix: string): string {
  return text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
}
