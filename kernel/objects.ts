/**
 * @module kernel/objects
 * The kernel objects that descriptors refer to, and BTF objects with their reference counts. Owns the union and BTF objects; maps
 * and programs are in their own modules.
 */
import type { BTF } from '../btf/btf.ts';
import type { BTFDescriptor } from '../verifier/types.ts';
import type { BPFLink } from './link.ts';
import type { BPFMap } from './maps/map.ts';
import type { BPFProgram } from './program.ts';

/** A BTF behind descriptors, maps and programs. The kernel's own is never freed. */
export class BTFObject implements BTFDescriptor {
  readonly kind = 'btf' as const;
  id = 0;
  readonly btf: BTF;
  readonly isKernel: boolean;
  references = 1;
  private readonly onFree: (btf: BTFObject) => void;

  constructor(btf: BTF, isKernel: boolean, onFree: (btf: BTFObject) => void) {
    this.btf = btf;
    this.isKernel = isKernel;
    this.onFree = onFree;
  }

  get(): this {
    this.references++;
    return this;
  }

  put(): void {
    if (--this.references === 0) this.onFree(this);
  }
}

/** The descriptor that keeps run-time statistics switched on (`BPF_ENABLE_STATS`). */
export interface StatsFile {
  readonly kind: 'stats';
  readonly id: 0;
}

/** A file that BPF knows nothing of. */
export interface OtherFile {
  readonly kind: 'other';
  readonly id: 0;
}

export type KernelObject = BPFMap | BPFProgram | BTFObject | BPFLink | StatsFile | OtherFile;
