/**
 * @module kernel/maps/queue-stack
 * `BPF_MAP_TYPE_QUEUE` and `BPF_MAP_TYPE_STACK`: values without keys. Reproduces kernel/bpf/queue_stack_maps.c.
 */
import { E2BIG, EINVAL, ENOENT, ENOMEM } from '../../isa/errno.ts';
import { BPF_EXIST, BPF_F_NUMA_NODE, BPF_MAP_TYPE_QUEUE, BPF_NOEXIST } from '../../isa/uapi.ts';
import { ACCESS_MASK, accessFlagsOK, BPFMap, type ElementFlags, KMALLOC_MAX_SIZE, MAP_LAYOUT, type MapAttributes, type MapHost } from './map.ts';

const CREATE_FLAGS = BPF_F_NUMA_NODE | ACCESS_MASK;

/** `queue_stack_map_alloc_check` */
export function checkQueueStack(attr: MapAttributes): number {
  if (attr.maxEntries === 0 || attr.keySize !== 0 || attr.valueSize === 0) return -EINVAL;
  if ((attr.flags & ~CREATE_FLAGS) !== 0 || !accessFlagsOK(attr.flags)) return -EINVAL;
  return attr.valueSize > KMALLOC_MAX_SIZE ? -E2BIG : 0;
}

export class QueueStackMap extends BPFMap {
  private readonly values: number;
  private readonly isQueue: boolean;
  private tail = 0;
  private count = 0;

  static create(host: MapHost, attr: MapAttributes): QueueStackMap | number {
    const bytes = (attr.maxEntries + 1) * attr.valueSize;
    if (bytes > host.memoryLimit) return -ENOMEM;
    const values = host.memory.tryAlloc(bytes, `values of ${attr.name}`);
    return values === 0 ? -ENOMEM : new QueueStackMap(host, attr, values);
  }

  private constructor(host: MapHost, attr: MapAttributes, values: number) {
    super(host, attr, MAP_LAYOUT.size);
    this.values = values;
    this.isQueue = attr.type === BPF_MAP_TYPE_QUEUE;
  }

  protected override freeElements(): void {
    this.host.memory.free(this.values);
  }

  /** Place of the element that the next `pop` gives: the oldest of a queue, the youngest of a stack. */
  private nextOut(): number {
    const index = this.isQueue ? this.tail : this.tail + this.count - 1;
    return this.values + (index % this.maxEntries) * this.valueSize;
  }

  override push(value: number, flags: ElementFlags): number {
    const isReplacing = (flags.lo & BPF_EXIST) !== 0;
    if ((flags.lo & BPF_NOEXIST) !== 0 || flags.lo >>> 0 > BPF_EXIST || flags.hi !== 0) return -EINVAL;
    if (this.count === this.maxEntries) {
      if (!isReplacing) return -E2BIG;
      this.tail = (this.tail + 1) % this.maxEntries;
      this.count--;
    }
    const at = this.values + ((this.tail + this.count) % this.maxEntries) * this.valueSize;
    this.host.memory.u8.copyWithin(at, value, value + this.valueSize);
    this.count++;
    return 0;
  }

  override pop(out: number): number {
    const error = this.peek(out);
    if (error !== 0) return error;
    if (this.isQueue) this.tail = (this.tail + 1) % this.maxEntries;
    this.count--;
    return 0;
  }

  override peek(out: number): number {
    if (this.count === 0) {
      this.host.memory.u8.fill(0, out, out + this.valueSize);
      return -ENOENT;
    }
    const at = this.nextOut();
    this.host.memory.u8.copyWithin(out, at, at + this.valueSize);
    return 0;
  }

  override lookup(): number {
    return 0;
  }

  override update(): number {
    return -EINVAL;
  }

  override updateFromSystemCall(_key: number, value: number, flags: ElementFlags): number {
    return this.push(value, flags);
  }

  override remove(): number {
    return -EINVAL;
  }

  override nextKey(): number {
    return -EINVAL;
  }

  override copyValue(_key: number, out: number): number {
    return this.peek(out);
  }
}
