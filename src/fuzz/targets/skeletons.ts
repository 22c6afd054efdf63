/**
 * @module src/fuzz/targets/skeletons
 * The light skeletons that loader inputs begin with: generated here and now from small objects, so that what is tested is this build's
 * generator, signer and loader; and the package's example, which bpftool wrote.
 */
import { sha256 } from '../../../crypto/digest.ts';
import { alu64, assemble, callHelper, exit, jump, label, ldMapFD, ldMapValue, ldx, mov64, st, type Item } from '../../../isa/encode.ts';
import * as U from '../../../isa/uapi.ts';
import { generateLoader } from '../../../loader/gen/gen-loader.ts';
import { draftSkeleton, formatSkeleton } from '../../../loader/gen/skeleton-text.ts';
import { parseLightSkeleton } from '../../../loader/lskel.ts';
import { openObject } from '../../../loader/object/open.ts';
import type { LightSkeleton } from '../../../loader/skeleton.ts';
import { buildObject, type ObjectSpec } from '../mutators/object-file.ts';
import type { FuzzSigner } from './signer.ts';

/** A skeleton in both forms; `signature` is by the fuzzing signer over instructions and metadata. */
export interface BaseSkeleton {
  readonly name: string;
  readonly unsigned: LightSkeleton;
  readonly signed: LightSkeleton;
}

const RETURN: Uint8Array = assemble([mov64('r0', 0), exit()]);

function lookup(): Uint8Array {
  const items: Item[] = [
    st('u32', 'r10', -4, 0), mov64('r2', 'r10'), alu64('add', 'r2', -4), ldMapFD('r1', 0), callHelper(U.BPF_FUNC_map_lookup_elem), jump('jeq', 'r0', 0, 'out'), ldx('u64', 'r0', 'r0', 0), label('out'), mov64('r0', 0), exit(),
  ];
  return assemble(items);
}

const MAP = { name: 'table', type: U.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 4 } as const;
const lookupSlot = 3;

/** The objects, by name. Every kind of thing that a loader does is in one of them. */
export const OBJECTS: Readonly<Record<string, ObjectSpec>> = {
  nothing: { maps: [], programs: [{ section: 'socket', name: 'pass', instructions: RETURN, references: [] }], data: [], license: 'GPL' },
  onemap: {
    maps: [MAP], programs: [{ section: 'socket', name: 'look', instructions: lookup(), references: [{ slot: lookupSlot, to: 'table' }] }], data: [], license: 'GPL',
  },
  data: {
    maps: [{ ...MAP, type: U.BPF_MAP_TYPE_HASH, maxEntries: 7 }],
    programs: [{
      section: 'socket', name: 'sum', references: [{ slot: 0, to: '.rodata' }, { slot: 3, to: '.data' }],
      instructions: assemble([ldMapValue('r1', 0, 0), ldx('u32', 'r0', 'r1', 0), ldMapValue('r2', 0, 0), ldx('u8', 'r2', 'r2', 0), mov64('r0', 'r2'), exit()]),
    }],
    // Lengths that are no multiple of 8, so that what follows has to be aligned.
    data: [{ section: '.rodata', bytes: Uint8Array.of(1, 2, 3, 4, 5) }, { section: '.data', bytes: Uint8Array.of(6, 7, 8) }, { section: '.bss', bytes: new Uint8Array(9) }],
    license: 'Dual BSD/GPL',
  },
  twoprogs: {
    maps: [MAP, { ...MAP, name: 'second', valueSize: 16 }],
    programs: [
      { section: 'xdp', name: 'first', instructions: lookup(), references: [{ slot: lookupSlot, to: 'second' }] },
      { section: 'tc', name: 'other', instructions: lookup(), references: [{ slot: lookupSlot, to: 'table' }] },
      { section: 'syscall', name: 'third', instructions: RETURN, references: [] },
    ],
    data: [], license: 'GPL',
  },
};

function skeletonOf(name: string, spec: ObjectSpec, signer: FuzzSigner | undefined): LightSkeleton {
  const object = openObject(buildObject(spec), `${name}.o`, name);
  const draft = draftSkeleton(object, name);
  const loader = generateLoader(object, { signed: signer !== undefined });
  const signature = signer === undefined
    ? undefined
    : { signature: signer.sign([loader.instructions, loader.metadata]), exclusiveHash: sha256(loader.instructions) };
  return parseLightSkeleton(new TextEncoder().encode(formatSkeleton(draft, loader, signature)), `${name}.lskel.h`);
}

/** A skeleton of {@link OBJECTS}. */
export function generatedSkeleton(name: string, signer: FuzzSigner): BaseSkeleton {
  const spec = OBJECTS[name] ?? OBJECTS['nothing']!;
  return { name, unsigned: skeletonOf(name, spec, undefined), signed: skeletonOf(name, spec, signer) };
}

/** The package's example, with a signature of our signer. */
export function exampleSkeleton(file: (name: string) => Uint8Array, signer: FuzzSigner): BaseSkeleton {
  const unsigned = parseLightSkeleton(file('examples/flow.lskel.h'), 'flow.lskel.h');
  const signed = parseLightSkeleton(file('examples/flow-signed.lskel.h'), 'flow-signed.lskel.h');
  return { name: 'flow', unsigned, signed: resigned(signed, signed.instructions, signed.metadata, signer) };
}

/** The skeleton with other contents, signed anew. */
export function resigned(skeleton: LightSkeleton, instructions: Uint8Array, metadata: Uint8Array, signer: FuzzSigner): LightSkeleton {
  return {
    ...skeleton, instructions, metadata,
    signature: { bytes: signer.sign([instructions, metadata]), exclusiveHash: sha256(instructions), line: skeleton.signature?.line ?? 0 },
  };
}
