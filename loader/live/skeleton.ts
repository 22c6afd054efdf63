/**
 * @module loader/live/skeleton
 * The base of generated TypeScript skeletons: open, load, attach, detach, destroy over a {@link Port}, with maps, programs, links and the
 * data sections as objects. Owns the life cycle and the memory behind the sections; how an object gets into a kernel is the
 * {@link Loading}'s business (`light.ts`, `whole.ts`), values are `layout.ts`, calls `handles.ts` and `links.ts`.
 */
import { InputError } from '../../isa/errors.ts';
import type { AttachKind } from '../object/attach-spec.ts';
import type { Port } from '../port.ts';
import { MapHandle, ProgramHandle, SkeletonError, TypedMap, type Loaded, type MapSettings } from './handles.ts';
import { LocalMemory, type Layout, type Memory } from './layout.ts';
import { LinkHandle, type AttachContext } from './links.ts';

/** Names and types of what a skeleton has; generated modules write it out. */
export interface SkeletonShape {
  readonly maps: object;
  readonly progs: object;
  readonly links: object;
  readonly sections: object;
}

/** A map of a skeleton: with types of key and value where those are known. */
export interface MapBlueprint {
  readonly name: string;
  readonly key?: Layout<unknown>;
  readonly value?: Layout<unknown>;
  /** The data section whose memory it is. */
  readonly section?: SectionBlueprint;
}

/** A data section. */
export interface SectionBlueprint {
  /** Property of the skeleton. */
  readonly name: string;
  readonly initial: Uint8Array;
  /** Bytes of the mapping. */
  readonly mmapSize: number;
  /** After the load: `protect` for per-CPU data, of which only the first values can be seen. */
  readonly access: 'read' | 'read-write' | 'protect';
  readonly layout: Layout<object>;
}

export interface ProgramBlueprint {
  readonly name: string;
  readonly attach: AttachKind;
}

/** What every generated skeleton says. */
export interface Blueprint {
  readonly name: string;
  readonly maps: readonly MapBlueprint[];
  readonly programs: readonly ProgramBlueprint[];
  /** struct_ops maps, which have a link as programs have. */
  readonly structOps?: readonly ProgramBlueprint[];
}

/** What a load made. */
export interface LoadResult extends AttachContext {
  /** Descriptors by name. */
  readonly maps: ReadonlyMap<string, number>;
  readonly programs: ReadonlyMap<string, number>;
  /** User addresses of the data sections that are mapped, by map name. */
  readonly sections: ReadonlyMap<string, number>;
  readonly log: string;
  /** Closes and unmaps all of it. */
  destroy(): void;
}

/** What the skeleton was told before the load, by name. */
export interface LoadSettings {
  /** First values of the data sections, by map. */
  readonly data: ReadonlyMap<string, Uint8Array>;
  readonly maps: ReadonlyMap<string, MapSettings>;
  /** Programs that are to be loaded, or not, whatever the object says. */
  readonly autoload: ReadonlyMap<string, boolean>;
}

/** Puts an object into a kernel. */
export type Loading<Options> = (port: Port, settings: LoadSettings, options: Options) => LoadResult;

/** First the skeleton's own bytes, after the load the map's. */
class SectionMemory implements Memory {
  readonly name: string;
  #memory: Memory;
  #isWritable = true;

  constructor(name: string, initial: Uint8Array) {
    this.name = name;
    this.#memory = new LocalMemory(Uint8Array.from(initial));
  }

  read(offset: number, length: number): Uint8Array {
    return this.#memory.read(offset, length);
  }

  write(offset: number, bytes: Uint8Array): void {
    if (!this.#isWritable) throw new InputError(`section ${this.name}`, '', 'is read-only once it is loaded');
    this.#memory.write(offset, bytes);
  }

  become(memory: Memory | undefined, isWritable: boolean): void {
    this.#memory = memory ?? this.#memory;
    this.#isWritable = isWritable;
  }
}

/** The process's memory from an address on. */
class MappedMemory implements Memory {
  readonly #port: Port;
  readonly #address: number;

  constructor(port: Port, address: number) {
    this.#port = port;
    this.#address = address;
  }

  read(offset: number, length: number): Uint8Array {
    return this.#port.readUser(this.#address + offset, length);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#port.writeUser(this.#address + offset, bytes);
  }
}

/** What memory says when its skeleton is gone. */
const GONE: Memory = {
  read: () => {
    throw new SkeletonError('the skeleton was destroyed', 0);
  },
  write: () => {
    throw new SkeletonError('the skeleton was destroyed', 0);
  },
};

/** What `attach` did. */
export interface AttachReport {
  readonly attached: readonly string[];
  /** What nothing attaches by itself: the section names no target, or the program is optional and was not loaded. */
  readonly skipped: readonly string[];
}

function refuseSection(what: string): never {
  throw new SkeletonError(`${what}: a data section has the size of its variables`, 0);
}

/** An object with exactly these properties: names of C may be those of `Object.prototype`. */
function record(entries: readonly (readonly [name: string, value: unknown])[]): object {
  const result = Object.create(null) as object;
  for (const [name, value] of entries) Object.defineProperty(result, name, { value, enumerable: true });
  return Object.freeze(result);
}

/**
 * A skeleton that can be loaded. Generated classes extend it and say what `Shape` is.
 *
 * @example
 * const skeleton = FlowSkeleton.open();
 * skeleton.rodata.limit = 10;
 * skeleton.load(kernel);
 * skeleton.progs.count.testRun({ data: packet });
 * console.log(skeleton.bss.packets);
 * skeleton.destroy();
 */
export class LiveSkeleton<Shape extends SkeletonShape, Options> {
  readonly name: string;
  readonly maps: Shape['maps'];
  readonly progs: Shape['progs'];
  readonly links: Shape['links'];
  /** The data sections; generated classes have a property for each. */
  protected readonly sections: Shape['sections'];
  readonly #blueprint: Blueprint;
  readonly #loading: Loading<Options>;
  readonly #links: readonly LinkHandle[];
  readonly #maps: readonly MapHandle[];
  readonly #programs: readonly ProgramHandle[];
  readonly #memories = new Map<string, SectionMemory>();
  #result: LoadResult | undefined;
  #port: Port | undefined;
  #isDestroyed = false;

  protected constructor(blueprint: Blueprint, loading: Loading<Options>) {
    this.name = blueprint.name;
    this.#blueprint = blueprint;
    this.#loading = loading;
    const program = (name: string) => (): Loaded => this.#loaded((result) => result.programs.get(name), `program '${name}'`);
    const map = (name: string) => (): Loaded => this.#loaded((result) => result.maps.get(name), `map '${name}'`);
    const context = (): AttachContext => this.#result ?? {};
    this.#links = [
      ...blueprint.programs.map(({ name, attach }) => new LinkHandle(name, attach, program(name), context)),
      ...(blueprint.structOps ?? []).map(({ name, attach }) => new LinkHandle(name, attach, map(name), context)),
    ];
    // The generated module knows the names and types; here they are data.
    this.#maps = blueprint.maps.map((map) => this.#mapHandle(map));
    this.#programs = blueprint.programs.map(({ name }) => new ProgramHandle(name, program(name), this.#beforeLoad));
    this.maps = record(this.#maps.map((map) => [map.name, map]));
    this.progs = record(this.#programs.map((handle) => [handle.name, handle]));
    this.links = record(this.#links.map((link) => [link.name, link]));
    this.sections = record(blueprint.maps.flatMap(({ name, section }) => (section === undefined ? [] : [[section.name, this.#openSection(name, section)] as const])));
  }

  #mapHandle({ name, key, value, section }: MapBlueprint): MapHandle {
    if (section !== undefined) return new MapHandle(name, () => this.#loaded((result) => result.maps.get(name), `map '${name}'`), refuseSection);
    const descriptor = (): Loaded => this.#loaded((result) => result.maps.get(name), `map '${name}'`);
    return key === undefined || value === undefined ? new MapHandle(name, descriptor, this.#beforeLoad) : new TypedMap(name, descriptor, this.#beforeLoad, key, value);
  }

  readonly #beforeLoad = (what: string): void => {
    if (this.#isDestroyed) throw new SkeletonError(`${what}: the skeleton was destroyed`, 0);
    if (this.#result !== undefined) throw new SkeletonError(`${what}: the skeleton is loaded already`, 0);
  };

  #openSection(map: string, { name, initial, layout }: SectionBlueprint): object {
    const memory = new SectionMemory(name, initial);
    this.#memories.set(map, memory);
    return layout.get(memory, 0);
  }

  #loaded(find: (result: LoadResult) => number | undefined, what: string): Loaded {
    if (this.#isDestroyed) throw new SkeletonError(`${what}: the skeleton was destroyed`, 0);
    if (this.#result === undefined || this.#port === undefined) throw new SkeletonError(`${what}: the skeleton is not loaded`, 0);
    const fd = find(this.#result);
    if (fd === undefined || fd <= 0) throw new SkeletonError(`${what}: was not loaded`, 0);
    return { port: this.#port, fd };
  }

  /** What the kernel had to say to the load, where a log was asked for. */
  get log(): string {
    return this.#result?.log ?? '';
  }

  /** True between `load` and `destroy`. */
  get isLoaded(): boolean {
    return this.#result !== undefined;
  }

  /**
   * Loads maps and programs. What the data sections hold now becomes their first value.
   * @throws SkeletonError with errno and log where the kernel refuses; nothing is left behind then
   */
  load(port: Port, options: Options): this {
    if (this.#isDestroyed) throw new SkeletonError('the skeleton was destroyed', 0);
    if (this.#result !== undefined) throw new SkeletonError('the skeleton is loaded already', 0);
    const data = new Map<string, Uint8Array>();
    for (const { name, section } of this.#blueprint.maps) {
      if (section !== undefined) data.set(name, this.#memories.get(name)?.read(0, section.initial.length) ?? section.initial);
    }
    const maps = new Map(this.#maps.map(({ name, settings }) => [name, settings]));
    const autoload = new Map(this.#programs.flatMap(({ name, autoload: isWanted }) => (isWanted === undefined ? [] : [[name, isWanted] as const])));
    this.#result = this.#loading(port, { data, maps, autoload }, options);
    this.#port = port;
    for (const { name, section } of this.#blueprint.maps) {
      const address = this.#result.sections.get(name);
      if (section !== undefined) this.#memories.get(name)?.become(address === undefined ? undefined : new MappedMemory(port, address), section.access === 'read-write');
    }
    return this;
  }

  /**
   * Attaches every program whose section says what to attach to and every map of callbacks, in order, as `NAME__attach()` does; on a
   * failure it detaches all again.
   * @throws SkeletonError where the kernel refuses, or where attaching needs more than the port offers
   */
  attach(): AttachReport {
    if (this.#result === undefined) throw new SkeletonError('the skeleton is not loaded', 0);
    const { programs, maps } = this.#result;
    const { structOps = [] } = this.#blueprint;
    const isOptional = new Set([
      ...this.#blueprint.programs.filter(({ name }) => (programs.get(name) ?? 0) <= 0), ...structOps.filter(({ name }) => (maps.get(name) ?? 0) <= 0),
    ].map(({ name }) => name));
    const automatic = this.#links.filter((link) => link.isAutomatic && !isOptional.has(link.name));
    try {
      for (const link of automatic) link.attach();
    } catch (error) {
      this.detach();
      throw error;
    }
    return { attached: automatic.map(({ name }) => name), skipped: this.#links.filter((link) => !automatic.includes(link)).map(({ name }) => name) };
  }

  /** Closes all links. */
  detach(): void {
    for (const link of this.#links) link.detach();
  }

  /** Detaches, closes and unmaps everything; the skeleton is of no further use. A second call does nothing. */
  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.detach();
    this.#result?.destroy();
    this.#result = undefined;
    for (const memory of this.#memories.values()) memory.become(GONE, false);
  }
}

/** Bytes from base64, line breaks allowed. */
export function decodeBytes(text: string): Uint8Array {
  const binary = atob(text.replace(/\s/g, ''));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
