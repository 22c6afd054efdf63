/**
 * @module kernel/helpers/in-module
 * Helpers written as eBPF, which the machine puts into the modules of verified programs: no call leaves WebAssembly for them. Each does
 * exactly what the function of the same id in `maps.ts` or `base.ts` does; for what is rare it calls that function. Lookups follow
 * kernel/bpf/arraymap.c and hashtab.c, the hash is include/linux/jhash.h.
 */
import {
  alu32, alu64, assemble, callHelper, exit, goto, jump, jump32, label, ldImm64Words, ldx, mov32, mov64, st, stx, type Item, type Register,
} from '../../isa/encode.ts';
import * as U from '../../isa/uapi.ts';
import { KERNEL_HI, LOWEST } from '../../vm/address-space.ts';
import type { InlineHelpers } from '../../vm/types.ts';
import { ARRAY_LAYOUT } from '../maps/array.ts';
import { ELEMENT_NEXT, HASH_LAYOUT, HASH_LRU, HASH_PER_CPU } from '../maps/hash-index.ts';
import { ELEMENT_HASH, ELEMENT_HEADER, LRU_REF } from '../maps/hashtab.ts';
import { MAP_LAYOUT } from '../maps/map.ts';
import { CLOCK_STEP, SOURCES_LAYOUT, type Sources } from '../sources.ts';

/** Elements of a chain that are looked at before the kernel's own lookup is asked. */
const LONGEST_CHAIN = 64;
const JHASH_INITIAL = 0xdeadbeef | 0;

/** The functions for programs of the instance whose clock and generator these are. */
export function inModuleHelpers(sources: Sources): InlineHelpers {
  const state = ldImm64Words('r9', 0, sources.address, KERNEL_HI);
  return {
    get: (id) => {
      const items = BODIES.get(id)?.(state, id);
      return items === undefined ? undefined : assemble(items);
    },
  };
}

/** Items by helper id, given the instruction that puts the address of the sources into r9. */
type Body = (state: Item, id: number) => readonly Item[];

/** Rest of a function that leaves the work to the kernel: r1…r5 as far as the helper has them must be as they came. */
function outside(id: number): readonly Item[] {
  return [label('out'), callHelper(id), exit()];
}

/** A look at the clock moves it on. */
function clock(state: Item): readonly Item[] {
  return [state, ldx('u64', 'r0', 'r9', SOURCES_LAYOUT.nanoseconds), alu64('add', 'r0', CLOCK_STEP), stx('u64', 'r9', SOURCES_LAYOUT.nanoseconds, 'r0'), exit()];
}

function processor(state: Item): readonly Item[] {
  return [state, ldx('u32', 'r0', 'r9', SOURCES_LAYOUT.cpu), exit()];
}

/** `dst = rotate(src, by)` with `temporary`. */
function rotate(dst: Register, src: Register, by: number, temporary: Register): readonly Item[] {
  return [mov32(temporary, src), alu32('rsh', temporary, 32 - by), mov32(dst, src), alu32('lsh', dst, by), alu32('or', dst, temporary)];
}

/** As `Sources.random`. */
function random(state: Item): readonly Item[] {
  const word = (index: number): number => SOURCES_LAYOUT.random + 4 * index;
  return [
    state, ldx('u32', 'r1', 'r9', word(0)), ldx('u32', 'r2', 'r9', word(1)), ldx('u32', 'r3', 'r9', word(2)), ldx('u32', 'r4', 'r9', word(3)),
    mov32('r5', 'r2'), alu32('mul', 'r5', 5), rotate('r0', 'r5', 7, 'r6'), alu32('mul', 'r0', 9),
    alu32('xor', 'r3', 'r1'), alu32('xor', 'r4', 'r2'), alu32('xor', 'r1', 'r4'), mov32('r5', 'r2'), alu32('lsh', 'r5', 9), alu32('xor', 'r2', 'r3'),
    alu32('xor', 'r3', 'r5'), rotate('r5', 'r4', 11, 'r6'),
    stx('u32', 'r9', word(0), 'r1'), stx('u32', 'r9', word(1), 'r2'), stx('u32', 'r9', word(2), 'r3'), stx('u32', 'r9', word(3), 'r5'), exit(),
  ];
}

/** Copies r7 bytes from r9 to r6 (both move), with r8, and goes on behind itself. The ranges must not overlap. */
const COPY: readonly Item[] = [
  label('copy8'), jump32('jlt', 'r7', 8, 'copy4'), ldx('u64', 'r8', 'r9'), stx('u64', 'r6', 0, 'r8'), alu64('add', 'r9', 8), alu64('add', 'r6', 8),
  alu32('sub', 'r7', 8), goto('copy8'),
  label('copy4'), jump32('jlt', 'r7', 4, 'copy1'), ldx('u32', 'r8', 'r9'), stx('u32', 'r6', 0, 'r8'), alu64('add', 'r9', 4), alu64('add', 'r6', 4),
  alu32('sub', 'r7', 4),
  label('copy1'), jump32('jeq', 'r7', 0, 'copied'), ldx('u8', 'r8', 'r9'), stx('u8', 'r6', 0, 'r8'), alu64('add', 'r9', 1), alu64('add', 'r6', 1),
  alu32('sub', 'r7', 1), goto('copy1'),
  label('copied'),
];

/** The copy of this CPU: `dst` is the first of copies of `size` bytes. Spoils r9 and `size`. */
function ofThisCPU(state: Item, dst: Register, size: Register): readonly Item[] {
  return [state, ldx('u32', 'r9', 'r9', SOURCES_LAYOUT.cpu), alu64('mul', size, 'r9'), alu64('add', dst, size)];
}

/** r1 the map, r2 the key. */
function mapLookup(state: Item): readonly Item[] {
  return [
    ldx('u32', 'r3', 'r1', MAP_LAYOUT.type),
    jump32('jeq', 'r3', U.BPF_MAP_TYPE_ARRAY, 'array'), jump32('jeq', 'r3', U.BPF_MAP_TYPE_HASH, 'hash'),
    jump32('jeq', 'r3', U.BPF_MAP_TYPE_PERCPU_ARRAY, 'percpu'), jump32('jeq', 'r3', U.BPF_MAP_TYPE_LRU_HASH, 'hash'),
    jump32('jeq', 'r3', U.BPF_MAP_TYPE_PERCPU_HASH, 'hash'), jump32('jeq', 'r3', U.BPF_MAP_TYPE_LRU_PERCPU_HASH, 'hash'),
    outside(U.BPF_FUNC_map_lookup_elem),

    label('array'), ldx('u32', 'r4', 'r2'), ldx('u32', 'r5', 'r1', MAP_LAYOUT.maxEntries), jump32('jge', 'r4', 'r5', 'none'),
    ldx('u32', 'r5', 'r1', ARRAY_LAYOUT.elemSize), alu64('mul', 'r4', 'r5'), mov64('r0', 'r1'), alu64('add', 'r0', ARRAY_LAYOUT.value), alu64('add', 'r0', 'r4'),
    exit(),

    label('percpu'), ldx('u32', 'r4', 'r2'), ldx('u32', 'r5', 'r1', MAP_LAYOUT.maxEntries), jump32('jge', 'r4', 'r5', 'none'),
    alu64('lsh', 'r4', 3), alu64('add', 'r4', 'r1'), ldx('u64', 'r0', 'r4', ARRAY_LAYOUT.value), ldx('u32', 'r5', 'r1', ARRAY_LAYOUT.elemSize),
    ofThisCPU(state, 'r0', 'r5'), exit(),

    label('hash'), ldx('u32', 'r3', 'r1', MAP_LAYOUT.keySize), mov32('r4', 'r3'), alu32('and', 'r4', 3), jump32('jne', 'r4', 0, 'out'),
    jhash(), findElement(),
    label('found'), ldx('u32', 'r3', 'r1', HASH_LAYOUT.valueOffset), ldx('u32', 'r4', 'r1', HASH_LAYOUT.kind), jump32('jeq', 'r4', 0, 'plain'),
    jump32('jset', 'r4', HASH_LRU, 'lru'), goto('copies'),
    label('lru'), st('u8', 'r0', LRU_REF, 1), jump32('jset', 'r4', HASH_PER_CPU, 'copies'),
    label('plain'), alu64('add', 'r0', 'r3'), exit(),
    label('copies'), alu64('add', 'r0', 'r3'), ldx('u64', 'r0', 'r0'), ldx('u32', 'r5', 'r1', HASH_LAYOUT.copySize), ofThisCPU(state, 'r0', 'r5'), exit(),
    label('none'), mov64('r0', 0), exit(),
  ];
}

/** Hash of the key at r2, r3 bytes (a multiple of 4), with the seed of map r1, into r6. Spoils r3 to r9. */
function jhash(): readonly Item[] {
  const a = 'r4';
  const b = 'r5';
  const c = 'r6';
  /** `x = (x - y) ^ rotate(y, by)`, `y += z` */
  const mix = (x: Register, y: Register, z: Register, by: number): readonly Item[] =>
    [alu32('sub', x, y), rotate('r8', y, by, 'r9'), alu32('xor', x, 'r8'), alu32('add', y, z)];
  /** `x = (x ^ y) - rotate(y, by)` */
  const finish = (x: Register, y: Register, by: number): readonly Item[] => [alu32('xor', x, y), rotate('r8', y, by, 'r9'), alu32('sub', x, 'r8')];
  const take = (x: Register, off: number): readonly Item[] => [ldx('u32', 'r8', 'r7', off), alu32('add', x, 'r8')];
  return [
    ldx('u32', c, 'r1', HASH_LAYOUT.seed), alu32('add', c, JHASH_INITIAL), alu32('add', c, 'r3'), mov32(a, c), mov32(b, c), mov64('r7', 'r2'),
    label('twelve'), jump32('jle', 'r3', 12, 'rest'), take(a, 0), take(b, 4), take(c, 8),
    mix(a, c, b, 4), mix(b, a, c, 6), mix(c, b, a, 8), mix(a, c, b, 16), mix(b, a, c, 19), mix(c, b, a, 4),
    alu64('add', 'r7', 12), alu32('sub', 'r3', 12), goto('twelve'),
    label('rest'), take(a, 0), jump32('jlt', 'r3', 8, 'last'), take(b, 4), jump32('jlt', 'r3', 12, 'last'), take(c, 8),
    label('last'), finish(c, b, 14), finish(a, c, 11), finish(b, a, 25), finish(c, b, 16), finish(a, c, 4), finish(b, a, 14), finish(c, b, 24),
  ];
}

/** The element of map r1 with the key at r2 and hash r6: to `found` with its address in r0, or `none`, or `out`. Spoils r3 to r9. */
function findElement(): readonly Item[] {
  return [
    ldx('u32', 'r3', 'r1', HASH_LAYOUT.mask), alu32('and', 'r3', 'r6'), alu64('lsh', 'r3', 2), ldx('u64', 'r4', 'r1', HASH_LAYOUT.heads),
    alu64('add', 'r4', 'r3'), ldx('u32', 'r5', 'r4'), mov32('r7', LONGEST_CHAIN),
    label('next'), jump32('jeq', 'r5', 0, 'none'), alu32('sub', 'r7', 1), jump32('jeq', 'r7', 0, 'out'),
    ldImm64Words('r0', 0, 0, KERNEL_HI), alu64('or', 'r0', 'r5'),
    ldx('u32', 'r8', 'r0', ELEMENT_HASH), jump32('jne', 'r8', 'r6', 'skip'),
    ldx('u32', 'r3', 'r1', MAP_LAYOUT.keySize), mov64('r8', 'r0'), mov64('r9', 'r2'),
    label('word'), ldx('u32', 'r4', 'r8', ELEMENT_HEADER), ldx('u32', 'r5', 'r9'), jump32('jne', 'r4', 'r5', 'skip'),
    alu64('add', 'r8', 4), alu64('add', 'r9', 4), alu32('sub', 'r3', 4), jump32('jne', 'r3', 0, 'word'), goto('found'),
    label('skip'), ldx('u32', 'r5', 'r0', ELEMENT_NEXT), goto('next'),
  ];
}

/** r1 the map, r2 the key, r3 the value, r4 flags: for existing elements of arrays whose values have no special fields. */
function mapUpdate(state: Item): readonly Item[] {
  return [
    jump('jeq', 'r4', U.BPF_ANY, 'flags'), jump('jne', 'r4', U.BPF_EXIST, 'out'),
    label('flags'), ldx('u64', 'r6', 'r1', MAP_LAYOUT.record), jump('jne', 'r6', 0, 'out'),
    ldx('u32', 'r8', 'r1', MAP_LAYOUT.type), jump32('jeq', 'r8', U.BPF_MAP_TYPE_ARRAY, 'index'), jump32('jne', 'r8', U.BPF_MAP_TYPE_PERCPU_ARRAY, 'out'),
    label('index'), ldx('u32', 'r6', 'r2'), ldx('u32', 'r7', 'r1', MAP_LAYOUT.maxEntries), jump32('jge', 'r6', 'r7', 'out'),
    ldx('u32', 'r7', 'r1', ARRAY_LAYOUT.elemSize), jump32('jeq', 'r8', U.BPF_MAP_TYPE_PERCPU_ARRAY, 'percpu'),
    alu64('mul', 'r6', 'r7'), alu64('add', 'r6', 'r1'), alu64('add', 'r6', ARRAY_LAYOUT.value), goto('copy'),
    label('percpu'), alu64('lsh', 'r6', 3), alu64('add', 'r6', 'r1'), ldx('u64', 'r6', 'r6', ARRAY_LAYOUT.value), ofThisCPU(state, 'r6', 'r7'),
    // A value that begins shortly before the element would be copied over itself.
    label('copy'), ldx('u32', 'r7', 'r1', MAP_LAYOUT.valueSize), mov64('r9', 'r3'), mov64('r8', 'r6'), alu64('sub', 'r8', 'r9'), jump('jlt', 'r8', 'r7', 'out'),
    COPY, mov64('r0', 0), exit(), outside(U.BPF_FUNC_map_update_elem),
  ];
}

/** r1 the buffer, r2 its size, r3 the address: for addresses of the kernel's memory. */
function kernelRead(state: Item, id: number): readonly Item[] {
  return [
    mov64('r4', 'r3'), alu64('rsh', 'r4', 32), jump32('jne', 'r4', KERNEL_HI, 'out'),
    mov32('r7', 'r2'), mov32('r5', 'r3'), jump32('jlt', 'r5', LOWEST, 'out'), alu64('add', 'r5', 'r7'), state, ldx('u32', 'r6', 'r9', SOURCES_LAYOUT.readable), jump('jgt', 'r5', 'r6', 'out'),
    mov64('r6', 'r1'), mov64('r9', 'r3'), mov64('r8', 'r6'), alu64('sub', 'r8', 'r9'), jump('jlt', 'r8', 'r7', 'out'),
    COPY, mov64('r0', 0), exit(), outside(id),
  ];
}

const BODIES: ReadonlyMap<number, Body> = new Map<number, Body>([
  [U.BPF_FUNC_map_lookup_elem, mapLookup], [U.BPF_FUNC_map_update_elem, mapUpdate],
  [U.BPF_FUNC_ktime_get_ns, clock], [U.BPF_FUNC_ktime_get_boot_ns, clock], [U.BPF_FUNC_ktime_get_coarse_ns, clock],
  [U.BPF_FUNC_get_prandom_u32, random], [U.BPF_FUNC_get_smp_processor_id, processor], [U.BPF_FUNC_get_numa_node_id, () => [mov64('r0', 0), exit()]],
  [U.BPF_FUNC_probe_read_kernel, kernelRead], [U.BPF_FUNC_probe_read, kernelRead],
]);
