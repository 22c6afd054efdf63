/**
 * @module kernel/maps/lru
 * Which element of an LRU hash is given up: one active and one inactive list that turn slowly, a free list, and in front of them
 * a small pool by CPU (or, with `BPF_F_NO_COMMON_LRU`, lists by CPU and no pool). Owns the lists; the hash owns the elements.
 * Reproduces kernel/bpf/bpf_lru_list.c, whose constants decide how many elements one refill takes back.
 */

const LOCAL_FREE_TARGET = 128;
const PERCPU_FREE_TARGET = 4;

type ListName = 'active' | 'inactive' | 'free' | 'local-free' | 'pending';

/** An element in one of the lists; the two neighbours are of the same list. */
interface Node {
  readonly element: number;
  list: ListName;
  cpu: number;
  previous: Node | undefined;
  next: Node | undefined;
}

/** A doubly linked list: `first` is the youngest. */
class NodeList {
  first: Node | undefined = undefined;
  last: Node | undefined = undefined;
  length = 0;

  addFirst(node: Node): void {
    node.previous = undefined;
    node.next = this.first;
    if (this.first === undefined) this.last = node;
    else this.first.previous = node;
    this.first = node;
    this.length++;
  }

  take(node: Node): void {
    if (node.previous === undefined) this.first = node.next;
    else node.previous.next = node.next;
    if (node.next === undefined) this.last = node.previous;
    else node.next.previous = node.previous;
    node.previous = node.next = undefined;
    this.length--;
  }
}

/** Reads and writes the bit that says an element was used since it was last looked at. */
export interface ReferenceBits {
  get(element: number): boolean;
  set(element: number, value: boolean): void;
}

/** Active, inactive and free list with the place where rotation goes on. */
class GlobalList {
  readonly active: NodeList = new NodeList();
  readonly inactive: NodeList = new NodeList();
  readonly free: NodeList = new NodeList();
  /** Where the next rotation of the inactive list begins; `undefined` is the list's head. */
  rotation: Node | undefined = undefined;
  /** Elements that were never handed out: they are behind `free`. */
  fresh: number;

  constructor(fresh: number) {
    this.fresh = fresh;
  }
}

interface LocalList {
  readonly pending: NodeList;
  /** Last in, first out. */
  readonly free: Node[];
  nextSteal: number;
}

export class LRU {
  private readonly isPerCPU: boolean;
  private readonly cpus: number;
  private readonly scans: number;
  private readonly target: number;
  private readonly lists: readonly GlobalList[];
  private readonly locals: readonly LocalList[];
  private readonly nodes: Map<number, Node> = new Map();
  private readonly bits: ReferenceBits;
  private readonly allocate: () => number;
  private readonly evict: (element: number) => boolean;

  /**
   * @param allocate memory of a new element, 0 where there is none
   * @param evict takes an element out of the table; false where it was not in it
   */
  constructor(count: number, cpus: number, isPerCPU: boolean, bits: ReferenceBits, allocate: () => number, evict: (element: number) => boolean) {
    this.isPerCPU = isPerCPU;
    this.cpus = cpus;
    this.scans = isPerCPU ? PERCPU_FREE_TARGET : LOCAL_FREE_TARGET;
    this.target = Math.min(LOCAL_FREE_TARGET, Math.max(1, Math.floor(Math.floor(count / cpus) / 2)));
    this.bits = bits;
    this.allocate = allocate;
    this.evict = evict;
    this.lists = isPerCPU
      ? Array.from({ length: cpus }, () => new GlobalList(Math.floor(count / cpus)))
      : [new GlobalList(count)];
    this.locals = isPerCPU
      ? []
      : Array.from({ length: cpus }, (_, cpu): LocalList => ({ pending: new NodeList(), free: [], nextSteal: cpu }));
  }

  /** An element to fill, taken from the free ones or from the table; 0 where there is none. */
  pop(cpu: number, _hash: number): number {
    const node = this.isPerCPU ? this.popPerCPU(cpu) : this.popCommon(cpu);
    return node?.element ?? 0;
  }

  /** An element that is no longer in the table. */
  push(element: number): void {
    const node = this.nodes.get(element);
    if (node === undefined) return;
    const local = this.locals[node.cpu];
    if (node.list === 'pending' && local !== undefined) {
      local.pending.take(node);
      node.list = 'local-free';
      this.bits.set(element, false);
      local.free.push(node);
      return;
    }
    if (node.list === 'free' || node.list === 'local-free') return;
    const list = this.lists[this.isPerCPU ? node.cpu : 0];
    if (list !== undefined) this.move(list, node, 'free');
  }

  // -------------------------------------------------- lists by CPU

  private popPerCPU(cpu: number): Node | undefined {
    const list = this.lists[cpu];
    if (list === undefined) return undefined;
    this.rotate(list);
    if (list.free.length === 0 && list.fresh === 0) this.shrink(list, PERCPU_FREE_TARGET, (node) => this.relist(list, node, 'free'));
    const node = this.firstFree(list);
    if (node === undefined) return undefined;
    node.cpu = cpu;
    this.move(list, node, 'inactive');
    return node;
  }

  /** The first free node, made from the never used ones where the list is empty. It stays in (or joins) the free list. */
  private firstFree(list: GlobalList): Node | undefined {
    if (list.free.first !== undefined) return list.free.first;
    if (list.fresh === 0) return undefined;
    const element = this.allocate();
    if (element === 0) return undefined;
    list.fresh--;
    const node: Node = { element, list: 'free', cpu: 0, previous: undefined, next: undefined };
    this.nodes.set(element, node);
    list.free.addFirst(node);
    return node;
  }

  // -------------------------------------------------- one list, pools by CPU

  private popCommon(cpu: number): Node | undefined {
    const local = this.locals[cpu];
    const list = this.lists[0];
    if (local === undefined || list === undefined) return undefined;
    let node = local.free.pop();
    if (node === undefined) {
      this.refill(list, local);
      node = local.free.pop();
    }
    node ??= this.steal(local);
    if (node === undefined) return undefined;
    node.cpu = cpu;
    node.list = 'pending';
    this.bits.set(node.element, false);
    local.pending.addFirst(node);
    return node;
  }

  private refill(list: GlobalList, local: LocalList): void {
    for (let node = local.pending.last; node !== undefined;) {
      const before = node.previous;
      local.pending.take(node);
      node.list = this.bits.get(node.element) ? 'active' : 'inactive';
      this.bits.set(node.element, false);
      this.listOf(list, node.list).addFirst(node);
      node = before;
    }
    this.rotate(list);
    const taken: Node[] = [];
    const harvest = (node: Node): void => {
      this.leave(list, node);
      node.list = 'local-free';
      // Harvested nodes are put in front of one another, then handed over from the front.
      taken.unshift(node);
    };
    let count = 0;
    for (let node = this.firstFree(list); node !== undefined; node = this.firstFree(list)) {
      harvest(node);
      if (++count === this.target) break;
    }
    if (count < this.target) this.shrink(list, this.target - count, harvest);
    for (const node of taken) local.free.push(node);
  }

  private steal(local: LocalList): Node | undefined {
    const first = local.nextSteal;
    let cpu = first;
    let node: Node | undefined;
    do {
      const victim = this.locals[cpu];
      if (victim !== undefined) node = victim.free.pop() ?? this.popPending(victim);
      cpu = (cpu + 1) % this.cpus;
    } while (node === undefined && cpu !== first);
    local.nextSteal = cpu;
    return node;
  }

  /** The oldest pending element, unused ones first. */
  private popPending(local: LocalList): Node | undefined {
    for (const takesUsed of [false, true]) {
      for (let node = local.pending.last; node !== undefined; node = node.previous) {
        if ((takesUsed || !this.bits.get(node.element)) && this.evict(node.element)) {
          local.pending.take(node);
          return node;
        }
      }
    }
    return undefined;
  }

  // -------------------------------------------------- the global list

  private listOf(list: GlobalList, name: ListName): NodeList {
    return name === 'active' ? list.active : name === 'inactive' ? list.inactive : list.free;
  }

  /** Takes a node out of its global list; rotation goes on at its older neighbour. */
  private leave(list: GlobalList, node: Node): void {
    if (list.rotation === node) list.rotation = node.previous;
    this.listOf(list, node.list).take(node);
  }

  private relist(list: GlobalList, node: Node, name: 'free'): void {
    this.leave(list, node);
    node.list = name;
    list.free.addFirst(node);
  }

  private move(list: GlobalList, node: Node, name: 'active' | 'inactive' | 'free'): void {
    this.leave(list, node);
    node.list = name;
    this.bits.set(node.element, false);
    this.listOf(list, name).addFirst(node);
  }

  private rotate(list: GlobalList): void {
    if (list.inactive.length < list.active.length) this.rotateActive(list);
    this.rotateInactive(list);
  }

  private rotateActive(list: GlobalList): void {
    const stop = list.active.first;
    let scanned = 0;
    for (let node = list.active.last; node !== undefined;) {
      const before = node.previous;
      this.move(list, node, this.bits.get(node.element) ? 'active' : 'inactive');
      if (++scanned === this.scans || node === stop) break;
      node = before;
    }
  }

  /** Walks from young to old from where it stopped; `undefined` stands for the head, which is passed over. */
  private rotateInactive(list: GlobalList): void {
    if (list.inactive.length === 0) return;
    const after = (node: Node | undefined): Node | undefined => (node === undefined ? list.inactive.first : node.next);
    const before = (node: Node | undefined): Node | undefined => (node === undefined ? list.inactive.last : node.previous);
    let last = after(list.rotation);
    if (last === undefined) last = after(undefined);
    let at = list.rotation;
    let next: Node | undefined;
    let scanned = 0;
    while (scanned < this.scans) {
      if (at === undefined) {
        at = before(undefined);
        if (at === undefined) break;
        continue;
      }
      next = before(at);
      const isLast = at === last;
      if (this.bits.get(at.element)) this.move(list, at, 'active');
      if (isLast) break;
      at = next;
      scanned++;
    }
    list.rotation = next;
  }

  /** Takes up to `target` elements back from the old end; at least one if there is any at all. */
  private shrink(list: GlobalList, target: number, receive: (node: Node) => void): void {
    let shrunk = 0;
    let scanned = 0;
    for (let node = list.inactive.last; node !== undefined;) {
      const before = node.previous;
      if (this.bits.get(node.element)) this.move(list, node, 'active');
      else if (this.evict(node.element)) {
        receive(node);
        if (++shrunk === target) return;
      }
      if (++scanned === this.scans) break;
      node = before;
    }
    if (shrunk > 0) return;
    for (let node = list.inactive.length > 0 ? list.inactive.last : list.active.last; node !== undefined; node = node.previous) {
      if (this.evict(node.element)) {
        receive(node);
        return;
      }
    }
  }
}
