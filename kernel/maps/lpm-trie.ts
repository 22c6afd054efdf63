/**
 * @module kernel/maps/lpm-trie
 * `BPF_MAP_TYPE_LPM_TRIE`: prefixes with values, looked up by the longest one that fits. Kept as a list in the order in which the
 * kernel walks its trie (more specific prefixes first, branch 0 before branch 1). Reproduces kernel/bpf/lpm_trie.c.
 */
import type { BTF } from '../../btf/btf.ts';
import { EEXIST, EINVAL, ENOENT, ENOMEM, ENOSPC } from '../../isa/errno.ts';
import { BPF_EXIST, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, BPF_NOEXIST, BTF_KIND_STRUCT } from '../../isa/uapi.ts';
import { ACCESS_MASK, accessFlagsOK, BPFMap, type BatchOperations, type ElementFlags, KMALLOC_MAX_SIZE, type MapAttributes, type MapHost } from './map.ts';

const TRIE_SIZE = 648;
const NODE_HEADER = 24;
const DATA_MAX = 256;
const KEY_MIN = 5;
const CREATE_FLAGS = BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | ACCESS_MASK;
const BATCH: BatchOperations = { lookup: 'generic', lookupAndDelete: undefined, update: true, delete: true };

interface Node {
  readonly prefix: number;
  readonly data: Uint8Array;
  /** Address of the value. */
  readonly value: number;
}

export class LPMTrieMap extends BPFMap {
  private readonly dataSize: number;
  private readonly nodes: Node[] = [];
  private readonly spare: number[] = [];
  private readonly all: number[] = [];

  static create(host: MapHost, attr: MapAttributes): LPMTrieMap | number {
    const valueMax = KMALLOC_MAX_SIZE - DATA_MAX - NODE_HEADER;
    const isBad = attr.maxEntries === 0 || (attr.flags & BPF_F_NO_PREALLOC) === 0 || (attr.flags & ~CREATE_FLAGS) !== 0
      || !accessFlagsOK(attr.flags) || attr.keySize < KEY_MIN || attr.keySize > DATA_MAX + 4 || attr.valueSize < 1 || attr.valueSize > valueMax;
    return isBad ? -EINVAL : new LPMTrieMap(host, attr);
  }

  private constructor(host: MapHost, attr: MapAttributes) {
    super(host, attr, TRIE_SIZE);
    this.dataSize = attr.keySize - 4;
  }

  protected override freeElements(): void {
    for (const value of this.all) this.host.memory.free(value);
  }

  override get batchOperations(): BatchOperations {
    return BATCH;
  }

  override get hasBTFCheck(): boolean {
    return true;
  }

  override checkBTF(btf: BTF, keyType: number): number {
    return btf.kind(keyType) === BTF_KIND_STRUCT ? 0 : -EINVAL;
  }

  private prefixOf(key: number): number {
    return this.host.memory.view.getUint32(key, true);
  }

  private dataOf(key: number): Uint8Array {
    return this.host.memory.u8.slice(key + 4, key + this.keySize);
  }

  /** Leading bits that both have in common, at most `limit`. */
  private common(a: Uint8Array, b: Uint8Array, limit: number): number {
    for (let i = 0; i * 8 < limit; i++) {
      const difference = (a[i] ?? 0) ^ (b[i] ?? 0);
      if (difference !== 0) return Math.min(limit, i * 8 + Math.clz32(difference) - 24);
    }
    return limit;
  }

  /** Order of the kernel's walk. */
  private compare(prefix: number, data: Uint8Array, node: Node): number {
    const shorter = Math.min(prefix, node.prefix);
    const bits = this.common(data, node.data, shorter);
    if (bits === shorter) return node.prefix - prefix;
    return (((data[bits >> 3] ?? 0) >> (7 - (bits & 7))) & 1) === 0 ? -1 : 1;
  }

  /** Index of the first node that does not come before the prefix. */
  private search(prefix: number, data: Uint8Array): number {
    let low = 0;
    let high = this.nodes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const node = this.nodes[middle];
      if (node !== undefined && this.compare(prefix, data, node) > 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private exact(prefix: number, data: Uint8Array): number {
    const at = this.search(prefix, data);
    const node = this.nodes[at];
    return node !== undefined && this.compare(prefix, data, node) === 0 ? at : -1;
  }

  override lookup(key: number): number {
    const prefix = this.prefixOf(key);
    if (prefix > this.dataSize * 8) return 0;
    const data = this.dataOf(key);
    let best: Node | undefined;
    for (const node of this.nodes) {
      const fits = node.prefix <= prefix && this.common(data, node.data, node.prefix) === node.prefix;
      if (fits && (best === undefined || node.prefix > best.prefix)) best = node;
    }
    return best?.value ?? 0;
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    if (flags.lo >>> 0 > BPF_EXIST || flags.hi !== 0) return -EINVAL;
    const prefix = this.prefixOf(key);
    if (prefix > this.dataSize * 8) return -EINVAL;
    const data = this.dataOf(key);
    const at = this.exact(prefix, data);
    if (at >= 0 && flags.lo === BPF_NOEXIST) return -EEXIST;
    if (at < 0 && flags.lo === BPF_EXIST) return -ENOENT;
    if (at < 0 && this.nodes.length >= this.maxEntries) return -ENOSPC;
    const memory = this.host.memory;
    let element = this.spare.pop() ?? 0;
    if (element === 0) {
      element = memory.tryAlloc(this.valueSize, `prefix of ${this.name}`);
      if (element === 0) return -ENOMEM;
      this.all.push(element);
    }
    memory.u8.copyWithin(element, value, value + this.valueSize);
    const node: Node = { prefix, data, value: element };
    const old = this.nodes[at];
    if (old === undefined) this.nodes.splice(this.search(prefix, data), 0, node);
    else {
      this.nodes[at] = node;
      this.spare.push(old.value);
    }
    return 0;
  }

  override remove(key: number): number {
    const prefix = this.prefixOf(key);
    if (prefix > this.dataSize * 8) return -EINVAL;
    const at = this.exact(prefix, this.dataOf(key));
    const node = this.nodes[at];
    if (node === undefined) return -ENOENT;
    this.nodes.splice(at, 1);
    this.spare.push(node.value);
    return 0;
  }

  override nextKey(key: number, out: number): number {
    if (this.nodes.length === 0) return -ENOENT;
    const prefix = key === 0 ? Infinity : this.prefixOf(key);
    const at = prefix > this.dataSize * 8 ? -1 : this.exact(prefix, this.dataOf(key));
    const node = this.nodes[at + 1];
    if (node === undefined) return -ENOENT;
    this.host.memory.view.setUint32(out, node.prefix, true);
    this.host.memory.space.setBytes(out + 4, node.data);
    return 0;
  }
}
