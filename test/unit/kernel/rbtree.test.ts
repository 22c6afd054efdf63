/** Red-black trees: order, colours, parents and the leftmost node after any sequence of insertions and removals. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RBTree } from '../../../kernel/rbtree.ts';
import { AddressSpace } from '../../../vm/address-space.ts';

const COUNT = 64, NODE_BYTES = 32;

class Tree {
  readonly space: AddressSpace = new AddressSpace();
  private readonly root: number = this.space.alloc(16, 'root');
  private readonly nodes: number = this.space.alloc(NODE_BYTES * COUNT, 'nodes');
  readonly tree: RBTree = new RBTree(this.space, this.root);
  readonly present: Set<number> = new Set();

  private node(key: number): number {
    return this.nodes + key * NODE_BYTES;
  }

  key(node: number): number {
    return (node - this.nodes) / NODE_BYTES;
  }

  toggle(key: number): void {
    const node = this.node(key);
    if (this.present.delete(key)) return this.tree.erase(node);
    let parent = 0, isLeft = false, isFirst = true;
    for (let at = this.tree.top; at !== 0; at = isLeft ? this.tree.left(at) : this.tree.right(at)) {
      parent = at;
      isLeft = key < this.key(at);
      if (!isLeft) isFirst = false;
    }
    this.tree.insert(node, parent, isLeft, isFirst);
    this.present.add(key);
  }

  /** Keys in order; throws where a rule of red-black trees is broken. */
  walk(): number[] {
    const keys: number[] = [];
    const word = (node: number): number => this.space.view.getUint32(node, true);
    const visit = (node: number, parent: number, isParentRed: boolean): number => {
      if (node === 0) return 1;
      if ((word(node) & ~3) !== parent) throw new Error(`parent of ${this.key(node)}`);
      const isRed = (word(node) & 1) === 0;
      if (isRed && isParentRed) throw new Error(`two red nodes at ${this.key(node)}`);
      const left = visit(this.tree.left(node), node, isRed);
      keys.push(this.key(node));
      const right = visit(this.tree.right(node), node, isRed);
      if (left !== right) throw new Error(`black nodes below ${this.key(node)}`);
      return left + (isRed ? 0 : 1);
    };
    visit(this.tree.top, 0, true);
    return keys;
  }
}

describe('a red-black tree', () => {
  it('keeps its rules whatever comes and goes', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: COUNT - 1 }), { maxLength: 200 }), (keys) => {
      const t = new Tree();
      for (const key of keys) {
        t.toggle(key);
        const order = [...t.present].sort((a, b) => a - b);
        expect(t.walk()).toEqual(order);
        expect(t.tree.first === 0 ? undefined : t.key(t.tree.first)).toBe(order[0]);
      }
      expect(t.tree.postorder().length).toBe(t.present.size);
    }), { numRuns: 60 });
  });

  it('gives children before their parents', () => {
    const t = new Tree();
    for (let key = 0; key < 20; key++) t.toggle(key);
    const seen = new Set<number>();
    for (const node of t.tree.postorder()) {
      for (const child of [t.tree.left(node), t.tree.right(node)]) if (child !== 0) expect(seen.has(child)).toBe(true);
      seen.add(node);
    }
  });
});
