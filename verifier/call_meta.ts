/**
 * @module verifier/call_meta
 * What is learnt of a helper or kfunc call while its arguments are checked and needed when its result is made
 * (`struct bpf_call_arg_meta`, include/linux/bpf_verifier.h).
 */
import type { Field } from '../btf/record.ts';
import type { DynptrDesc } from './dynptr.ts';
import type { HelperProto } from './ops_types.ts';
import type { RefObj } from './refs.ts';
import type { RawMemory } from './stack.ts';

export class CallMeta {
  /** Helper id, or BTF id of a kfunc. */
  funcID: number;
  /** Name for messages. */
  funcName: string;
  /** Register whose object the call releases, 0 for none. */
  releaseRegno = 0;
  retBTFIndex = 0;
  retBTFID = 0;
  /** Subprogram passed as callback. */
  subprogno = 0;
  /** Index in `env.mapTable` of the map argument, -1 for none, and the uid of an inner map. */
  map = -1;
  mapUID = 0;
  readonly dynptr: DynptrDesc = { type: 0, id: 0, parentID: 0 };
  readonly refObj: RefObj = { id: 0, parentID: 0, count: 0 };
  /** Bytes of memory that the call returns, -1 where no argument says. */
  retMemSize = -1;

  // Kfuncs.
  r0ReadOnly = false;
  flags = 0;
  /** Value of a `__k` or `__szk` argument. */
  constantFound = false;
  constantLo = 0;
  constantHi = 0;
  /** BTF index and type of an allocated object that is given. */
  argBTFIndex = 0;
  argBTFID = 0;
  argOwningRef = false;
  argProg = false;
  listHead: Field | undefined = undefined;
  rbtreeRoot: Field | undefined = undefined;
  iterSpi = 0;
  iterFrameno = 0;

  // Helpers.
  fn: HelperProto | undefined = undefined;
  /** Largest value of the size argument, as a number (may be inexact above 2^53). */
  msizeMaxValue = 0;
  /** Constant key of a map lookup, -1 for none known. */
  constMapKey = -1;
  kptrField: Field | undefined = undefined;
  /** Memory that the call fills in. */
  readonly raw: RawMemory = { regno: 0, size: 0 };

  constructor(funcID: number, funcName: string) {
    this.funcID = funcID;
    this.funcName = funcName;
  }

  /** Makes it as if it were new, for another call. */
  reset(funcID: number, funcName: string): this {
    this.funcID = funcID;
    this.funcName = funcName;
    this.releaseRegno = 0;
    this.retBTFIndex = 0;
    this.retBTFID = 0;
    this.subprogno = 0;
    this.map = -1;
    this.mapUID = 0;
    this.dynptr.type = 0;
    this.dynptr.id = 0;
    this.dynptr.parentID = 0;
    this.refObj.id = 0;
    this.refObj.parentID = 0;
    this.refObj.count = 0;
    this.retMemSize = -1;
    this.r0ReadOnly = false;
    this.flags = 0;
    this.constantFound = false;
    this.constantLo = 0;
    this.constantHi = 0;
    this.argBTFIndex = 0;
    this.argBTFID = 0;
    this.argOwningRef = false;
    this.argProg = false;
    this.listHead = undefined;
    this.rbtreeRoot = undefined;
    this.iterSpi = 0;
    this.iterFrameno = 0;
    this.fn = undefined;
    this.msizeMaxValue = 0;
    this.constMapKey = -1;
    this.kptrField = undefined;
    this.raw.regno = 0;
    this.raw.size = 0;
    return this;
  }
}
