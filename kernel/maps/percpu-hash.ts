/**
 * @module kernel/maps/percpu-hash
 * `BPF_MAP_TYPE_PERCPU_HASH`, and what it shares with its LRU kind: an element points to one copy of the value for each CPU.
 * Reproduces the `percpu` part of kernel/bpf/hashtab.c.
 */
import { E2BIG, EINVAL, ENOMEM } from '../../isa/errno.ts';
import { BPF_EXIST, BPF_F_ALL_CPUS, BPF_F_CPU, BPF_F_LOCK } from '../../isa/uapi.ts';
import { HASH_PER_CPU } from './hash-index.ts';
import { HashBase } from './hashtab.ts';
import { type ElementFlags, type MapAttributes, type MapHost, roundUp8 } from './map.ts';

/** Values by CPU behind a pointer in the element; updated in place. */
export abstract class PerCPUHashBase extends HashBase {
  /** Bytes of one CPU's copy. */
  protected readonly copySize: number;

  constructor(host: MapHost, attr: MapAttributes) {
    super(host, attr, 8);
    this.copySize = roundUp8(attr.valueSize);
    this.index.setKind(HASH_PER_CPU, this.copySize);
  }

  override get isPerCPU(): boolean {
    return true;
  }

  protected override initElement(element: number): boolean {
    const copies = this.host.memory.tryAlloc(this.copySize * this.host.cpus, `per-CPU values of ${this.name}`);
    if (copies === 0) return false;
    this.host.memory.space.setPointer(element + this.valueOffset, copies);
    return true;
  }

  protected override freeElementMemory(element: number): void {
    this.host.memory.free(this.copies(element));
  }

  private copies(element: number): number {
    return this.host.memory.view.getUint32(element + this.valueOffset, true);
  }

  protected override forEachCopy(element: number, visit: (value: number) => void): void {
    for (let cpu = 0; cpu < this.host.cpus; cpu++) visit(this.valueFor(element, cpu));
  }

  protected override valueFor(element: number, cpu: number): number {
    return this.copies(element) + cpu * this.copySize;
  }

  override lookupPerCPU(key: number, cpu: number): number {
    if (cpu >= this.host.cpus) return 0;
    const element = this.find(key);
    return element === 0 ? 0 : this.valueFor(element, cpu);
  }

  override copyElement(element: number, out: number, flags: ElementFlags): void {
    if ((flags.lo & BPF_F_CPU) !== 0) {
      this.copyOut(this.valueFor(element, flags.hi >>> 0), out);
      return;
    }
    for (let cpu = 0; cpu < this.host.cpus; cpu++) this.copyOut(this.valueFor(element, cpu), out + cpu * this.copySize);
  }

  /** `htab_map_check_update_flags` */
  protected checkUpdateFlags(flags: ElementFlags, isFromUser: boolean): number {
    if (isFromUser) return (flags.lo & BPF_F_LOCK) !== 0 || flags.lo >>> 0 > BPF_F_ALL_CPUS ? -EINVAL : 0;
    return flags.lo >>> 0 > BPF_EXIST || flags.hi !== 0 ? -EINVAL : 0;
  }

  /** `pcpu_copy_value` */
  protected overwrite(element: number, value: number, flags: ElementFlags, isFromUser: boolean): void {
    if (!isFromUser) {
      this.copyIn(value, this.valueFor(element, this.host.currentCPU));
      return;
    }
    if ((flags.lo & BPF_F_CPU) !== 0) {
      this.copyIn(value, this.valueFor(element, flags.hi >>> 0));
      return;
    }
    const isSame = (flags.lo & BPF_F_ALL_CPUS) !== 0;
    for (let cpu = 0; cpu < this.host.cpus; cpu++) {
      this.copyIn(isSame ? value : value + cpu * this.copySize, this.valueFor(element, cpu));
    }
  }

  /** `pcpu_init_value`: copies of other CPUs begin as zeros. */
  protected initialise(element: number, value: number, flags: ElementFlags, isFromUser: boolean): void {
    if (isFromUser && (flags.lo & BPF_F_CPU) === 0) {
      this.overwrite(element, value, flags, true);
      return;
    }
    const chosen = (flags.lo & BPF_F_CPU) !== 0 ? flags.hi >>> 0 : this.host.currentCPU;
    for (let cpu = 0; cpu < this.host.cpus; cpu++) {
      if (cpu === chosen) this.copyIn(value, this.valueFor(element, cpu));
      else this.zeroValue(this.valueFor(element, cpu));
    }
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    return this.store(key, value, flags, false);
  }

  override updateFromSystemCall(key: number, value: number, flags: ElementFlags): number {
    return this.store(key, value, flags, true);
  }

  protected abstract store(key: number, value: number, flags: ElementFlags, isFromUser: boolean): number;
}

/** `BPF_MAP_TYPE_PERCPU_HASH` */
export class PerCPUHashMap extends PerCPUHashBase {
  static create(host: MapHost, attr: MapAttributes): PerCPUHashMap | number {
    const bad = HashBase.checkSize(host, attr, 8 + roundUp8(attr.valueSize) * host.cpus);
    return bad !== 0 ? bad : new PerCPUHashMap(host, attr);
  }

  /** `htab_map_update_elem_in_place` */
  protected override store(key: number, value: number, flags: ElementFlags, isFromUser: boolean): number {
    const badFlags = this.checkUpdateFlags(flags, isFromUser);
    if (badFlags !== 0) return badFlags;
    const hash = this.hash(key);
    const old = this.findHashed(key, hash);
    const bad = flags.hi === 0 ? this.checkExistence(old, flags.lo) : 0;
    if (bad !== 0) return bad;
    if (old !== 0) {
      this.overwrite(old, value, flags, isFromUser);
      return 0;
    }
    if (this.count >= this.maxEntries) return -E2BIG;
    const element = this.takeElement();
    if (element === 0) return -ENOMEM;
    this.initialise(element, value, flags, isFromUser);
    this.link(element, key, hash);
    return 0;
  }

  override drop(element: number): void {
    this.unlink(element);
    this.giveBack(element);
  }
}
