/**
 * @module kernel/idr
 * Ids of kernel objects: allocated cyclically from 1 as `idr_alloc_cyclic(idr, obj, 1, INT_MAX)` does, so an id is not reused
 * until the counter wraps. Owns the mapping id → object, not the objects' lifetime.
 */
import { ENOSPC } from '../isa/errno.ts';

const ID_MAX = 0x7fffffff;

/**
 * Ids of one kind of object, ascending, with their objects beside them. Arrays rather than a `Map`: one that objects enter and leave all the time
 * makes itself anew every few times, and what it leaves to the garbage collector keeps the next one, and what that holds, alive.
 */
export class IDR<T> {
  private readonly ids: number[] = [];
  private readonly objects: T[] = [];
  private next = 1;

  /** The new id, or `-ENOSPC` when all are taken. */
  allocate(object: T): number {
    const { ids, objects } = this;
    if (ids.length >= ID_MAX - 1) return -ENOSPC;
    let id = this.next;
    let at = this.placeOf(id);
    while (ids[at] === id) {
      id = id + 1 >= ID_MAX ? 1 : id + 1;
      at = id === 1 ? 0 : at + 1;
    }
    if (at === ids.length) {
      ids.push(id);
      objects.push(object);
    } else {
      ids.splice(at, 0, id);
      objects.splice(at, 0, object);
    }
    this.next = id + 1 >= ID_MAX ? 1 : id + 1;
    return id;
  }

  find(id: number): T | undefined {
    const at = this.placeOf(id);
    return this.ids[at] === id ? this.objects[at] : undefined;
  }

  remove(id: number): void {
    const { ids, objects } = this;
    const at = this.placeOf(id);
    if (ids[at] !== id) return;
    if (at === ids.length - 1) {
      ids.pop();
      objects.pop();
    } else {
      ids.splice(at, 1);
      objects.splice(at, 1);
    }
  }

  /** Smallest id in use that is at least `from`; 0 if there is none (`idr_get_next`). */
  nextFrom(from: number): number {
    return this.ids[this.placeOf(from)] ?? 0;
  }

  /** Objects in the order of their ids. */
  values(): T[] {
    return this.objects.slice();
  }

  get size(): number {
    return this.ids.length;
  }

  /** Index of the first id that is at least `id`. */
  private placeOf(id: number): number {
    const { ids } = this;
    let low = 0, high = ids.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ids[middle]! < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
