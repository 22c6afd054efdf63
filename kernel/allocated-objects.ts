/**
 * @module kernel/allocated-objects
 * Objects that programs allocate (`bpf_obj_new`): their memory, their special fields from birth to end, and what becomes of objects that a
 * map value or another object owns. Reproduces `bpf_obj_new`, `bpf_obj_drop`, `bpf_refcount_acquire` and the frees of list heads and tree
 * roots of kernel/bpf/helpers.c, `bpf_obj_free_fields` of syscall.c. Does not own lists and trees themselves (`helpers/kfuncs-graph.ts`,
 * `rbtree.ts`).
 */
import type { BTF } from '../btf/btf.ts';
import {
  BPF_GRAPH_ROOT, BPF_KPTR, BPF_KPTR_PERCPU, BPF_KPTR_UNREF, BPF_LIST_HEAD, BPF_LIST_NODE, BPF_RB_NODE, BPF_RB_ROOT, BPF_REFCOUNT, type Field, type FieldRecord,
  structRecord,
} from '../btf/record.ts';
import type { KernelMemory } from './memory.ts';
import { RBTree } from './rbtree.ts';

/** Largest object of `bpf_mem_alloc`, which keeps 8 bytes before it. */
const MAX_OBJECT = 4096 - 8;
/** Bytes of `struct bpf_list_node` and `struct bpf_rb_node` before their owner. */
export const LIST_OWNER = 16;
export const RB_OWNER = 24;
const NEXT = 0, PREVIOUS = 8;

interface Allocated {
  readonly record: FieldRecord | undefined;
  /** Bytes from one CPU's copy to the next; 0 for objects of which there is one. */
  readonly stride: number;
}

/** The allocated objects of one kernel. */
export class AllocatedObjects {
  private readonly memory: KernelMemory;
  private readonly cpus: number;
  private readonly objects: Map<number, Allocated> = new Map();
  /** Objects that ended while programs run, which may still look at them (`bpf_mem_free_rcu`). */
  private readonly dying: number[] = [];
  private runs = 0;

  constructor(memory: KernelMemory, cpus: number) {
    this.memory = memory;
    this.cpus = cpus;
  }

  /** A program begins: what ends now stays readable until {@link leave}. */
  enter(): void {
    this.runs++;
  }

  leave(): void {
    if (--this.runs === 0) for (const object of this.dying.splice(0)) this.memory.free(object);
  }

  /** A new object of a struct of the program's types; 0 where there is no memory. */
  create(btf: BTF, typeID: number, isPerCPU: boolean): number {
    const size = btf.size(typeID), stride = isPerCPU ? Math.ceil(size / 8) * 8 : 0;
    const object = size === 0 || size > MAX_OBJECT ? 0 : this.memory.tryAlloc(isPerCPU ? stride * this.cpus : size, 'allocated object');
    if (object === 0) return 0;
    const record = isPerCPU ? undefined : structRecord(btf, typeID);
    this.objects.set(object, { record, stride });
    for (const field of record?.fields ?? []) this.initialise(object + field.offset, field.type);
    return object;
  }

  /** The object that an address lies in, 0 for none. */
  containing(address: number): number {
    const object = this.memory.space.allocationAt(address)?.offset ?? 0;
    return this.objects.has(object) ? object : 0;
  }

  /** Address of a CPU's copy of a per-CPU object; `undefined` for all other addresses. */
  copyOf(address: number, cpu: number): number | undefined {
    const stride = this.objects.get(address)?.stride ?? 0;
    return stride === 0 ? undefined : address + cpu * stride;
  }

  /** One more owner. False for an object without owners. */
  acquire(object: number): boolean {
    const count = this.referenceCount(object);
    if (count === undefined) return false;
    const owners = this.memory.view.getInt32(count, true);
    if (owners !== 0) this.memory.view.setInt32(count, owners + 1, true);
    return owners !== 0;
  }

  /** One owner less; the last one ends the object and what it owns. */
  drop(object: number): void {
    const allocated = this.objects.get(object);
    if (allocated === undefined) return;
    const count = this.referenceCount(object), { view } = this.memory;
    if (count !== undefined) {
      const owners = view.getInt32(count, true) - 1;
      view.setInt32(count, owners, true);
      if (owners !== 0) return;
    }
    this.objects.delete(object);
    if (allocated.record !== undefined) this.freeFields(allocated.record, object);
    if (this.runs > 0) this.dying.push(object);
    else this.memory.free(object);
  }

  /** Ends what the special fields of a value own (`bpf_obj_free_fields`). */
  freeFields(record: FieldRecord, value: number): void {
    if ((record.fieldMask & (BPF_KPTR | BPF_GRAPH_ROOT)) === 0) return;
    for (const field of record.fields) {
      const at = value + field.offset;
      if ((field.type & BPF_KPTR) !== 0) this.freePointer(field, at);
      else if (field.type === BPF_LIST_HEAD) this.freeList(field, at);
      else if (field.type === BPF_RB_ROOT) this.freeTree(field, at);
    }
  }

  private referenceCount(object: number): number | undefined {
    const offset = this.objects.get(object)?.record?.refcountOffset ?? -1;
    return offset < 0 ? undefined : object + offset;
  }

  private initialise(at: number, type: number): void {
    const { space, view } = this.memory;
    if (type === BPF_REFCOUNT) view.setInt32(at, 1, true);
    else if (type === BPF_RB_NODE) space.setPointer(at, at);
    else if (type === BPF_LIST_HEAD || type === BPF_LIST_NODE) {
      space.setPointer(at + NEXT, at);
      space.setPointer(at + PREVIOUS, at);
    }
  }

  private freePointer(field: Field, at: number): void {
    const { space, view } = this.memory, target = view.getUint32(at, true);
    space.setPointer(at, 0);
    // Objects of the kernel itself are of no concern: no function of the instance hands them out to be owned.
    if (target !== 0 && field.type !== BPF_KPTR_UNREF && (field.type === BPF_KPTR_PERCPU || field.pointer?.btf.isKernel !== true)) this.drop(target);
  }

  private freeList(field: Field, head: number): void {
    const { space, view } = this.memory, nodes: number[] = [];
    for (let node = view.getUint32(head, true); node !== 0 && node !== head; node = view.getUint32(node, true)) nodes.push(node);
    space.setPointer(head + NEXT, head);
    space.setPointer(head + PREVIOUS, head);
    for (const node of nodes) this.freeNode(field, node, LIST_OWNER);
  }

  private freeTree(field: Field, root: number): void {
    const nodes = new RBTree(this.memory.space, root).postorder();
    this.memory.u8.fill(0, root, root + 16);
    for (const node of nodes) this.freeNode(field, node, RB_OWNER);
  }

  private freeNode(field: Field, node: number, owner: number): void {
    this.memory.space.setPointer(node + owner, 0);
    this.drop(node - (field.root?.nodeOffset ?? 0));
  }
}
