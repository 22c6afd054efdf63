/**
 * @module kernel/link
 * Links: a program tied to the place it is attached to, or a structure of callbacks to its subsystem. Owns the object and its references. Beside the LSM
 * hooks of the system call (`lsm.ts`) the instance has no kernel code to instrument: a link exists, is listed and keeps its program, and
 * nothing triggers it. Reproduces `struct bpf_link`.
 */
import type { StructOpsMap } from './maps/struct-ops.ts';
import type { BPFProgram } from './program.ts';

/** Functions that a link of several is tied to, in the order of their addresses. */
export interface MultiTarget {
  /** `BPF_F_KPROBE_MULTI_RETURN` */
  readonly flags: number;
  readonly targets: readonly { readonly address: bigint; readonly cookie: bigint }[];
}

export class BPFLink {
  readonly kind = 'link' as const;
  id = 0;
  /** `BPF_LINK_TYPE_*` */
  readonly type: number;
  readonly attachType: number;
  /** `undefined` for structures of callbacks. */
  program: BPFProgram | undefined;
  /** The structure of callbacks, until it is detached. */
  map: StructOpsMap | undefined;
  /** Name of the tracepoint of a raw tracepoint link or of an iterator's target, `""` for others. */
  readonly tracepoint: string;
  readonly targetObjectID: number;
  readonly targetTypeID: number;
  readonly cookie: bigint;
  readonly multi: MultiTarget | undefined;
  references = 1;
  private readonly onFree: (link: BPFLink) => void;

  constructor(
    type: number, attachType: number, program: BPFProgram | undefined,
    detail: { readonly tracepoint?: string; readonly targetObjectID?: number; readonly targetTypeID?: number; readonly cookie?: bigint; readonly map?: StructOpsMap;
      readonly multi?: MultiTarget;
    },
    onFree: (link: BPFLink) => void,
  ) {
    this.type = type;
    this.attachType = attachType;
    this.program = program;
    this.map = detail.map;
    this.multi = detail.multi;
    this.tracepoint = detail.tracepoint ?? '';
    this.targetObjectID = detail.targetObjectID ?? 0;
    this.targetTypeID = detail.targetTypeID ?? 0;
    this.cookie = detail.cookie ?? 0n;
    this.onFree = onFree;
  }

  get(): void {
    this.references++;
  }

  put(): void {
    if (--this.references === 0) this.onFree(this);
  }
}
