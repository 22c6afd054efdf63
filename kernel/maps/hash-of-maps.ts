/**
 * @module kernel/maps/hash-of-maps
 * `BPF_MAP_TYPE_HASH_OF_MAPS`: a hash whose values are references to inner maps. Reproduces the `fd_htab` part of
 * kernel/bpf/hashtab.c.
 */
import { E2BIG, EINVAL, ENOENT, ENOMEM, ENOTSUPP } from '../../isa/errno.ts';
import { BPF_EXIST } from '../../isa/uapi.ts';
import { innerByFD, innerTemplate } from './fd-array.ts';
import { checkHash, HashBase } from './hashtab.ts';
import type { BPFMap, ElementFlags, MapAttributes, MapHost } from './map.ts';

/** `fd_htab_map_alloc_check` */
export function checkHashOfMaps(attr: MapAttributes, host: MapHost): number {
  return attr.valueSize !== 4 ? -EINVAL : checkHash(attr, host);
}

export class HashOfMaps extends HashBase {
  static create(host: MapHost, attr: MapAttributes): HashOfMaps | number {
    const template = innerTemplate(host, attr.innerMapFD);
    if (typeof template === 'number') return template;
    const bad = HashBase.checkSize(host, attr, 8);
    if (bad !== 0) return bad;
    const map = new HashOfMaps(host, attr, 8);
    map.innerMap = template;
    return map;
  }

  override checkBTF(): number {
    return -ENOTSUPP;
  }

  override get canBeInner(): boolean {
    return false;
  }

  override get holdsFDs(): boolean {
    return true;
  }

  private innerAt(element: number): BPFMap | undefined {
    return this.host.mapAt(this.host.memory.view.getUint32(element + this.valueOffset, true));
  }

  override lookup(key: number): number {
    const element = this.find(key);
    return element === 0 ? 0 : this.host.memory.view.getUint32(element + this.valueOffset, true);
  }

  override copyElement(element: number, out: number): void {
    this.host.memory.view.setUint32(out, this.innerAt(element)?.id ?? 0, true);
  }

  /** A program cannot store a map. */
  override update(_key: number, _value: number, _flags: ElementFlags): number {
    return -ENOTSUPP;
  }

  /** `bpf_fd_htab_map_update_elem` */
  override updateFromSystemCall(key: number, value: number, flags: ElementFlags): number {
    const inner = innerByFD(this, this.host.memory.view.getInt32(value, true));
    if (typeof inner === 'number') return inner;
    const error = this.place(key, inner, flags);
    if (error !== 0) this.host.putMap(inner);
    return error;
  }

  private place(key: number, inner: BPFMap, flags: ElementFlags): number {
    if (flags.lo >>> 0 > BPF_EXIST || flags.hi !== 0) return -EINVAL;
    const hash = this.hash(key);
    const old = this.findHashed(key, hash);
    const bad = this.checkExistence(old, flags.lo);
    if (bad !== 0) return bad;
    if (old !== 0) {
      const previous = this.innerAt(old);
      this.host.memory.space.setPointer(old + this.valueOffset, inner.address);
      if (previous !== undefined) this.host.putMap(previous);
      return 0;
    }
    if (this.count >= this.maxEntries) return -E2BIG;
    const element = this.takeElement();
    if (element === 0) return -ENOMEM;
    this.host.memory.space.setPointer(element + this.valueOffset, inner.address);
    this.link(element, key, hash);
    return 0;
  }

  override drop(element: number): void {
    const inner = this.innerAt(element);
    this.unlink(element);
    this.giveBack(element);
    if (inner !== undefined) this.host.putMap(inner);
  }

  override lookupAndDelete(_key: number, _out: number, _flags: ElementFlags): number {
    return -ENOTSUPP;
  }

  override copyValue(key: number, out: number): number {
    const element = this.find(key);
    if (element === 0) return -ENOENT;
    this.copyElement(element, out);
    return 0;
  }

  protected override freeElements(): void {
    for (let bucket = this.nextBucket(0); bucket < this.bucketCount; bucket = this.nextBucket(bucket + 1)) {
      for (const element of this.bucket(bucket).slice()) this.drop(element);
    }
    super.freeElements();
  }
}
