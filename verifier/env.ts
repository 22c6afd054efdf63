/**
 * @module verifier/env
 * The working data of one load: instructions and what is noted about each, subprograms, maps and BTFs in use, the states being
 * explored, counters. Plain data; the rules are in the modules that use it. Mirrors `struct bpf_verifier_env`
 * (include/linux/bpf_verifier.h) and the parts of `struct bpf_prog_aux` that verification fills in.
 */
import type { BTF } from '../btf/btf.ts';
import { BPF_PROG_TYPE_EXT } from '../isa/uapi.ts';
import type { Diagnostics } from './diagnostics_port.ts';
import type { ExploredStates } from './explored.ts';
import type { LiveStack } from './live_stack_marks.ts';
import { VerifierLog } from './log.ts';
import { MAX_CALL_FRAMES } from './regtypes.ts';
import type { ContextArgument } from './progtypes/ctx_args.ts';
import type { StatePool, VState } from './state.ts';
import { sha256WithoutMaps } from './tag.ts';
import type { Admission, BTFDescriptor, MapDescriptor, ProgramLoad, VerifiedProgram, VerifierEnvironment, XlatedProgram } from './types.ts';
import { Slab, takeWorkspace, type Workspace } from './workspace.ts';

// prog_flags that verification looks at.
export const BPF_F_STRICT_ALIGNMENT = 1;
export const BPF_F_ANY_ALIGNMENT = 2;
export const BPF_F_TEST_RND_HI32 = 4;
export const BPF_F_TEST_STATE_FREQ = 8;
export const BPF_F_SLEEPABLE = 0x10;
export const BPF_F_XDP_HAS_FRAGS = 0x20;
export const BPF_F_TEST_REG_INVARIANTS = 0x80;

export const MAX_USED_MAPS = 64;
export const MAX_USED_BTFS = 64;
export const BPF_MAX_SUBPROGS = 256;

// Bits of InsnAux.flags.
export const AUX_JMP_POINT = 1;
export const AUX_PRUNE_POINT = 2;
export const AUX_FORCE_CHECKPOINT = 4;
export const AUX_CALLS_CALLBACK = 8;
export const AUX_INDIRECT_TARGET = 0x10;
export const AUX_JUMP_TARGET = 0x20;
export const AUX_NOSPEC = 0x40;
export const AUX_NOSPEC_RESULT = 0x80;
export const AUX_ZEXT_DST = 0x100;
export const AUX_NEEDS_ZEXT = 0x200;
export const AUX_PREVENT_ZEXT = 0x400;
export const AUX_NON_SLEEPABLE = 0x800;
export const AUX_IS_ITER_NEXT = 0x1000;
export const AUX_PERCPU_ALLOC_PTR = 0x2000;
export const AUX_FASTCALL_PATTERN = 0x4000;
export const AUX_MAP_PTR_POISON = 0x8000;
export const AUX_MAP_PTR_UNPRIV = 0x10000;
export const AUX_MAP_KEY_POISON = 0x20000;
export const AUX_MAP_KEY_SEEN = 0x40000;
export const AUX_LOOP_INIT = 0x80000;
export const AUX_LOOP_FIT = 0x100000;

/** Instructions, one array a field, of which the first {@link count} elements mean something. `imm` of both halves of a 16-byte load are separate entries. */
export class Insns {
  count: number;
  code: Uint8Array;
  dst: Uint8Array;
  src: Uint8Array;
  off: Int16Array;
  imm: Int32Array;

  /** Instructions that are changed without these. */
  copy(slab: Slab): Insns {
    return new Insns(this.encode(slab.u8(this.count * 8, false).subarray(0, this.count * 8)), slab);
  }

  constructor(bytes: Uint8Array, slab: Slab = new Slab()) {
    const n = bytes.length >>> 3;
    this.count = n;
    this.code = slab.u8(n, false);
    this.dst = slab.u8(n, false);
    this.src = slab.u8(n, false);
    this.off = slab.i16(n, false);
    this.imm = slab.i32(n, false);
    const { code, dst, src, off, imm } = this;
    for (let i = 0, at = 0; i < n; i++, at += 8) {
      code[i] = bytes[at]!;
      dst[i] = bytes[at + 1]! & 15;
      src[i] = bytes[at + 1]! >> 4;
      off[i] = bytes[at + 2]! | (bytes[at + 3]! << 8);
      imm[i] = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24);
    }
  }

  /** The 8-byte form of all instructions, in a new array or in `to`, which has that length. */
  encode(to?: Uint8Array): Uint8Array {
    const { count, code, dst, src, off, imm } = this;
    const bytes = to ?? new Uint8Array(count * 8);
    for (let i = 0, at = 0; i < count; i++, at += 8) {
      const distance = off[i]!, value = imm[i]!;
      bytes[at] = code[i]!;
      bytes[at + 1] = dst[i]! | (src[i]! << 4);
      bytes[at + 2] = distance;
      bytes[at + 3] = distance >> 8;
      bytes[at + 4] = value;
      bytes[at + 5] = value >> 8;
      bytes[at + 6] = value >> 16;
      bytes[at + 7] = value >> 24;
    }
    return bytes;
  }
}

/** Bytes of the notes about one instruction, and the smallest room for them. */
const NOTE_BYTES = 131;
const SMALLEST_NOTES = 32;
/** Instructions of the largest program whose notes are kept for the next. */
export const KEPT_NOTES = 4096;

/**
 * What is noted about each instruction; index = instruction. Fields have the kernel's meaning (`struct bpf_insn_aux_data`). One object serves
 * load after load of programs of about the same size, see {@link InsnAux.begin}.
 */
export class InsnAux {
  readonly flags: Uint32Array;
  /** Pointer kind of loads and stores; kind of a 16-byte load's variable; `callImm`. */
  readonly ptrType: Int32Array;
  /** Map or BTF index by use, -1 none. */
  readonly mapIndex: Int32Array;
  readonly mapOff: Int32Array;
  readonly btfIndex: Int32Array;
  readonly btfID: Int32Array;
  readonly memSize: Int32Array;
  readonly mapKey: Int32Array;
  readonly aluLimit: Int32Array;
  readonly aluState: Uint8Array;
  readonly callImm: Int32Array;
  readonly callbackSubprog: Int32Array;
  readonly ctxFieldSize: Int32Array;
  readonly seen: Uint32Array;
  readonly scc: Int32Array;
  readonly origIdx: Int32Array;
  readonly objNewSize: Float64Array;
  /** Offset of the node that a list or tree function inserts. */
  readonly insertOff: Int32Array;
  readonly liveRegsBefore: Uint16Array;
  readonly constRegMask: Uint16Array;
  readonly constRegMapMask: Uint16Array;
  readonly constRegSubprogMask: Uint16Array;
  /** Ten a instruction: `[10 * insn + register]`. */
  readonly constRegVals: Int32Array;
  readonly fastcallSpills: Uint8Array;
  readonly argProg: Uint8Array;
  /** Successors of instructions that have others than their code says; made with the first. */
  jumpTables: Map<number, Int32Array> | undefined = undefined;
  /** BTF index and struct id of an allocated object's metadata, -1 none. */
  readonly kptrStructBTF: Int32Array;
  readonly kptrStructID: Int32Array;

  /** Room: instructions. */
  readonly capacity: number;
  readonly #words: Float64Array;

  /** @param n room for so many instructions, of small programs rounded up to a power of two */
  constructor(n: number) {
    const capacity = n > KEPT_NOTES ? (n + 7) & ~7 : n <= SMALLEST_NOTES ? SMALLEST_NOTES : 1 << (32 - Math.clz32(n - 1));
    this.capacity = capacity;
    const buffer = new ArrayBuffer(capacity * NOTE_BYTES);
    this.#words = new Float64Array(buffer);
    let at = 0;
    const next = (bytes: number): number => {
      at += bytes * capacity;
      return at - bytes * capacity;
    };
    this.objNewSize = new Float64Array(buffer, next(8), capacity);
    this.flags = new Uint32Array(buffer, next(4), capacity);
    this.ptrType = new Int32Array(buffer, next(4), capacity);
    this.mapIndex = new Int32Array(buffer, next(4), capacity);
    this.mapOff = new Int32Array(buffer, next(4), capacity);
    this.btfIndex = new Int32Array(buffer, next(4), capacity);
    this.btfID = new Int32Array(buffer, next(4), capacity);
    this.memSize = new Int32Array(buffer, next(4), capacity);
    this.mapKey = new Int32Array(buffer, next(4), capacity);
    this.aluLimit = new Int32Array(buffer, next(4), capacity);
    this.callImm = new Int32Array(buffer, next(4), capacity);
    this.callbackSubprog = new Int32Array(buffer, next(4), capacity);
    this.ctxFieldSize = new Int32Array(buffer, next(4), capacity);
    this.seen = new Uint32Array(buffer, next(4), capacity);
    this.scc = new Int32Array(buffer, next(4), capacity);
    this.origIdx = new Int32Array(buffer, next(4), capacity);
    this.insertOff = new Int32Array(buffer, next(4), capacity);
    this.constRegVals = new Int32Array(buffer, next(40), 10 * capacity);
    this.kptrStructBTF = new Int32Array(buffer, next(4), capacity);
    this.kptrStructID = new Int32Array(buffer, next(4), capacity);
    this.liveRegsBefore = new Uint16Array(buffer, next(2), capacity);
    this.constRegMask = new Uint16Array(buffer, next(2), capacity);
    this.constRegMapMask = new Uint16Array(buffer, next(2), capacity);
    this.constRegSubprogMask = new Uint16Array(buffer, next(2), capacity);
    this.aluState = new Uint8Array(buffer, next(1), capacity);
    this.fastcallSpills = new Uint8Array(buffer, next(1), capacity);
    this.argProg = new Uint8Array(buffer, next(1), capacity);
    this.begin(n);
  }

  /** Forgets everything, for a program of `n` instructions. */
  begin(n: number): void {
    this.#words.fill(0);
    this.jumpTables = undefined;
    const { mapIndex, origIdx, kptrStructID } = this;
    for (let i = 0; i < n; i++) {
      mapIndex[i] = -1;
      origIdx[i] = i;
      kptrStructID[i] = -1;
    }
  }
}

/** An argument of a global function as its BTF says. `type` is `ARG_*` with flags. */
export interface SubprogArg {
  type: number;
  memSize: number;
  btfID: number;
}

const NO_SUBPROG_ARGS: readonly SubprogArg[] = [];

/** One subprogram. Entry `subprogCount` of the list is the end marker, whose `start` is the number of instructions. */
export class Subprog {
  start: number;
  name: string | undefined = undefined;
  linfoIdx = 0;
  postorderStart = 0;
  exitIdx = 0;
  stackDepth = 0;
  stackExtra = 0;
  insnsTotal = 0;
  insnsSelf = 0;
  fastcallStackOff = 0;
  hasTailCall = false;
  mightThrow = false;
  tailCallReachable = false;
  hasLDAbs = false;
  isCallback = false;
  isAsyncCallback = false;
  isExceptionCallback = false;
  argsCached = false;
  keepFastcallStack = false;
  changesPktData = false;
  mightSleep = false;
  argCount = 0;
  args: readonly SubprogArg[] = NO_SUBPROG_ARGS;
  stackArgCount = 0;
  maxOutStackArgCount = 0;
  privStackMode = 0;
  // Of func_info.
  typeID = 0;
  linkage = 0;
  /** BTF does not describe it truly (`func_info_aux.unreliable`). */
  unreliable = false;
  /** Reached, and verified, in a context that cannot sleep (bit 0) or can (bit 1). */
  called = 0;
  verified = 0;

  constructor(start: number) {
    this.start = start;
  }
}

/** One record of `line_info`. */
export interface LineInfo {
  readonly insn: number;
  readonly fileNameOffset: number;
  readonly lineOffset: number;
  readonly lineCol: number;
}

const NO_ARGUMENTS: readonly ContextArgument[] = [];
const NO_DIGEST: Uint8Array = new Uint8Array(32);
const UNDECIDED: Admission = { verdict: 0, keyringType: 0, keyringSerial: 0, digest: undefined, boundMaps: [] };
const NO_ORDER: Int32Array = new Int32Array(0);
const NO_NOTES: InsnAux = new InsnAux(0);

export class VerifierEnv {
  readonly load: ProgramLoad;
  readonly ext: VerifierEnvironment;
  readonly log: VerifierLog;
  diag: Diagnostics | undefined = undefined;

  insns: Insns;
  aux: InsnAux;
  subprogs: Subprog[] = [];
  subprogCount = 0;
  hiddenSubprogCount = 0;
  exceptionCallbackSubprog = 0;
  /** Subprograms, callees first. */
  topoOrder: Int32Array = NO_ORDER;
  /** Instructions in post-order, grouped by subprogram. */
  postorder: Int32Array = NO_ORDER;
  /** The same for analyses that go backward: where nothing jumps back each instruction comes after all that follow it. */
  backward: Int32Array = NO_ORDER;
  /** Instructions in {@link postorder}. */
  reachable = 0;
  /** Scratch: targets of the last `insnSuccessors`. */
  succ: Int32Array = NO_ORDER;
  sccCount = 0;
  /** Some jump may go to an instruction in front of it, or a call may run a callback again and again; known with {@link sccCount}. */
  jumpsBack = true;

  /** The program's type as the rules see it: an extension's is its target's. */
  progType: number;
  /** Type by which prototypes and context rules are chosen (`env->ops`). */
  opsType: number;
  expectedAttachType: number;
  readonly sleepable: boolean;
  jitRequired = false;

  allowPtrLeaks: boolean;
  allowUninitStack: boolean;
  bypassSpecV1: boolean;
  bypassSpecV4: boolean;
  bpfCapable: boolean;
  strictAlignment: boolean;
  testStateFreq: boolean;
  testRegInvariants: boolean;
  exploreAluLimits = false;
  seenDirectWrite = false;
  seenException = false;
  changesPktData = false;
  mightSleep = false;
  maxCtxOffset = 0;
  maxPktOffset = 0;
  maxTPAccess = 0;
  maxRdonlyAccess = 0;
  maxRdwrAccess = 0;
  cbAccess = false;
  dstNeeded = false;
  tailCallReachable = false;
  /** A struct_ops member asked for a stack of its own. */
  privStackRequested = false;

  /** The maps that the program binds, in the kernel's order. */
  readonly usedMaps: MapDescriptor[] = [];
  /** Maps that registers refer to by index: the used ones first (same indices), then inner maps as they come. */
  readonly mapTable: MapDescriptor[] = [];
  readonly insnArrayMaps: MapDescriptor[] = [];
  readonly usedBTFs: BTFDescriptor[] = [];
  /** BTFs that registers refer to by index; 0 stands for none. */
  readonly btfTable: (BTFDescriptor | undefined)[] = [undefined];
  arena: MapDescriptor | undefined = undefined;
  cgroupStorage: (MapDescriptor | undefined)[] = [undefined, undefined];
  /** Continuous `fd_array`, resolved; `undefined` where it is sparse or absent. */
  fdArray: (MapDescriptor | BTFDescriptor)[] | undefined = undefined;
  signed = false;
  #digest: Uint8Array = NO_DIGEST;
  /** What {@link digest} is to be computed from when it is asked for. */
  #digested: Uint8Array | undefined = undefined;
  /** What admission recorded (verifier/admission.ts). */
  admission: Admission = UNDECIDED;

  /** What the machine gets of a verified program. */
  machine: (Pick<VerifiedProgram, 'instructions' | 'subprograms' | 'stackDepths' | 'exceptionCallback'> & { readonly machineIndex: Int32Array }) | undefined = undefined;
  /** The same program rewritten. */
  xlated: XlatedProgram | undefined = undefined;

  /** The program's own BTF (`prog_btf_fd`). */
  btf: BTFDescriptor | undefined = undefined;
  lineInfo: LineInfo[] = [];
  prevLineInfo: LineInfo | undefined = undefined;
  funcInfoCount = 0;
  funcInfo: { readonly insn: number; readonly typeID: number }[] = [];
  /** Type of the attach target's prototype in `attachBTF`, 0 for none; and its name. */
  attachFuncProto = 0;
  attachFuncName = '';
  attachBTFTrace = false;
  attachBTF: BTF | undefined;
  /** Arguments of the context, once the attach target is known. */
  contextArguments: readonly ContextArgument[] = NO_ARGUMENTS;
  /** It looks at `__sk_buff.tstamp_type`, and therefore gets `tstamp` as it is. */
  readsTimestampType = false;
  savedDstProgType = 0;
  savedDstAttachType = 0;

  readonly workspace: Workspace = takeWorkspace();
  readonly pool: StatePool = this.workspace.pool;
  /** Arrays that do not outlive the load. */
  readonly slab: Slab = this.workspace.slab;
  /** The current state's words and bytes ({@link StatePool.w}). */
  readonly w: Int32Array;
  readonly b: Uint8Array;
  /** States to be explored, last in first out. */
  readonly pending: VState[] = [];
  /** Error of the last push that gave no state. */
  pushError = 0;
  /** A state was just entered: log where from, and all of it. */
  printNextState = false;
  /** Instruction that the state popped last came from. */
  poppedPrevInsn = -1;
  /** Entry of the jump history that belongs to the instruction being checked, -1 for none yet. */
  historyEntry = -1;
  /** Checkpoints of the run under way. */
  readonly explored: ExploredStates = this.workspace.explored;
  /** Stack liveness, once it is computed. */
  liveStack: LiveStack | undefined = undefined;
  /** It is computed when it is first asked. */
  isStackLivenessDue = false;
  /** Module BTFs that kfunc calls name, by `off`. */
  kfuncBTFs: Map<number, BTFDescriptor> | undefined = undefined;
  /** The state being checked; `undefined` between runs. */
  cur: VState;
  insnIdx = 0;
  prevInsnIdx = -1;
  passCount = 0;
  idGen = 0;
  insnProcessed = 0;
  prevInsnProcessed = 0;
  jmpsProcessed = 0;
  prevJmpsProcessed = 0;
  maxStatesPerInsn = 0;
  totalStates = 0;
  peakStates = 0;
  longestMarkReadWalk = 0;
  exploredStatesSize = 0;
  freeListSize = 0;
  numBackedges = 0;
  maxStackDepth = 0;

  scratchedRegs = 0;
  scratchedSlotsLo = 0;
  scratchedSlotsHi = 0;
  prevLogPos = 0;
  prevInsnPrintPos = 0;

  // Precision backtracking (`struct backtrack_state`).
  btFrame = 0;
  readonly btRegMasks: Int32Array = this.slab.i32(MAX_CALL_FRAMES);
  readonly btStackLo: Int32Array = this.slab.i32(MAX_CALL_FRAMES);
  readonly btStackHi: Int32Array = this.slab.i32(MAX_CALL_FRAMES);
  readonly btArgMasks: Int32Array = this.slab.i32(MAX_CALL_FRAMES);

  constructor(load: ProgramLoad, ext: VerifierEnvironment) {
    this.load = load;
    this.ext = ext;
    this.log = new VerifierLog(load.log.level, load.log.size, load.log.present);
    this.insns = new Insns(load.instructions, this.slab);
    this.aux = NO_NOTES;
    this.progType = load.type;
    this.opsType = load.type;
    this.expectedAttachType = load.expectedAttachType;
    this.sleepable = (load.flags & BPF_F_SLEEPABLE) !== 0;
    const caps = load.capabilities;
    this.allowPtrLeaks = caps.perfmon;
    this.allowUninitStack = caps.perfmon;
    this.bypassSpecV1 = caps.perfmon;
    this.bypassSpecV4 = caps.perfmon;
    this.bpfCapable = caps.bpf;
    this.strictAlignment = (load.flags & BPF_F_STRICT_ALIGNMENT) !== 0 && (load.flags & BPF_F_ANY_ALIGNMENT) === 0;
    this.testStateFreq = caps.bpf && (load.flags & BPF_F_TEST_STATE_FREQ) !== 0;
    this.testRegInvariants = (load.flags & BPF_F_TEST_REG_INVARIANTS) !== 0;
    this.attachBTF = load.attachBTF?.btf;
    this.cur = this.pool.current;
    this.w = this.pool.w;
    this.b = this.pool.b;
    this.savedDstProgType = load.attachProgram?.type ?? 0;
    this.savedDstAttachType = load.attachProgram?.expectedAttachType ?? 0;
  }

  /** SHA-256 over the instructions as they were passed, map references taken out. */
  get digest(): Uint8Array {
    if (this.#digested !== undefined) {
      this.#digest = sha256WithoutMaps(this.#digested);
      this.#digested = undefined;
    }
    return this.#digest;
  }

  set digest(digest: Uint8Array) {
    this.#digest = digest;
  }

  /** Has {@link digest} computed once somebody asks: of a program that is refused mostly nobody does. `bytes` are changed by that. */
  digestLater(bytes: Uint8Array): void {
    this.#digested = bytes;
  }

  /** Index of a map in {@link mapTable}, added if new. */
  mapIndexOf(map: MapDescriptor): number {
    const at = this.mapTable.indexOf(map);
    return at >= 0 ? at : this.mapTable.push(map) - 1;
  }

  /** Index of a BTF in {@link btfTable}, added if new. */
  btfIndexOf(btf: BTFDescriptor): number {
    for (let i = 1; i < this.btfTable.length; i++) if (this.btfTable[i]!.btf === btf.btf) return i;
    return this.btfTable.push(btf) - 1;
  }

  /** The type graph behind an index of {@link btfTable}. */
  btfAt(index: number): BTF | undefined {
    return this.btfTable[index]?.btf;
  }

  /** The program type that decides (`resolve_prog_type`): of an extension its target's. */
  get resolvedProgType(): number {
    return this.load.type === BPF_PROG_TYPE_EXT && this.savedDstProgType !== 0 ? this.savedDstProgType : this.load.type;
  }

  /** `start` of the subprogram after `index`. */
  subprogEnd(index: number): number {
    return this.subprogs[index + 1]!.start;
  }
}

/** Index of the subprogram that holds an instruction, -1 for none (`bpf_find_containing_subprog`). */
export function findContainingSubprog(env: VerifierEnv, off: number): number {
  if (off >= env.insns.count || off < 0 || env.subprogCount === 0) return -1;
  let low = 0;
  let high = env.subprogCount - 1;
  while (low < high) {
    const middle = low + ((high - low + 1) >> 1);
    if (env.subprogs[middle]!.start <= off) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Index of the subprogram that starts at an instruction, -1 for none (`bpf_find_subprog`). */
export function findSubprog(env: VerifierEnv, off: number): number {
  const at = findContainingSubprog(env, off);
  return at >= 0 && env.subprogs[at]!.start === off ? at : -1;
}
