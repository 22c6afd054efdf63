/**
 * @module verifier/diagnostics
 * "Verification failed" reports: what is wrong, why, where, which way led there, and what to do. Owns the words and the choice of
 * events that make up the causal path; the checks say what happened through {@link Diagnostics}. Reproduces
 * kernel/bpf/diagnostics.c.
 */
import { BPF_ALU, BPF_ALU64, BPF_MOV, BPF_STX, BPF_X } from '../isa/uapi.ts';
import { btfTypeText } from './btf_name.ts';
import {
  DiagEvents, E_ARG, E_IN_LINEAGE, E_INSN, E_KIND, E_NEW, E_OLD, E_ORIGIN, E_REASON, E_TARGET, EVENT_BRANCH, EVENT_CONTEXT, EVENT_MOD,
  EVENT_REF_ACQUIRE, EVENT_REF_RELEASE, S_BTF, S_BTF_ID, S_MAP, S_R64, S_TYPE, S_VAR, SNAPSHOT_WORDS, T_A, T_B, T_FRAME_ID, T_FRAMENO,
  T_KIND, TARGET_NONE, TARGET_REG, TARGET_STACK_ARG, TARGET_STACK_RANGE, TARGET_STACK_SLOT, TARGET_WORDS, takeSnapshot, targetsMatch,
} from './diag_events.ts';
import { writeParagraph, writeSource } from './diag_source.ts';
import {
  activeContext, capitalized, changeReason, contextConstraint, contextName, isAllocated, isBorrowed, isConstVar, isUnknown, knownBits, lockName, offsetText, scalarRange, scalarText, sumText, targetName, toSigned,
} from './diag_words.ts';
import {
  DIAG_CONTEXT_IRQ, DIAG_CONTEXT_LOCK, DIAG_CONTEXT_PREEMPT, DIAG_CONTEXT_RCU, DIAG_DEREF_MODIFIED_PTR, DIAG_DEREF_NULLABLE_PTR,
  DIAG_DEREF_SCALAR, DIAG_MOD_SPILL,
  DIAG_MOD_WRITE, type Diagnostics,
} from './diagnostics_port.ts';
import type { VerifierEnv } from './env.ts';
import {
  CONST_PTR_TO_MAP, MAX_BPF_FUNC_REG_ARGS, MAX_BPF_REG, NOT_INIT, PTR_MAYBE_NULL, PTR_TO_BTF_ID, PTR_TO_CTX,
  PTR_TO_MAP_VALUE, PTR_TO_MEM, PTR_TO_STACK, PTR_UNTRUSTED, SCALAR_VALUE, baseType, regTypeName,
} from './regtypes.ts';
import {
  F_ALLOCATED_STACK, F_DIAG_ID, F_FRAMENO, F_OUT_STACK_ARGS, F_REGS, F_STACK, REF_ID, REF_INSN, REF_TYPE, REF_TYPE_IRQ,
  REF_WORDS, REG_TYPE, REG_WORDS, SLOT_WORDS, curFrame, regAt, slotAt, stackArgAt,
} from './state.ts';

const REGISTER_TYPE_SAFETY = 'Register Type Safety';
const MEMORY_SAFETY = 'Memory Safety';
const RESOURCE_LIFETIME_SAFETY = 'Resource Lifetime Safety';
const CALL_TYPE_SAFETY = 'Call Type Safety';
const EXECUTION_CONTEXT_SAFETY = 'Execution Context Safety';
const PROGRAM_STRUCTURE = 'Program Structure';
const POLICY = 'Policy';

const CONTEXT_NONE = 0;
/** Events of one path that are shown: half of them from its beginning, half from its end. */
const MAX_SHOWN = 64;

const ORDINALS: readonly string[] = [
  '', 'first', 'second', 'third', 'fourth', 'fifth', 'sixth', 'seventh', 'eighth', 'ninth', 'tenth', 'eleventh', 'twelfth',
];

/** What the path is told of. */
type Scope =
  | { readonly kind: 'register' | 'stackArg'; readonly target: Int32Array }
  | { readonly kind: 'reference'; readonly refID: number }
  | { readonly kind: 'context'; readonly context: number; readonly depth: number };

/** The reports of one load; `undefined` at log levels that want none. */
export function createDiagnostics(env: VerifierEnv): Diagnostics | undefined {
  return env.log.verbose ? new DiagnosticsWriter(env) : undefined;
}

class DiagnosticsWriter implements Diagnostics {
  readonly #env: VerifierEnv;
  readonly #events = new DiagEvents();
  #frameIDs = 0;
  // The change that modBegin announced.
  #modActive = false;
  #modHasOrigin = false;
  #modReason = 0;
  #modInsn = 0;
  readonly #modTarget = new Int32Array(TARGET_WORDS);
  readonly #modOrigin = new Int32Array(TARGET_WORDS);
  readonly #modOld = new Int32Array(SNAPSHOT_WORDS);
  readonly #scratchTarget = new Int32Array(TARGET_WORDS);
  readonly #scratchOrigin = new Int32Array(TARGET_WORDS);
  readonly #scratchOld = new Int32Array(SNAPSHOT_WORDS);
  readonly #scratchNew = new Int32Array(SNAPSHOT_WORDS);

  constructor(env: VerifierEnv) {
    this.#env = env;
  }

  // ---------------------------------------------------------------- reports

  programStructure(insn: number, problem: string, suggestion: string, reason: string): void {
    this.#report(PROGRAM_STRUCTURE, problem, reason, insn, problem, undefined, suggestion);
  }

  policy(insn: number, operation: string, reason: string, suggestion: string): void {
    this.#report(
      POLICY, 'operation is not allowed', `The ${operation} is not allowed: ${reason}.`, insn, `policy check failed for ${operation}`,
      undefined, suggestion,
    );
  }

  registerType(insn: number, regno: number, problem: string, reason: string, suggestion: string): void {
    this.#report(REGISTER_TYPE_SAFETY, problem, reason, insn, problem, this.#registerScope(regno), suggestion);
  }

  callType(
    insn: number, arg: number, regno: number, stackSlot: number, callName: string, argName: string, reason: string, suggestion: string,
  ): void {
    const ordinal = ORDINALS[arg] ?? '';
    let what = 'argument';
    if (ordinal !== '') what = argName === '' ? `${ordinal} argument` : `${ordinal} argument (${argName})`;
    else if (argName !== '') what = `argument ${argName}`;
    const scope = regno >= 0 ? this.#registerScope(regno) : this.#stackArgScope(stackSlot);
    this.#report(
      CALL_TYPE_SAFETY, 'invalid call argument', `The ${what} to ${callName} does not satisfy the verifier contract: ${reason}.`, insn,
      `invalid ${what} for ${callName}`, scope, suggestion,
    );
  }

  ctxForbidden(insn: number, operation: string, suggestion: string): void {
    const { cur } = this.#env;
    let kind = CONTEXT_NONE;
    if (cur.activeRCULocks !== 0) kind = DIAG_CONTEXT_RCU;
    else if (cur.activePreemptLocks !== 0) kind = DIAG_CONTEXT_PREEMPT;
    else if (cur.activeIRQID !== 0) kind = DIAG_CONTEXT_IRQ;
    else if (cur.activeLocks !== 0) kind = DIAG_CONTEXT_LOCK;
    const depth = this.#contextDepth(kind);
    const context = contextName(kind);
    const constraint = contextConstraint(kind);
    let reason = `The operation ${operation} cannot be used in ${context}`;
    if (constraint !== '') reason += ` because ${constraint}`;
    reason += '.';
    if (constraint !== '' && depth !== 0) reason += ` This path is still inside ${activeContext(depth, context)}.`;
    this.#report(
      EXECUTION_CONTEXT_SAFETY, 'operation is not allowed in this context', reason, insn, `${operation} is not allowed in ${context}`,
      kind === CONTEXT_NONE ? undefined : { kind: 'context', context: kind, depth }, suggestion,
    );
  }

  ctxActive(insn: number, operation: string, kind: number, suggestion: string): void {
    const depth = this.#contextDepth(kind);
    const context = contextName(kind);
    this.#report(
      EXECUTION_CONTEXT_SAFETY, 'operation is not allowed in this context',
      `The operation ${operation} cannot be used while this path is still inside ${activeContext(depth, context)}. Leave the region before this operation.`,
      insn, `${operation} is not allowed before leaving ${context}`, { kind: 'context', context: kind, depth }, suggestion,
    );
  }

  ctxRequired(insn: number, operation: string, kind: number, suggestion: string): void {
    const context = contextName(kind);
    this.#report(
      EXECUTION_CONTEXT_SAFETY, 'required context is not active',
      `The operation ${operation} requires an active ${context}, but this path is outside one.`, insn, `${operation} requires ${context}`,
      undefined, suggestion,
    );
  }

  ctxUnderflow(insn: number, operation: string, kind: number, suggestion: string): void {
    const context = contextName(kind);
    this.#report(
      EXECUTION_CONTEXT_SAFETY, 'unmatched context exit',
      `The operation ${operation} tries to leave ${context}, but this path has no active ${context} to leave. The current depth is 0.`,
      insn, `${operation} has no matching enter on this path`, { kind: 'context', context: kind, depth: 0 }, suggestion,
    );
  }

  invalidDeref(insn: number, regno: number, regName: string, reg: number, kind: number, offsetLo: number, offsetHi: number): void {
    const type = this.regTypePlain(this.#env.w[reg + REG_TYPE]!);
    let reason = `${regName} has type ${type} here, which is not valid for this memory access.`;
    let note = `invalid dereference of ${regName} (${type})`;
    let suggestion = 'Preserve a pointer-valued register where needed, or reload and revalidate the pointer after scalar arithmetic, '
      + 'helper calls, or other operations that can invalidate it.';
    if (kind === DIAG_DEREF_SCALAR) {
      reason = `${regName} is an integer scalar here, not a pointer to memory.`;
    } else if (kind === DIAG_DEREF_NULLABLE_PTR) {
      reason = `${regName} may be NULL here (${type}). The program could dereference NULL on this path, so the verifier cannot prove `
        + 'this access is safe.';
      suggestion = 'Add a NULL check before the access and dereference the pointer only on the non-NULL path.';
    } else if (kind === DIAG_DEREF_MODIFIED_PTR) {
      reason = `${regName} has offset ${toSigned(offsetLo, offsetHi)} here, but this pointer type must be dereferenced in its original form.`;
      note = `dereference requires the original ${type} pointer`;
      suggestion = 'Preserve the original pointer in another register, or use only offsets this pointer type permits before '
        + 'dereferencing it.';
    }
    this.#report(REGISTER_TYPE_SAFETY, 'invalid dereference', reason, insn, note, this.#registerScope(regno), suggestion);
  }

  unreadableReg(insn: number, regno: number): void {
    const scope = this.#registerScope(regno);
    const isComplete = this.#events.firstSeq === 0;
    let reason = `R${regno} is not readable here. It may never have been initialized, or an earlier operation may have invalidated it.`;
    let suggestion = 'Initialize the register on every path, or initialize it again after any operation that invalidates it.';
    if (scope !== undefined && this.#wasInvalidated(scope.target)) {
      reason = `R${regno} is not readable here. A previous operation invalidated this register, so the verifier cannot use it as an input.`;
      suggestion = 'Avoid using the register after it is invalidated, or initialize it again before this instruction.';
    } else if (isComplete) {
      reason = `R${regno} has never been initialized on this path, so the verifier cannot use it as an input.`;
      suggestion = `Initialize R${regno} on every path before this instruction.`;
    }
    this.#report(REGISTER_TYPE_SAFETY, 'unreadable register', reason, insn, `R${regno} is not readable`, scope, suggestion);
  }

  stackArgUninit(insn: number, nargs: number, slot: number, calleeName: string, argName: string | undefined): void {
    const ordinal = ORDINALS[MAX_BPF_FUNC_REG_ARGS + slot + 1];
    const details = [ordinal === undefined ? '' : `${ordinal} argument`, argName ?? ''].filter((part) => part !== '').join(', ');
    const what = `outgoing stack argument ${slot + 1}${details === '' ? '' : ` (${details})`}`;
    const callee = calleeName === '' ? 'The callee' : `Function ${calleeName}`;
    this.#report(
      REGISTER_TYPE_SAFETY, 'missing stack argument',
      `${callee} expects ${nargs} arguments, but ${what} is not initialized at this call.`, insn, `${what} is not initialized`,
      this.#stackArgScope(slot),
      'Write the outgoing stack argument after any operation that may invalidate stored pointer values, and before making this call.',
    );
  }

  memory(insn: number, problem: string, reason: string, suggestion: string): void {
    this.#report(MEMORY_SAFETY, problem, reason, insn, problem, undefined, suggestion);
  }

  memBounds(
    insn: number, regno: number, regName: string, typeName: string, proof: string, off: number, size: number, memSize: number, reg: number,
  ): void {
    const offset = this.#accessOffset(off, reg);
    this.#report(
      MEMORY_SAFETY, 'access outside bounds',
      `The verifier cannot prove offset + access_size <= object_size. Here, ${proof}. ${regName} is ${typeName}; offset is ${offset}; `
        + `access_size is ${size}; object_size is ${memSize >>> 0}.`,
      insn, 'access may be outside object bounds', this.#registerScope(regno),
      'Add or adjust a bounds check that proves offset + access_size stays within the object.',
    );
  }

  res(insn: number, problem: string, reason: string, suggestion: string): void {
    this.#report(RESOURCE_LIFETIME_SAFETY, problem, reason, insn, problem, undefined, suggestion);
  }

  lock(insn: number, problem: string, reason: string, suggestion: string, activeLock: number): void {
    this.#open(RESOURCE_LIFETIME_SAFETY, problem, reason, insn, problem);
    if (activeLock >= 0) {
      const { w } = this.#env;
      this.#section('Active lock');
      writeSource(
        this.#env, w[activeLock + REF_INSN]!, 'acquired',
        `active ${lockName(w[activeLock + REF_TYPE]!)} has verifier identity ${w[activeLock + REF_ID]!}`,
      );
    }
    this.#close(suggestion);
  }

  irq(insn: number, problem: string, reason: string, suggestion: string, depth: number): void {
    const scope: Scope | undefined = depth === 0 ? undefined : { kind: 'context', context: DIAG_CONTEXT_IRQ, depth };
    this.#report(RESOURCE_LIFETIME_SAFETY, problem, reason, insn, problem, scope, suggestion);
  }

  leak(refID: number, allocInsn: number, failInsn: number): void {
    this.#report(
      RESOURCE_LIFETIME_SAFETY, 'unreleased resource',
      `Owned resource (id=${refID}) was acquired at instruction ${allocInsn} and still needs to be released before this exit path.`,
      failInsn, `owned resource (id=${refID}) still needs release`, { kind: 'reference', refID },
      'Release or transfer ownership of the acquired resource on every path before the program exits.',
    );
  }

  // ---------------------------------------------------------------- layout

  #report(
    category: string, problem: string, reason: string, insn: number, note: string, scope: Scope | undefined, suggestion: string,
  ): void {
    this.#open(category, problem, reason, insn, note);
    if (scope !== undefined) this.#writeHistory(scope);
    this.#close(suggestion);
  }

  #open(category: string, problem: string, reason: string, insn: number, note: string): void {
    const { log } = this.#env;
    log.about('diagnostic', insn);
    log.write(`\nVerification failed: ${category}${problem === '' ? '' : `: ${capitalized(problem)}`}\n`);
    this.#section('Reason');
    writeParagraph(this.#env, reason);
    this.#section('At');
    writeSource(this.#env, insn, 'error', note);
  }

  #close(suggestion: string): void {
    this.#section('Suggestion');
    writeParagraph(this.#env, suggestion);
    this.#env.log.write('\n');
  }

  #section(title: string): void {
    this.#env.log.write(`\n${title}:\n`);
  }

  // ---------------------------------------------------------------- the path

  #registerScope(regno: number): { readonly kind: 'register'; readonly target: Int32Array } | undefined {
    if (regno < 0) return undefined;
    return { kind: 'register', target: this.#currentTarget(TARGET_REG, regno) };
  }

  #stackArgScope(slot: number): Scope | undefined {
    if (slot < 0) return undefined;
    return { kind: 'stackArg', target: this.#currentTarget(TARGET_STACK_ARG, slot) };
  }

  #currentTarget(kind: number, index: number): Int32Array {
    const { w, cur } = this.#env;
    const frame = curFrame(cur);
    return Int32Array.of(kind, w[frame + F_DIAG_ID]!, w[frame + F_FRAMENO]!, index, 0);
  }

  /** True where the last change of a register left it without a value. */
  #wasInvalidated(target: Int32Array): boolean {
    const { words } = this.#events;
    for (let i = this.#events.count - 1; i >= 0; i--) {
      const event = this.#events.at(i);
      if (words[event + E_KIND] !== EVENT_MOD || !targetsMatch(words, event + E_TARGET, target, 0)) continue;
      return words[event + E_NEW + S_TYPE] === NOT_INIT;
    }
    return false;
  }

  /**
   * Marks the changes that made a value what it is, from the last one back to the write that created it; through copies, fills
   * and spills to where the value came from. Position of the first, -1 for none.
   */
  #markLineage(scope: Scope): number {
    const events = this.#events;
    const { words } = events;
    for (let i = 0; i < events.count; i++) words[events.at(i) + E_IN_LINEAGE] = 0;
    if (scope.kind !== 'register' && scope.kind !== 'stackArg') return -1;
    const target = scope.target.slice();
    let start = -1;
    for (let i = events.count - 1; i >= 0; i--) {
      const event = events.at(i);
      if (words[event + E_KIND] !== EVENT_MOD || !targetsMatch(words, event + E_TARGET, target, 0)) continue;
      words[event + E_IN_LINEAGE] = 1;
      start = i;
      if (words[event + E_ORIGIN + T_KIND] !== TARGET_NONE) {
        target.set(words.subarray(event + E_ORIGIN, event + E_ORIGIN + TARGET_WORDS));
        continue;
      }
      const reason = words[event + E_REASON]!;
      if ((reason === DIAG_MOD_WRITE || reason === DIAG_MOD_SPILL) && !events.keepsLineage(this.#env, event)) break;
    }
    return start;
  }

  #startOf(scope: Scope, lineageStart: number): number {
    const { words } = this.#events;
    if (scope.kind === 'context') return this.#contextStart(scope.context, scope.depth);
    if (lineageStart >= 0) return lineageStart;
    if (scope.kind !== 'reference') return 0;
    for (let i = this.#events.count - 1; i >= 0; i--) {
      const event = this.#events.at(i);
      if (words[event + E_KIND] === EVENT_REF_ACQUIRE && words[event + E_ARG] === scope.refID) return i;
    }
    return 0;
  }

  /** The last outermost entry of a region that is still open. */
  #contextStart(kind: number, depth: number): number {
    if (depth === 0) return 0;
    const { words } = this.#events;
    for (let i = this.#events.count - 1; i >= 0; i--) {
      const event = this.#events.at(i);
      if (words[event + E_KIND] !== EVENT_CONTEXT || words[event + E_ARG] !== kind) continue;
      const isEntry = words[event + E_ARG + 1] === 1;
      if (isEntry && words[event + E_ARG + 2] === 1) return i;
      if (!isEntry && words[event + E_ARG + 2] === 0) return 0;
    }
    return 0;
  }

  #isVisible(event: number, scope: Scope): boolean {
    const { words } = this.#events;
    switch (words[event + E_KIND]) {
      case EVENT_BRANCH: return true;
      case EVENT_MOD: return words[event + E_IN_LINEAGE] === 1;
      case EVENT_REF_ACQUIRE: case EVENT_REF_RELEASE: return scope.kind === 'reference' && words[event + E_ARG] === scope.refID;
      case EVENT_CONTEXT: return scope.kind === 'context' && words[event + E_ARG] === scope.context;
      default: return false;
    }
  }

  #writeHistory(scope: Scope): void {
    const { log } = this.#env;
    const events = this.#events;
    const start = this.#startOf(scope, this.#markLineage(scope));
    const visible: number[] = [];
    for (let i = start; i < events.count; i++) if (this.#isVisible(events.at(i), scope)) visible.push(events.at(i));
    if (visible.length === 0 && events.firstSeq === 0 && scope.kind === 'stackArg') return;

    this.#section('Causal path');
    const half = MAX_SHOWN / 2;
    visible.forEach((event, i) => {
      const isOmitted = visible.length > MAX_SHOWN && i >= half && i < visible.length - half;
      if (isOmitted && i !== half) return;
      if (i > 0) log.write('\n');
      if (isOmitted) log.write(`  ${visible.length - MAX_SHOWN} intermediate causal-history events omitted\n`);
      else this.#writeEvent(event);
    });
    if (visible.length === 0) log.write('  no retained diagnostic events on this path\n');
    if (events.firstSeq > 0) {
      log.write(`  ${events.firstSeq} older causal-history event${events.firstSeq === 1 ? '' : 's'} not retained because diagnostic `
        + 'event storage reached capacity\n');
    }
  }

  #writeEvent(event: number): void {
    const { words } = this.#events;
    const insn = words[event + E_INSN]!;
    switch (words[event + E_KIND]) {
      case EVENT_BRANCH: {
        const isTaken = words[event + E_ARG] === 1;
        const message = `took the ${isTaken ? 'true' : 'false'} branch of this conditional, goto ${isTaken ? 'followed' : 'not followed'}`;
        writeSource(this.#env, insn, 'branch', message);
        break;
      }
      case EVENT_MOD:
        this.#writeChange(event);
        break;
      case EVENT_REF_ACQUIRE:
        writeSource(this.#env, insn, 'acquired', `owned resource (id=${words[event + E_ARG]!})`);
        break;
      case EVENT_REF_RELEASE:
        writeSource(this.#env, insn, 'released', `owned resource (id=${words[event + E_ARG]!})`);
        break;
      default: {
        const verb = words[event + E_ARG + 1] === 1 ? 'entered' : 'left';
        writeSource(this.#env, insn, 'context', `${verb} ${contextName(words[event + E_ARG]!)}; depth is now ${words[event + E_ARG + 2]!}`);
      }
    }
  }

  #writeChange(event: number): void {
    const { words } = this.#events;
    const insn = words[event + E_INSN]!;
    const target = event + E_TARGET;
    const kind = words[target + T_KIND]!;
    if (kind === TARGET_STACK_RANGE) {
      const range = `fp${words[target + T_A]!} through fp${words[target + T_B]! - 1}`;
      writeSource(this.#env, insn, 'invalidated', `variable-offset stack write may affect bytes ${range}`);
      return;
    }
    const old = this.#snapshotText(event + E_OLD);
    const name = targetName(kind, words[target + T_A]!);
    const reason = changeReason(words[event + E_REASON]!, kind);
    if (reason !== '') {
      writeSource(this.#env, insn, 'invalidated', `${name}: ${reason}; previous value was ${old}`);
      return;
    }
    const label = words[event + E_REASON] === DIAG_MOD_SPILL ? 'spilled' : 'update';
    writeSource(this.#env, insn, label, `${name} changed from ${old} to ${this.#snapshotText(event + E_NEW)}`);
  }

  // ---------------------------------------------------------------- values in words

  regTypePlain(type: number): string {
    const isNullable = (type & PTR_MAYBE_NULL) !== 0;
    switch (baseType(type)) {
      case NOT_INIT: return 'an uninitialized value';
      case SCALAR_VALUE: return 'an integer scalar';
      case PTR_TO_CTX: return 'a context pointer';
      case PTR_TO_STACK: return 'a stack pointer';
      case PTR_TO_MAP_VALUE: return isNullable ? 'a nullable map value pointer' : 'a map value pointer';
      case PTR_TO_MEM: return isNullable ? 'a nullable memory pointer' : 'a memory pointer';
      case PTR_TO_BTF_ID:
        if (isNullable) return 'a nullable kernel object pointer';
        if (isBorrowed(type)) return 'a borrowed allocated object pointer';
        if (isAllocated(type)) return 'an owned allocated object pointer';
        return (type & PTR_UNTRUSTED) !== 0 ? 'an untrusted kernel object pointer' : 'a kernel object pointer';
      default: return regTypeName(type);
    }
  }

  #accessOffset(off: number, reg: number): string {
    takeSnapshot(this.#env, reg, this.#scratchNew, 0);
    const snapshot = this.#scratchNew;
    if (isConstVar(snapshot, 0)) return `constant ${sumText(toSigned(snapshot[S_VAR]!, snapshot[S_VAR + 1]!), off)}`;
    if (isUnknown(snapshot, 0)) return 'unbounded';
    const bits = knownBits(snapshot, 0);
    const range = scalarRange(snapshot, S_R64);
    return off !== 0 ? `variable: ${bits}, plus fixed offset ${off}; ${range}` : `variable: ${bits}; ${range}`;
  }

  /** A register's value in words. */
  #snapshotText(at: number): string {
    const { words } = this.#events;
    const type = words[at + S_TYPE]!;
    const base = baseType(type);
    if (type === SCALAR_VALUE) return scalarText(words, at);
    if (type === NOT_INIT) return 'uninitialized value';
    const offset = offsetText(words, at);
    if (base === PTR_TO_CTX) return `context pointer ${offset}`;
    if (base === PTR_TO_STACK) return `stack pointer ${offset}`;
    const mapName = words[at + S_MAP] === 0 ? '' : (this.#env.mapTable[words[at + S_MAP]! - 1]?.name ?? '');
    if (base === PTR_TO_MAP_VALUE) {
      const kind = (type & PTR_MAYBE_NULL) !== 0 ? 'nullable map value' : 'map value';
      return `${kind}${mapName === '' ? '' : ` from ${mapName}`} ${offset}`;
    }
    if (base === CONST_PTR_TO_MAP) return mapName === '' ? 'map pointer' : `map pointer for map ${mapName}`;
    const btf = this.#btfTypeText(words[at + S_BTF]!, words[at + S_BTF_ID]!);
    const ofType = btf === '' ? '' : ` type=${btf}`;
    if (isBorrowed(type)) return `borrowed allocated object pointer${ofType}`;
    if (isAllocated(type)) return `owned allocated object pointer${ofType}`;
    return base === PTR_TO_BTF_ID ? `${regTypeName(type)}${ofType} ${offset}` : `${regTypeName(type)} ${offset}`;
  }

  #btfTypeText(btfIndex: number, typeID: number): string {
    const btf = btfIndex === 0 ? undefined : this.#env.btfAt(btfIndex);
    return btf === undefined || typeID === 0 ? '' : btfTypeText(btf, typeID);
  }

  #contextDepth(kind: number): number {
    const { cur } = this.#env;
    switch (kind) {
      case DIAG_CONTEXT_RCU: return cur.activeRCULocks;
      case DIAG_CONTEXT_PREEMPT: return cur.activePreemptLocks;
      case DIAG_CONTEXT_IRQ: return this.#irqDepth();
      case DIAG_CONTEXT_LOCK: return cur.activeLocks;
      default: return 0;
    }
  }

  #irqDepth(): number {
    const { cur } = this.#env;
    let depth = 0;
    for (let i = 0; i < cur.acquiredRefs; i++) if (cur.w[cur.refsAt + i * REF_WORDS + REF_TYPE] === REF_TYPE_IRQ) depth++;
    return depth;
  }

  // ---------------------------------------------------------------- recording

  initFrame(): number {
    return ++this.#frameIDs;
  }

  recordBranch(insn: number, isTaken: boolean): void {
    const event = this.#events.append(insn, EVENT_BRANCH);
    this.#events.words[event + E_ARG] = isTaken ? 1 : 0;
  }

  modBegin(reg: number, origin: number, reason: number): void {
    this.#modActive = this.#findTarget(reg, this.#modTarget);
    if (!this.#modActive) return;
    takeSnapshot(this.#env, reg, this.#modOld, 0);
    this.#modInsn = this.#env.insnIdx;
    this.#modReason = reason;
    this.#modHasOrigin = origin >= 0 && this.#findTarget(origin, this.#modOrigin);
  }

  modEnd(): void {
    if (!this.#modActive) return;
    this.#modActive = false;
    const reg = this.#registerOf(this.#modTarget);
    if (reg < 0) return;
    takeSnapshot(this.#env, reg, this.#scratchNew, 0);
    this.#recordChange(
      this.#modInsn, this.#modTarget, this.#modReason, this.#modOld, this.#scratchNew, this.#modHasOrigin ? this.#modOrigin : undefined,
    );
  }

  recordScrub(reg: number, reason: number): void {
    if (this.#env.w[reg + REG_TYPE] === NOT_INIT || !this.#findTarget(reg, this.#scratchTarget)) return;
    takeSnapshot(this.#env, reg, this.#scratchOld, 0);
    this.#recordChange(this.#env.insnIdx, this.#scratchTarget, reason, this.#scratchOld, undefined, undefined);
  }

  recordScrubStack(frame: number, minOff: number, maxOff: number, reason: number): void {
    const { w } = this.#env;
    setTarget(this.#scratchTarget, TARGET_STACK_RANGE, w[frame + F_DIAG_ID]!, w[frame + F_FRAMENO]!, minOff, maxOff);
    this.#recordChange(this.#env.insnIdx, this.#scratchTarget, reason, undefined, undefined, undefined);
  }

  recordRefAcquire(insn: number, refID: number): void {
    this.#recordRef(insn, EVENT_REF_ACQUIRE, refID);
  }

  recordRefRelease(insn: number, refID: number): void {
    this.#recordRef(insn, EVENT_REF_RELEASE, refID);
  }

  #recordRef(insn: number, kind: number, refID: number): void {
    const event = this.#events.append(insn, kind);
    this.#events.words[event + E_ARG] = refID;
  }

  recordContext(insn: number, kind: number, isEntered: boolean, depth: number): void {
    const event = this.#events.append(insn, EVENT_CONTEXT);
    const { words } = this.#events;
    words[event + E_ARG] = kind;
    words[event + E_ARG + 1] = isEntered ? 1 : 0;
    words[event + E_ARG + 2] = depth;
  }

  eventLogSave(): number {
    return this.#events.save();
  }

  eventLogRestore(position: number): void {
    this.#events.restore(position);
  }

  #recordChange(
    insn: number, target: Int32Array, reason: number, old: Int32Array | undefined, next: Int32Array | undefined, origin: Int32Array | undefined,
  ): void {
    const hasOrigin = origin !== undefined || this.#findOrigin(insn, target);
    const event = this.#events.append(insn, EVENT_MOD);
    const { words } = this.#events;
    words.set(target, event + E_TARGET);
    words[event + E_REASON] = reason;
    if (old !== undefined) words.set(old, event + E_OLD);
    if (next !== undefined) words.set(next, event + E_NEW);
    if (hasOrigin) {
      words.set(origin ?? this.#scratchOrigin, event + E_ORIGIN);
      return;
    }
    if (old === undefined || next === undefined || (reason !== DIAG_MOD_WRITE && reason !== DIAG_MOD_SPILL)) return;
    for (let i = 0; i < SNAPSHOT_WORDS; i++) if (old[i] !== next[i]) return;
    // Arithmetic that changed nothing is no news.
    if (this.#events.keepsLineage(this.#env, event)) this.#events.dropLast();
  }

  /** Where the instruction itself says that a value comes from: a register that is copied or stored. */
  #findOrigin(insn: number, target: Int32Array): boolean {
    const { insns, w, cur } = this.#env;
    const code = insns.code[insn]!;
    const cls = code & 7;
    const kind = target[T_KIND]!;
    if (kind === TARGET_REG && (cls === BPF_ALU || cls === BPF_ALU64) && (code & 0xf8) === (BPF_MOV | BPF_X)) {
      setTarget(this.#scratchOrigin, TARGET_REG, target[T_FRAME_ID]!, target[T_FRAMENO]!, insns.src[insn]!, 0);
      return true;
    }
    if ((kind !== TARGET_STACK_ARG && kind !== TARGET_STACK_SLOT) || cls !== BPF_STX) return false;
    const frame = curFrame(cur);
    setTarget(this.#scratchOrigin, TARGET_REG, w[frame + F_DIAG_ID]!, w[frame + F_FRAMENO]!, insns.src[insn]!, 0);
    return true;
  }

  /** Finds what a register's words are: a register, an outgoing argument or a stack slot of a live frame. */
  #findTarget(reg: number, target: Int32Array): boolean {
    const { w, cur } = this.#env;
    for (let i = 0; i <= cur.curframe; i++) {
      const frame = cur.frameAt[i]!;
      const id = w[frame + F_DIAG_ID]!;
      const number = w[frame + F_FRAMENO]!;
      const inRegs = reg - (frame + F_REGS);
      if (inRegs >= 0 && inRegs < MAX_BPF_REG * REG_WORDS) {
        setTarget(target, TARGET_REG, id, number, Math.floor(inRegs / REG_WORDS), 0);
        return true;
      }
      const inArgs = reg - stackArgAt(cur, frame, 0);
      if (inArgs >= 0 && inArgs < w[frame + F_OUT_STACK_ARGS]! * REG_WORDS) {
        setTarget(target, TARGET_STACK_ARG, id, number, Math.floor(inArgs / REG_WORDS), 0);
        return true;
      }
      const inStack = reg - (frame + F_STACK);
      if (inStack >= 0 && inStack < (w[frame + F_ALLOCATED_STACK]! >> 3) * SLOT_WORDS) {
        setTarget(target, TARGET_STACK_SLOT, id, number, Math.floor(inStack / SLOT_WORDS), 0);
        return true;
      }
    }
    return false;
  }

  /** The words that a target is now, -1 where its frame is gone. */
  #registerOf(target: Int32Array): number {
    const { w, cur } = this.#env;
    const frameno = target[T_FRAMENO]!;
    if (frameno > cur.curframe) return -1;
    const frame = cur.frameAt[frameno]!;
    if (w[frame + F_DIAG_ID] !== target[T_FRAME_ID]) return -1;
    const index = target[T_A]!;
    switch (target[T_KIND]) {
      case TARGET_REG: return regAt(frame, index);
      case TARGET_STACK_ARG: return index < w[frame + F_OUT_STACK_ARGS]! ? stackArgAt(cur, frame, index) : -1;
      case TARGET_STACK_SLOT: return index < w[frame + F_ALLOCATED_STACK]! >> 3 ? slotAt(frame, index) : -1;
      default: return -1;
    }
  }
}

function setTarget(target: Int32Array, kind: number, frameID: number, frameno: number, a: number, b: number): void {
  target[T_KIND] = kind;
  target[T_FRAME_ID] = frameID;
  target[T_FRAMENO] = frameno;
  target[T_A] = a;
  target[T_B] = b;
}
