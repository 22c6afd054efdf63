/**
 * @module kernel/rbtree
 * Red-black trees in linear memory, as programs can see them through `bpf_rbtree_root()`, `_left()` and `_right()`: the shape after every
 * insertion and removal is the one that lib/rbtree.c has. Owns links and colours (`struct rb_node`: word of parent and colour, right, left;
 * `struct rb_root_cached`: root, leftmost); not the order of nodes, nor who owns them.
 */
import type { AddressSpace } from '../vm/address-space.ts';

const NODE = { parent: 0, right: 8, left: 16 } as const;
const ROOT = { top: 0, leftmost: 8 } as const;
const BLACK = 1;

type Side = typeof NODE.left | typeof NODE.right;
const opposite = (side: Side): Side => (side === NODE.left ? NODE.right : NODE.left);

/** One tree; `root` and all nodes are offsets in linear memory, 0 for none. */
export class RBTree {
  private readonly space: AddressSpace;
  private readonly root: number;

  constructor(space: AddressSpace, root: number) {
    this.space = space;
    this.root = root;
  }

  get top(): number {
    return this.read(this.root + ROOT.top);
  }

  get first(): number {
    return this.read(this.root + ROOT.leftmost);
  }

  left(node: number): number {
    return this.read(node + NODE.left);
  }

  right(node: number): number {
    return this.read(node + NODE.right);
  }

  /** Marks a node as one that is in no tree (`RB_CLEAR_NODE`). */
  clear(node: number): void {
    this.space.setPointer(node + NODE.parent, node);
  }

  /** Puts `node` below `parent` (0: it becomes the root) and balances. `isFirst`: nothing is before it. */
  insert(node: number, parent: number, isLeft: boolean, isFirst: boolean): void {
    this.space.setPointer(node + NODE.left, 0);
    this.space.setPointer(node + NODE.right, 0);
    this.setParent(node, parent, false);
    if (parent === 0) this.write(this.root + ROOT.top, node);
    else this.write(parent + (isLeft ? NODE.left : NODE.right), node);
    if (isFirst) this.write(this.root + ROOT.leftmost, node);
    this.balanceInsertion(node);
  }

  /** Takes `node` out and balances. */
  erase(node: number): void {
    if (this.first === node) this.write(this.root + ROOT.leftmost, this.next(node));
    const left = this.left(node), right = this.right(node);
    if (left === 0 || right === 0) {
      const child = left === 0 ? right : left, parent = this.parent(node), side = this.sideOf(node), wasBlack = this.isBlack(node);
      this.replace(node, child);
      // An only child is red, and takes the colour of what was above it.
      if (child !== 0) this.setColour(child, wasBlack);
      else if (wasBlack) this.balanceRemoval(parent, side);
      return;
    }
    let successor = right;
    while (this.left(successor) !== 0) successor = this.left(successor);
    const child = this.right(successor), wasBlack = this.isBlack(successor);
    const above = this.parent(successor) === node ? successor : this.parent(successor), side = above === successor ? NODE.right : NODE.left;
    if (above !== successor) {
      this.replace(successor, child);
      this.adopt(successor, NODE.right, right);
    }
    const colour = this.isBlack(node);
    this.replace(node, successor);
    this.setColour(successor, colour);
    this.adopt(successor, NODE.left, left);
    if (child !== 0 && wasBlack) this.setColour(child, true);
    else if (wasBlack) this.balanceRemoval(above, side);
  }

  /** All nodes, children before their parents; the tree may be forgotten while they are visited. */
  postorder(): readonly number[] {
    const parentsFirst: number[] = [], pending = [this.top];
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (node === 0) continue;
      parentsFirst.push(node);
      pending.push(this.left(node), this.right(node));
    }
    return parentsFirst.reverse();
  }

  private next(node: number): number {
    let at = this.right(node);
    if (at !== 0) {
      while (this.left(at) !== 0) at = this.left(at);
      return at;
    }
    at = node;
    let parent = this.parent(at);
    while (parent !== 0 && at === this.right(parent)) {
      at = parent;
      parent = this.parent(at);
    }
    return parent;
  }

  private balanceInsertion(inserted: number): void {
    let node = inserted;
    for (let parent = this.parent(node); parent !== 0 && !this.isBlack(parent); parent = this.parent(node)) {
      const grandparent = this.parent(parent), side = this.sideOf(parent), uncle = this.read(grandparent + opposite(side));
      if (uncle !== 0 && !this.isBlack(uncle)) {
        this.setColour(parent, true);
        this.setColour(uncle, true);
        this.setColour(grandparent, false);
        node = grandparent;
        continue;
      }
      if (this.sideOf(node) !== side) {
        this.rotate(parent, side);
        parent = node;
      }
      this.setColour(parent, true);
      this.setColour(grandparent, false);
      this.rotate(grandparent, opposite(side));
      return;
    }
    const { top } = this;
    this.setColour(top, true);
  }

  /** The paths through `side` of `parent` have one black node too few. */
  private balanceRemoval(above: number, on: Side): void {
    let parent = above, side = on;
    while (parent !== 0) {
      const far = opposite(side);
      let sibling = this.read(parent + far);
      if (!this.isBlack(sibling)) {
        this.setColour(sibling, true);
        this.setColour(parent, false);
        this.rotate(parent, side);
        sibling = this.read(parent + far);
      }
      if (this.isBlackOrNone(this.read(sibling + far))) {
        if (this.isBlackOrNone(this.read(sibling + side))) {
          this.setColour(sibling, false);
          if (!this.isBlack(parent)) return this.setColour(parent, true);
          side = this.sideOf(parent);
          parent = this.parent(parent);
          continue;
        }
        const near = this.read(sibling + side);
        this.setColour(near, true);
        this.setColour(sibling, false);
        this.rotate(sibling, far);
        sibling = near;
      }
      this.setColour(sibling, this.isBlack(parent));
      this.setColour(parent, true);
      this.setColour(this.read(sibling + far), true);
      this.rotate(parent, side);
      return;
    }
  }

  /** `node` goes down to `side`, its other child comes up. */
  private rotate(node: number, side: Side): void {
    const far = opposite(side), up = this.read(node + far), across = this.read(up + side);
    this.replace(node, up);
    this.adopt(up, side, node);
    this.write(node + far, across);
    if (across !== 0) this.setParent(across, node, this.isBlack(across));
  }

  private adopt(parent: number, side: Side, child: number): void {
    this.write(parent + side, child);
    this.setParent(child, parent, this.isBlack(child));
  }

  /** What stood above `node` has `by` (or nothing) in its place. */
  private replace(node: number, by: number): void {
    const parent = this.parent(node);
    this.write(parent === 0 ? this.root + ROOT.top : parent + this.sideOf(node), by);
    if (by !== 0) this.setParent(by, parent, this.isBlack(by));
  }

  private sideOf(node: number): Side {
    const parent = this.parent(node);
    return parent !== 0 && this.right(parent) === node ? NODE.right : NODE.left;
  }

  private parent(node: number): number {
    return (this.read(node + NODE.parent) & ~3) >>> 0;
  }

  private isBlack(node: number): boolean {
    return (this.space.view.getUint32(node + NODE.parent, true) & BLACK) !== 0;
  }

  private isBlackOrNone(node: number): boolean {
    return node === 0 || this.isBlack(node);
  }

  private setColour(node: number, isBlack: boolean): void {
    this.setParent(node, this.parent(node), isBlack);
  }

  private setParent(node: number, parent: number, isBlack: boolean): void {
    if (parent === 0) {
      this.space.view.setUint32(node + NODE.parent, isBlack ? BLACK : 0, true);
      this.space.view.setUint32(node + NODE.parent + 4, 0, true);
    } else this.space.setPointer(node + NODE.parent, parent + (isBlack ? BLACK : 0));
  }

  private read(at: number): number {
    return this.space.view.getUint32(at, true);
  }

  private write(at: number, target: number): void {
    this.space.setPointer(at, target);
  }
}
