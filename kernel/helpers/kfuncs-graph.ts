/**
 * @module kernel/helpers/kfuncs-graph
 * Kernel functions for objects that programs allocate, and for the lists and trees that own them. Reproduces the functions of those names
 * in kernel/bpf/helpers.c; with and without `_impl` they are the same (the arguments that the verifier adds are not in the machine's form).
 */
import { EINVAL } from '../../isa/errno.ts';
import type { HelperCall, HelperFunction } from '../../vm/types.ts';
import { LIST_OWNER, RB_OWNER } from '../allocated-objects.ts';
import { programOf } from '../program.ts';
import { RBTree } from '../rbtree.ts';
import type { KernelState } from '../state.ts';
import { high, low, pointer } from './arguments.ts';

type Make = (kernel: KernelState) => HelperFunction;

const NEXT = 0, PREVIOUS = 8;

// ---------------------------------------------------------------- objects

const objNew = (isPerCPU: boolean): Make => (kernel) => (call) => {
  const btf = programOf(call.program)?.btf;
  call.setPointer(btf === undefined || high(call, 1) !== 0 ? 0 : kernel.allocated.create(btf, call.u32(1), isPerCPU));
};

const objDrop: Make = (kernel) => (call) => kernel.allocated.drop(pointer(call, 1));

const refcountAcquire: Make = (kernel) => (call) => {
  const object = pointer(call, 1);
  call.setPointer(kernel.allocated.acquire(object) ? object : 0);
};

/** A node that already has an owner cannot be added: the caller's reference to its object ends. */
function refuseNode(kernel: KernelState, call: HelperCall, node: number): void {
  kernel.allocated.drop(kernel.allocated.containing(node));
  call.setResult(-EINVAL);
}

// ---------------------------------------------------------------- lists

/** A head or node of a doubly linked list; pointers are read as offsets. */
class Links {
  private readonly kernel: KernelState;

  constructor(kernel: KernelState) {
    this.kernel = kernel;
  }

  next(at: number): number {
    return this.kernel.memory.view.getUint32(at + NEXT, true);
  }

  previous(at: number): number {
    return this.kernel.memory.view.getUint32(at + PREVIOUS, true);
  }

  owner(node: number): number {
    return this.kernel.memory.view.getUint32(node + LIST_OWNER, true);
  }

  setOwner(node: number, head: number): void {
    this.kernel.memory.space.setPointer(node + LIST_OWNER, head);
  }

  join(before: number, after: number): void {
    this.kernel.memory.space.setPointer(before + NEXT, after);
    this.kernel.memory.space.setPointer(after + PREVIOUS, before);
  }

  /** Heads in map values begin as zeros. */
  initialiseHead(head: number): boolean {
    const isFresh = this.next(head) === 0;
    if (isFresh) this.join(head, head);
    return isFresh;
  }

  isEmpty(head: number): boolean {
    const first = this.next(head);
    return first === head || first === 0;
  }
}

const add = (behind: (list: Links, call: HelperCall, head: number) => number): Make => (kernel) => {
  const list = new Links(kernel);
  return (call) => {
    const head = pointer(call, 1), node = pointer(call, 2);
    list.initialiseHead(head);
    const before = behind(list, call, head);
    if ((before !== head && list.owner(before) !== head) || list.owner(node) !== 0) return refuseNode(kernel, call, node);
    const after = list.next(before);
    list.join(before, node);
    list.join(node, after);
    list.setOwner(node, head);
    call.setResult(0);
  };
};

const remove = (which: (list: Links, call: HelperCall, head: number) => number): Make => (kernel) => {
  const list = new Links(kernel);
  return (call) => {
    const head = pointer(call, 1);
    if (list.initialiseHead(head) || list.isEmpty(head)) return call.setPointer(0);
    const node = which(list, call, head);
    if (list.owner(node) !== head) return call.setPointer(0);
    list.join(list.previous(node), list.next(node));
    list.join(node, node);
    list.setOwner(node, 0);
    call.setPointer(node);
  };
};

const end = (which: (list: Links, head: number) => number): Make => (kernel) => {
  const list = new Links(kernel);
  return (call) => call.setPointer(list.isEmpty(pointer(call, 1)) ? 0 : which(list, pointer(call, 1)));
};

const isAt = (which: (list: Links, head: number) => number): Make => (kernel) => {
  const list = new Links(kernel);
  return (call) => {
    const head = pointer(call, 1), node = pointer(call, 2);
    call.setResult(list.owner(node) === head && which(list, head) === node ? 1 : 0);
  };
};

const isEmpty: Make = (kernel) => {
  const list = new Links(kernel);
  return (call) => {
    list.initialiseHead(pointer(call, 1));
    call.setResult(list.isEmpty(pointer(call, 1)) ? 1 : 0);
  };
};

// ---------------------------------------------------------------- trees

const ownerOf = (kernel: KernelState, node: number): number => kernel.memory.view.getUint32(node + RB_OWNER, true);

const rbtreeAdd: Make = (kernel) => (call) => {
  const root = pointer(call, 1), node = pointer(call, 2), less = low(call, 3);
  if (ownerOf(kernel, node) !== 0) return refuseNode(kernel, call, node);
  const tree = new RBTree(kernel.memory.space, root), words = call.callbackArguments;
  const nodeHi = high(call, 2);
  // As long as it is being added it belongs to nobody, and to nothing else.
  kernel.memory.space.setPointer(node + RB_OWNER, node);
  let parent = 0, isLeft = false, isFirst = true;
  for (let at = tree.top; at !== 0; at = isLeft ? tree.left(at) : tree.right(at)) {
    parent = at;
    words.fill(0);
    words[0] = node;
    words[1] = words[3] = nodeHi;
    words[2] = at;
    call.callback(less);
    isLeft = call.callbackResult[0] !== 0 || call.callbackResult[1] !== 0;
    if (!isLeft) isFirst = false;
  }
  tree.insert(node, parent, isLeft, isFirst);
  kernel.memory.space.setPointer(node + RB_OWNER, root);
  call.setResult(0);
};

const rbtreeRemove: Make = (kernel) => (call) => {
  const root = pointer(call, 1), node = pointer(call, 2);
  if (ownerOf(kernel, node) !== root) return call.setPointer(0);
  const tree = new RBTree(kernel.memory.space, root);
  tree.erase(node);
  tree.clear(node);
  kernel.memory.space.setPointer(node + RB_OWNER, 0);
  call.setPointer(node);
};

const ofTree = (which: (tree: RBTree) => number): Make => (kernel) => (call) => call.setPointer(which(new RBTree(kernel.memory.space, pointer(call, 1))));

const below = (which: (tree: RBTree, node: number) => number): Make => (kernel) => (call) => {
  const root = pointer(call, 1), node = pointer(call, 2);
  call.setPointer(ownerOf(kernel, node) === root ? which(new RBTree(kernel.memory.space, root), node) : 0);
};

/** Functions that exist with and without the ending `_impl`. */
const BOTH: readonly (readonly [string, Make])[] = [
  ['bpf_obj_new', objNew(false)], ['bpf_percpu_obj_new', objNew(true)], ['bpf_obj_drop', objDrop], ['bpf_percpu_obj_drop', objDrop],
  ['bpf_refcount_acquire', refcountAcquire],
  ['bpf_list_push_front', add((_list, _call, head) => head)], ['bpf_list_push_back', add((list, _call, head) => list.previous(head))],
  ['bpf_rbtree_add', rbtreeAdd],
];

/** Kernel functions by name. */
export const GRAPH_KFUNCS: ReadonlyMap<string, Make> = new Map<string, Make>([
  ...BOTH, ...BOTH.map(([name, make]): [string, Make] => [`${name}_impl`, make]),
  ['bpf_list_add', add((_list, call) => pointer(call, 3))],
  ['bpf_list_pop_front', remove((list, _call, head) => list.next(head))], ['bpf_list_pop_back', remove((list, _call, head) => list.previous(head))],
  ['bpf_list_del', remove((_list, call) => pointer(call, 2))],
  ['bpf_list_front', end((list, head) => list.next(head))], ['bpf_list_back', end((list, head) => list.previous(head))],
  ['bpf_list_is_first', isAt((list, head) => list.next(head))], ['bpf_list_is_last', isAt((list, head) => list.previous(head))],
  ['bpf_list_empty', isEmpty],
  ['bpf_rbtree_remove', rbtreeRemove], ['bpf_rbtree_first', ofTree((tree) => tree.first)], ['bpf_rbtree_root', ofTree((tree) => tree.top)],
  ['bpf_rbtree_left', below((tree, node) => tree.left(node))], ['bpf_rbtree_right', below((tree, node) => tree.right(node))],
]);
