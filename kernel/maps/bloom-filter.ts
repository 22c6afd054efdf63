/**
 * @module kernel/maps/bloom-filter
 * `BPF_MAP_TYPE_BLOOM_FILTER`. Reproduces kernel/bpf/bloom_filter.c.
 */
import type { BTF } from '../../btf/btf.ts';
import { E2BIG, EINVAL, ENOENT, ENOMEM, EOPNOTSUPP } from '../../isa/errno.ts';
import { BPF_F_NUMA_NODE, BPF_F_ZERO_SEED } from '../../isa/uapi.ts';
import { hashKey } from './jhash.ts';
import { ACCESS_MASK, accessFlagsOK, BPFMap, type ElementFlags, KMALLOC_MAX_SIZE, type MapAttributes, type MapHost } from './map.ts';

const STRUCT_SIZE = 504;
const DEFAULT_FUNCTIONS = 5;
const CREATE_FLAGS = BPF_F_NUMA_NODE | BPF_F_ZERO_SEED | ACCESS_MASK;

export function checkBloomFilter(attr: MapAttributes): number {
  return attr.valueSize > KMALLOC_MAX_SIZE ? -E2BIG : 0;
}

/** Number of bits: a power of two near `entries · functions / ln 2`. */
function bitCount(entries: number, functions: number): number {
  const product = entries * functions;
  if (product > 0xffffffff) return 2 ** 32;
  const bits = Math.floor(product / 5) * 7;
  if (bits > 2 ** 31) return 2 ** 32;
  return bits <= 64 ? 64 : 2 ** Math.ceil(Math.log2(bits));
}

export class BloomFilterMap extends BPFMap {
  private readonly functions: number;
  private readonly mask: number;
  private readonly seed: number;

  static create(host: MapHost, attr: MapAttributes): BloomFilterMap | number {
    const isBad = attr.keySize !== 0 || attr.valueSize === 0 || attr.maxEntries === 0 || (attr.flags & ~CREATE_FLAGS) !== 0
      || !accessFlagsOK(attr.flags) || (attr.mapExtra & ~0xfn) !== 0n;
    if (isBad) return -EINVAL;
    const functions = Number(attr.mapExtra) || DEFAULT_FUNCTIONS;
    const bits = bitCount(attr.maxEntries, functions);
    return bits / 8 > host.memoryLimit ? -ENOMEM : new BloomFilterMap(host, attr, functions, bits);
  }

  private constructor(host: MapHost, attr: MapAttributes, functions: number, bits: number) {
    super(host, attr, STRUCT_SIZE + bits / 8);
    this.functions = functions;
    this.mask = bits - 1;
    this.seed = (attr.flags & BPF_F_ZERO_SEED) !== 0 ? 0 : host.random();
  }

  private bit(value: number, index: number): number {
    return (hashKey(this.host.memory.view, value, this.valueSize, (this.seed + index) | 0) & this.mask) >>> 0;
  }

  override peek(value: number): number {
    for (let i = 0; i < this.functions; i++) {
      const bit = this.bit(value, i);
      if (((this.host.memory.u8[this.address + STRUCT_SIZE + (bit >>> 3)] ?? 0) & (1 << (bit & 7))) === 0) return -ENOENT;
    }
    return 0;
  }

  override push(value: number, flags: ElementFlags): number {
    if (flags.lo !== 0 || flags.hi !== 0) return -EINVAL;
    const { u8 } = this.host.memory;
    for (let i = 0; i < this.functions; i++) {
      const bit = this.bit(value, i);
      const at = this.address + STRUCT_SIZE + (bit >>> 3);
      u8[at] = (u8[at] ?? 0) | (1 << (bit & 7));
    }
    return 0;
  }

  override pop(): number {
    return -EOPNOTSUPP;
  }

  override remove(): number {
    return -EOPNOTSUPP;
  }

  override nextKey(): number {
    return -EOPNOTSUPP;
  }

  override lookup(): number {
    return -EINVAL;
  }

  override update(): number {
    return -EINVAL;
  }

  override updateFromSystemCall(_key: number, value: number, flags: ElementFlags): number {
    return this.push(value, flags);
  }

  override copyValue(_key: number, out: number): number {
    return this.peek(out);
  }

  override get hasBTFCheck(): boolean {
    return true;
  }

  override checkBTF(_btf: BTF, keyType: number): number {
    return keyType === 0 ? 0 : -EINVAL;
  }
}
