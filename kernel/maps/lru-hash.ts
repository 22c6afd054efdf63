/**
 * @module kernel/maps/lru-hash
 * `BPF_MAP_TYPE_LRU_HASH` and `BPF_MAP_TYPE_LRU_PERCPU_HASH`: a full map gives up an element that was not used lately. Reproduces the
 * LRU part of kernel/bpf/hashtab.c; which element it is decides `lru.ts`.
 */
import { EINVAL, ENOMEM } from '../../isa/errno.ts';
import { BPF_EXIST, BPF_F_NO_COMMON_LRU } from '../../isa/uapi.ts';
import { HASH_LRU, HASH_PER_CPU } from './hash-index.ts';
import { HashBase, LRU_REF } from './hashtab.ts';
import { LRU } from './lru.ts';
import { type ElementFlags, type MapAttributes, type MapHost, roundUp8 } from './map.ts';
import { PerCPUHashBase } from './percpu-hash.ts';

/** `BPF_MAP_TYPE_LRU_HASH` */
export class LRUHashMap extends HashBase {
  private readonly lru: LRU;

  static create(host: MapHost, attr: MapAttributes): LRUHashMap | number {
    const bad = HashBase.checkSize(host, attr, roundUp8(attr.valueSize));
    return bad !== 0 ? bad : new LRUHashMap(host, attr);
  }

  constructor(host: MapHost, attr: MapAttributes) {
    super(host, attr, roundUp8(attr.valueSize));
    this.lru = new LRU(this.maxEntries, host.cpus, (attr.flags & BPF_F_NO_COMMON_LRU) !== 0, refBits(host), () => this.takeElement(), (element) => this.unlink(element));
    this.index.setKind(HASH_LRU, 0);
  }

  override lookup(key: number): number {
    const element = this.find(key);
    if (element === 0) return 0;
    this.host.memory.view.setUint8(element + LRU_REF, 1);
    return element + this.valueOffset;
  }

  override lookupForSystemCall(key: number): number {
    const element = this.find(key);
    return element === 0 ? 0 : element + this.valueOffset;
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    if (flags.lo >>> 0 > BPF_EXIST || flags.hi !== 0) return -EINVAL;
    const hash = this.hash(key);
    const element = this.lru.pop(this.host.currentCPU, hash);
    if (element === 0) return -ENOMEM;
    this.copyIn(value, element + this.valueOffset);
    const old = this.findHashed(key, hash);
    const bad = this.checkExistence(old, flags.lo);
    if (bad !== 0) {
      this.lru.push(element);
      return bad;
    }
    if (old !== 0) this.host.memory.view.setUint8(element + LRU_REF, 1);
    this.link(element, key, hash);
    if (old !== 0) this.drop(old);
    return 0;
  }

  override drop(element: number): void {
    this.unlink(element);
    this.forEachCopy(element, (value) => this.cancelFields(value));
    this.lru.push(element);
  }

  override copyElement(element: number, out: number): void {
    this.copyOut(element + this.valueOffset, out);
  }
}

/** The reference bit of `struct bpf_lru_node` inside an element. */
function refBits(host: MapHost): { get(element: number): boolean; set(element: number, value: boolean): void } {
  return {
    get: (element) => host.memory.view.getUint8(element + LRU_REF) !== 0,
    set: (element, value) => host.memory.view.setUint8(element + LRU_REF, value ? 1 : 0),
  };
}

/** `BPF_MAP_TYPE_LRU_PERCPU_HASH` */
export class LRUPerCPUHashMap extends PerCPUHashBase {
  private readonly lru: LRU;

  static create(host: MapHost, attr: MapAttributes): LRUPerCPUHashMap | number {
    const bad = HashBase.checkSize(host, attr, 8 + roundUp8(attr.valueSize) * host.cpus);
    return bad !== 0 ? bad : new LRUPerCPUHashMap(host, attr);
  }

  constructor(host: MapHost, attr: MapAttributes) {
    super(host, attr);
    this.lru = new LRU(this.maxEntries, host.cpus, (attr.flags & BPF_F_NO_COMMON_LRU) !== 0, refBits(host), () => this.takeElement(), (element) => this.unlink(element));
    this.index.setKind(HASH_LRU | HASH_PER_CPU, this.copySize);
  }

  override lookup(key: number): number {
    const element = this.find(key);
    if (element === 0) return 0;
    this.host.memory.view.setUint8(element + LRU_REF, 1);
    return this.valueFor(element, this.host.currentCPU);
  }

  override lookupForSystemCall(key: number): number {
    const element = this.find(key);
    return element === 0 ? 0 : this.valueFor(element, this.host.currentCPU);
  }

  /** `__htab_lru_percpu_map_update_elem` */
  protected override store(key: number, value: number, flags: ElementFlags, isFromUser: boolean): number {
    const badFlags = this.checkUpdateFlags(flags, isFromUser);
    if (badFlags !== 0) return badFlags;
    const hash = this.hash(key);
    let element = 0;
    if (flags.lo !== BPF_EXIST || flags.hi !== 0) {
      element = this.lru.pop(this.host.currentCPU, hash);
      if (element === 0) return -ENOMEM;
    }
    const old = this.findHashed(key, hash);
    const bad = flags.hi === 0 ? this.checkExistence(old, flags.lo) : 0;
    if (bad === 0 && old !== 0) {
      this.host.memory.view.setUint8(old + LRU_REF, 1);
      this.overwrite(old, value, flags, isFromUser);
    } else if (bad === 0) {
      this.initialise(element, value, flags, isFromUser);
      this.link(element, key, hash);
      return 0;
    }
    if (element !== 0) this.lru.push(element);
    return bad;
  }

  override drop(element: number): void {
    this.unlink(element);
    this.forEachCopy(element, (value) => this.cancelFields(value));
    this.lru.push(element);
  }
}
