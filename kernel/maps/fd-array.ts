/**
 * @module kernel/maps/fd-array
 * Arrays whose elements are references to kernel objects: program array, array of maps, perf event array, cgroup array. User
 * space stores descriptors and reads ids; elements hold the object's kernel address. Reproduces kernel/bpf/arraymap.c and
 * map_in_map.c, and the owner rule of `bpf_prog_map_compatible` (kernel/bpf/core.c).
 */
import type { BTF } from '../../btf/btf.ts';
import { E2BIG, EBADF, EINVAL, ENOENT, ENOTSUPP, EOPNOTSUPP } from '../../isa/errno.ts';
import { BPF_PROG_TYPE_EXT } from '../../isa/uapi.ts';
import { ArrayBase, createArray } from './array.ts';
import {
  type BatchOperations, type BPFMap, type ElementFlags, type MapAttributes, type MapHost, type MapProgram, type MapTemplate, NO_BATCH,
  templateOf,
} from './map.ts';

/** Elements are 8-byte pointers behind the struct; `elem_size` is that of the value rounded up: 8. */
abstract class FDArrayMap extends ArrayBase {
  constructor(host: MapHost, attr: MapAttributes) {
    super(host, attr, 8, 8);
  }

  override get holdsFDs(): boolean {
    return true;
  }

  override get batchOperations(): BatchOperations {
    return NO_BATCH;
  }

  override lookup(_key: number): number {
    return -EOPNOTSUPP;
  }

  protected setElement(index: number, target: number): void {
    this.host.memory.space.setPointer(this.values + index * 8, target);
  }
}

/** What the first program that touches a program array fixes for all others (`bpf_map_owner`). */
export interface ProgramOwner {
  readonly type: number;
  readonly jited: boolean;
  readonly xdpHasFrags: boolean;
  readonly sleepable: boolean;
  readonly expectedAttachType: number;
}

/** `__bpf_prog_map_compatible`: true where the program may use, or be in, the map; the first one becomes the owner. */
export function isProgramCompatible(map: { owner: ProgramOwner | undefined }, program: MapProgram, comparesAttachType: boolean): boolean {
  const owner = map.owner;
  if (owner === undefined) {
    map.owner = {
      type: program.type, jited: program.jited, xdpHasFrags: program.xdpHasFrags, sleepable: program.sleepable,
      expectedAttachType: program.expectedAttachType,
    };
    return true;
  }
  if (owner.type !== program.type || owner.jited !== program.jited) return false;
  if (owner.xdpHasFrags !== program.xdpHasFrags || owner.sleepable !== program.sleepable) return false;
  return !comparesAttachType || owner.expectedAttachType === program.expectedAttachType;
}

export class ProgArrayMap extends FDArrayMap {
  owner: ProgramOwner | undefined = undefined;
  private readonly programs: Map<number, MapProgram> = new Map();

  static create(host: MapHost, attr: MapAttributes): ProgArrayMap | number {
    return createArray(() => new ProgArrayMap(host, attr));
  }

  /** The program at `index`, for tail calls. */
  programAt(index: number): MapProgram | undefined {
    return this.programs.get(index);
  }

  override get hasBTFCheck(): boolean {
    return false;
  }

  override checkBTF(): number {
    return 0;
  }

  override get canBeInner(): boolean {
    return false;
  }

  override copyValue(key: number, out: number): number {
    const program = this.programs.get(this.index(key));
    if (program === undefined) return -ENOENT;
    this.host.memory.view.setUint32(out, program.id, true);
    return 0;
  }

  override updateFromSystemCall(key: number, value: number, flags: ElementFlags): number {
    if (flags.lo !== 0 || flags.hi !== 0) return -EINVAL;
    const index = this.index(key);
    if (index >= this.maxEntries) return -E2BIG;
    const program = this.host.programByFD(this.host.memory.view.getUint32(value, true));
    if (typeof program === 'number') return program;
    if (program.type === BPF_PROG_TYPE_EXT || !isProgramCompatible(this, program, true)) return -EINVAL;
    program.get();
    this.put(index, program);
    return 0;
  }

  override remove(key: number): number {
    const index = this.index(key);
    if (index >= this.maxEntries) return -E2BIG;
    if (!this.programs.has(index)) return -ENOENT;
    this.put(index, undefined);
    return 0;
  }

  /** All elements go when the last descriptor does, so that programs in it cannot keep their own array alive. */
  override releaseUserReference(): void {
    for (const index of this.programs.keys()) this.put(index, undefined);
  }

  protected override freeElements(): void {
    this.releaseUserReference();
  }

  private put(index: number, program: MapProgram | undefined): void {
    const old = this.programs.get(index);
    if (program === undefined) this.programs.delete(index);
    else this.programs.set(index, program);
    this.setElement(index, program?.address ?? 0);
    old?.put();
  }
}

/** `bpf_map_meta_alloc`: the template of an inner map behind a descriptor, or `-errno`. */
export function innerTemplate(host: MapHost, fd: number): MapTemplate | number {
  const inner = host.mapByFD(fd);
  if (typeof inner === 'number') return inner;
  if (inner.innerMap !== undefined) return -EINVAL;
  if (inner.exclusiveDigest !== undefined || !inner.canBeInner) return -ENOTSUPP;
  return templateOf(inner);
}

/** `bpf_map_fd_get_ptr`: an inner map that fits the template, with a reference; or `-errno`. */
export function innerByFD(outer: BPFMap, fd: number): BPFMap | number {
  const inner = outer.host.mapByFD(fd);
  if (typeof inner === 'number') return inner;
  if (inner.exclusiveDigest !== undefined) return -ENOTSUPP;
  if (outer.innerMap === undefined || inner.type !== outer.innerMap.type || !inner.metaEquals(outer.innerMap)) return -EINVAL;
  inner.references++;
  return inner;
}

export class ArrayOfMaps extends FDArrayMap {
  private readonly maps: Map<number, BPFMap> = new Map();

  static create(host: MapHost, attr: MapAttributes): ArrayOfMaps | number {
    const template = innerTemplate(host, attr.innerMapFD);
    if (typeof template === 'number') return template;
    const map = createArray(() => new ArrayOfMaps(host, attr));
    if (typeof map !== 'number') map.innerMap = template;
    return map;
  }

  override checkBTF(): number {
    return -ENOTSUPP;
  }

  override get canBeInner(): boolean {
    return false;
  }

  override get batchOperations(): BatchOperations {
    return { lookup: 'generic', lookupAndDelete: undefined, update: true, delete: false };
  }

  override lookup(key: number): number {
    return this.maps.get(this.index(key))?.address ?? 0;
  }

  override copyValue(key: number, out: number): number {
    const inner = this.maps.get(this.index(key));
    if (inner === undefined) return -ENOENT;
    this.host.memory.view.setUint32(out, inner.id, true);
    return 0;
  }

  override updateFromSystemCall(key: number, value: number, flags: ElementFlags): number {
    if (flags.lo !== 0 || flags.hi !== 0) return -EINVAL;
    const index = this.index(key);
    if (index >= this.maxEntries) return -E2BIG;
    const inner = innerByFD(this, this.host.memory.view.getUint32(value, true));
    if (typeof inner === 'number') return inner;
    this.put(index, inner);
    return 0;
  }

  override remove(key: number): number {
    const index = this.index(key);
    if (index >= this.maxEntries) return -E2BIG;
    if (!this.maps.has(index)) return -ENOENT;
    this.put(index, undefined);
    return 0;
  }

  protected override freeElements(): void {
    for (const index of this.maps.keys()) this.put(index, undefined);
  }

  private put(index: number, inner: BPFMap | undefined): void {
    const old = this.maps.get(index);
    if (inner === undefined) this.maps.delete(index);
    else this.maps.set(index, inner);
    this.setElement(index, inner?.address ?? 0);
    if (old !== undefined) this.host.putMap(old);
  }
}

/**
 * Perf event and cgroup arrays: the instance has no perf events and no cgroup directories to open, so an update is refused as for
 * a descriptor of another kind; all elements stay empty.
 */
export class ForeignFDArrayMap extends FDArrayMap {
  static create(host: MapHost, attr: MapAttributes): ForeignFDArrayMap | number {
    return createArray(() => new ForeignFDArrayMap(host, attr));
  }

  override checkBTF(_btf: BTF, _keyType: number, _valueType: number): number {
    return -ENOTSUPP;
  }

  /** Neither kind shows its elements to user space (`map_fd_sys_lookup_elem`). */
  override copyValue(): number {
    return -ENOTSUPP;
  }

  override updateFromSystemCall(key: number, value: number, flags: ElementFlags): number {
    if (flags.lo !== 0 || flags.hi !== 0) return -EINVAL;
    if (this.index(key) >= this.maxEntries) return -E2BIG;
    return this.host.hasFD(this.host.memory.view.getUint32(value, true)) ? -EINVAL : -EBADF;
  }

  override remove(key: number): number {
    return this.index(key) >= this.maxEntries ? -E2BIG : -ENOENT;
  }
}
