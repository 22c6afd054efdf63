/**
 * @module loader/live/light
 * Generated TypeScript skeletons with a loader program inside (`gen skeleton -L --lang ts`): the same load as a C light skeleton's, signed
 * or not. Owns the way from the generated data to `load-and-run.ts`.
 */
import { destroySkeleton, isLoaded, loadAndRun, type LoadOptions } from '../load-and-run.ts';
import type { Port } from '../port.ts';
import { LOADER_CTX_SIZE, MAP_DESC_SIZE, PROG_DESC_SIZE, type LightSkeleton, type SkeletonSignature } from '../skeleton.ts';
import { SkeletonError } from './handles.ts';
import { LiveSkeleton, type Blueprint, type Loading, type LoadResult, type SkeletonShape } from './skeleton.ts';

const POINTER_SIZE = 8;

/** What a light skeleton can be told when it is loaded; the data sections' values are its properties. */
export type LightLoadOptions = Omit<LoadOptions, 'data'>;

/** A light skeleton's own data. */
export interface LightBlueprint extends Blueprint {
  readonly metadata: Uint8Array;
  readonly instructions: Uint8Array;
  readonly signature?: { readonly bytes: Uint8Array; readonly exclusiveHash: Uint8Array };
}

function lightSkeleton({ name, maps, programs, metadata, instructions, signature, structOps = [] }: LightBlueprint): LightSkeleton {
  const structOpsSize = POINTER_SIZE * structOps.length;
  const links = [...programs, ...structOps].map((member) => member.name);
  const signed: SkeletonSignature | undefined = signature === undefined ? undefined : { ...signature, line: 0 };
  return {
    file: name, name, links, structOpsSize, metadata, instructions, signature: signed, extraFunctions: [],
    contextSize: LOADER_CTX_SIZE + MAP_DESC_SIZE * maps.length + structOpsSize + PROG_DESC_SIZE * programs.length,
    maps: maps.map(({ name: map, section }) => ({
      name: map, line: 0,
      data: section === undefined ? undefined : { initialValue: section.initial, mmapSize: section.mmapSize, access: section.access, variables: [] },
    })),
    // Links are the live skeleton's.
    programs: programs.map(({ name: program }) => ({ name: program, line: 0, attach: { kind: 'none' } })),
  };
}

function lightLoading(blueprint: LightBlueprint): Loading<LightLoadOptions | undefined> {
  return (port, { data, maps, autoload }, options = {}): LoadResult => {
    const [fixed] = autoload.keys();
    if (fixed !== undefined) throw new SkeletonError(`program '${fixed}': a loader program loads what it was generated for`, 0);
    const maxEntries = new Map(options.maxEntries);
    for (const [name, settings] of maps) {
      if (settings.valueSize !== undefined) throw new SkeletonError(`map '${name}': a loader program creates values of the size it was generated for`, 0);
      if (settings.maxEntries !== undefined) maxEntries.set(name, settings.maxEntries);
    }
    const outcome = loadAndRun(port, lightSkeleton(blueprint), { ...options, maxEntries, data });
    if (!isLoaded(outcome)) throw new SkeletonError(`skeleton '${blueprint.name}': ${outcome.message}`, outcome.errno, outcome.log);
    return {
      maps: new Map(outcome.maps.map(({ name, fd }) => [name, fd])),
      programs: new Map(outcome.programs.map(({ name, fd }) => [name, fd])),
      sections: new Map(outcome.maps.flatMap(({ name, address }) => (address === undefined ? [] : [[name, address] as const]))),
      log: outcome.log,
      destroy: () => destroySkeleton(port, outcome),
    };
  };
}

/** The base of a generated light skeleton. */
export class LiveLightSkeleton<Shape extends SkeletonShape> extends LiveSkeleton<Shape, LightLoadOptions | undefined> {
  protected constructor(blueprint: LightBlueprint) {
    super(blueprint, lightLoading(blueprint));
  }

  override load(port: Port, options?: LightLoadOptions): this {
    return super.load(port, options);
  }
}
