/**
 * @module kernel/idr
 * Ids of kernel objects: allocated cyclically from 1 as `idr_alloc_cyclic(idr, obj, 1, INT_MAX)` does, so an id is not reused
 * until the counter wraps. Owns the mapping id → object, not the objects' lifetime.
 */
import { ENOSPC } from '../isa/errno.ts';

const ID_MAX = 0x7fffffff;

/** Ids of one kind of object. */
export class IDR<T> {
  private readonly byID: Map<number, T> = new Map();
  private next = 1;

  /** The new id, or `-ENOSPC` when all are taken. */
  allocate(object: T): number {
    if (this.byID.size >= ID_MAX - 1) return -ENOSPC;
    let id = this.next;
    while (this.byID.has(id)) id = id + 1 >= ID_MAX ? 1 : id + 1;
    this.byID.set(id, object);
    this.next = id + 1 >= ID_MAX ? 1 : id + 1;
    return id;
  }

  find(id: number): T | undefined {
    return this.byID.get(id);
  }

  remove(id: number): void {
    this.byID.delete(id);
  }

  /** Smallest id in use that is at least `from`; 0 if there is none (`idr_get_next`). */
  nextFrom(from: number): number {
    let best = 0;
    for (const id of this.byID.keys()) if (id >= from && (best === 0 || id < best)) best = id;
    return best;
  }

  /** Objects in the order of their ids. */
  values(): T[] {
    return [...this.byID.entries()].sort((a, b) => a[0] - b[0]).map(([, object]) => object);
  }

  get size(): number {
    return this.byID.size;
  }
}
