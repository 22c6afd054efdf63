/**
 * @module loader/live/whole
 * Generated TypeScript skeletons with the whole object inside (`gen skeleton --lang ts`): what libbpf does in user space is done here, so
 * the load must be told the kernel's types. Owns the way from the generated data to `load-object.ts`.
 */
import { parseKernelBTF } from '../../btf/kernel.ts';
import { readable } from '../../isa/latin1.ts';
import * as U from '../../isa/uapi.ts';
import { skeletonMaps } from '../gen/skeleton-model.ts';
import { mapMappingSize } from '../object/map-defs.ts';
import { keepObject, type KeptObject } from '../object/load-object.ts';
import type { BPFObject, ObjectMap } from '../object/model.ts';
import { openObject } from '../object/open.ts';
import { MAP_SHARED, PROT_READ, PROT_WRITE, type Port } from '../port.ts';
import { SkeletonError, type MapSettings } from './handles.ts';
import { LiveSkeleton, type Blueprint, type Loading, type LoadResult, type SkeletonShape } from './skeleton.ts';

/** What an object can be told when it is loaded; the data sections' values are its properties. */
export interface ObjectLoadOptions {
  /** Raw BTF of the kernel: for CO-RE relocations, kernel functions and symbols, attach targets. */
  readonly kernelBTF?: Uint8Array;
  /** Address of a kernel symbol as lo and hi words, for symbols without a type. */
  readonly symbol?: (name: string) => readonly [lo: number, hi: number] | undefined;
  /** Text of a kernel configuration, for `__kconfig` externs. */
  readonly configuration?: string;
  /** `log_level` of each load and bytes of its buffer; default no log. */
  readonly log?: { readonly level: number; readonly size: number };
}

/** A skeleton with an object inside. */
export interface ObjectBlueprint extends Blueprint {
  /** The object file. */
  readonly object: Uint8Array;
}

const NO_LOG = { level: 0, size: 0 };

function objectLoading(blueprint: ObjectBlueprint): Loading<ObjectLoadOptions | undefined> {
  const { name, object: bytes } = blueprint;
  return (port, settings, { kernelBTF, symbol = () => undefined, configuration, log = NO_LOG } = {}): LoadResult => {
    const object = openObject(bytes, name, name);
    const named = namedMaps(object);
    for (const { ident, map } of named) applySettings(map, settings.data.get(ident), settings.maps.get(ident));
    for (const program of object.programs) if (!program.isSubprogram) program.autoload = settings.autoload.get(readable(program.name)) ?? program.autoload;
    const types = kernelBTF === undefined ? undefined : parseKernelBTF(kernelBTF);
    const kept = keepObject(port, object, bytes, {
      kernel: { btf: types, symbol }, log, ...(configuration === undefined ? {} : { configuration }),
    });
    if (!('close' in kept)) throw new SkeletonError(`skeleton '${name}': program '${kept.name}'${kept.reason === undefined ? '' : `: ${kept.reason}`}`, kept.errno, kept.log);
    return { ...new KeptResult(port, named, kept, blueprint).result(), types };
  };
}

function applySettings(map: ObjectMap, data: Uint8Array | undefined, settings: MapSettings | undefined): void {
  // The configuration decides about its variables, nobody else.
  if (data !== undefined && map.kind !== 'kconfig') map.data = data;
  map.definition.maxEntries = settings?.maxEntries ?? map.definition.maxEntries;
  map.definition.valueSize = settings?.valueSize ?? map.definition.valueSize;
}

interface NamedMap {
  readonly ident: string;
  readonly index: number;
  readonly map: BPFObject['maps'][number];
}

/** The maps that the skeleton has a name for. */
function namedMaps(object: BPFObject): NamedMap[] {
  return skeletonMaps(object).map(({ ident, map }) => ({ ident: readable(ident), map, index: object.maps.indexOf(map) }));
}

/** Maps the data sections of a loaded object into the process. */
class KeptResult {
  readonly #port: Port;
  readonly #maps: readonly NamedMap[];
  readonly #kept: KeptObject;
  readonly #blueprint: ObjectBlueprint;
  readonly #mappings: { readonly address: number; readonly size: number }[] = [];

  constructor(port: Port, maps: readonly NamedMap[], kept: KeptObject, blueprint: ObjectBlueprint) {
    this.#port = port;
    this.#maps = maps;
    this.#kept = kept;
    this.#blueprint = blueprint;
  }

  result(): LoadResult {
    const { mapFDs, programFDs, structOps, log } = this.#kept;
    const maps = new Map(this.#maps.map(({ ident, index }) => [ident, mapFDs[index] ?? -1]));
    const callbacks = this.#maps.flatMap(({ ident, index, map }) => {
      const value = structOps.get(index);
      return value === undefined ? [] : [[ident, { value, hasLink: (map.definition.flags & U.BPF_F_LINK) !== 0 }] as const];
    });
    const programs = new Map([...programFDs].map(([name, fd]) => [readable(name), fd]));
    return { maps, programs, structOps: new Map(callbacks), sections: this.#sections(maps), log, destroy: () => this.#destroy() };
  }

  #sections(fds: ReadonlyMap<string, number>): Map<string, number> {
    const addresses = new Map<string, number>();
    for (const { name, section } of this.#blueprint.maps) {
      if (section === undefined || section.access === 'protect') continue;
      const map = this.#maps.find(({ ident }) => ident === name)?.map;
      if (map === undefined) continue;
      addresses.set(name, map.kind === 'user' ? this.#kept.arenaData ?? 0 : this.#map(name, fds.get(name) ?? -1, mapMappingSize(map), section.access));
    }
    return addresses;
  }

  #map(name: string, fd: number, size: number, access: 'read' | 'read-write'): number {
    const address = this.#port.mmap(0, size, access === 'read' ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address < 0) {
      this.#destroy();
      throw new SkeletonError(`map '${name}': failed to mmap() the data section`, -address);
    }
    this.#mappings.push({ address, size });
    return address;
  }

  #destroy(): void {
    for (const { address, size } of this.#mappings.splice(0)) this.#port.munmap(address, size);
    this.#kept.close();
  }
}

/** The base of a generated skeleton with an object inside. */
export class LiveObjectSkeleton<Shape extends SkeletonShape> extends LiveSkeleton<Shape, ObjectLoadOptions | undefined> {
  protected constructor(blueprint: ObjectBlueprint) {
    super(blueprint, objectLoading(blueprint));
  }

  override load(port: Port, options?: ObjectLoadOptions): this {
    return super.load(port, options);
  }
}
