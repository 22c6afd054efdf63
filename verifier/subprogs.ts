/**
 * @module verifier/subprogs
 * Finds the subprograms of a program, checks that each is closed under its own jumps and ends properly, and orders them
 * callees first. Reproduces `add_subprogs`, `check_subprogs`, `sort_subprogs_topo` (kernel/bpf/verifier.c). What happens
 * inside a subprogram is cfg.ts.
 */
import { E2BIG, EFAULT, EINVAL, ENOENT, EPERM } from '../isa/errno.ts';
import {
  BPF_ABS, BPF_CALL, BPF_DW, BPF_EXIT, BPF_FUNC_tail_call, BPF_IMM, BPF_IND, BPF_JA, BPF_JCOND, BPF_JMP, BPF_JMP32, BPF_LD, BPF_MAY_GOTO, BPF_PSEUDO_CALL,
  BPF_PSEUDO_FUNC, BPF_PSEUDO_KFUNC_CALL, BPF_X, BTF_FUNC_GLOBAL, BTF_KIND_DECL_TAG, BTF_KIND_FUNC,
} from '../isa/uapi.ts';
import { BPF_MAX_SUBPROGS, findContainingSubprog, findSubprog, Subprog, type VerifierEnv } from './env.ts';
import { BPF_LOG_LEVEL2 } from './log_levels.ts';

const CALL = BPF_JMP | BPF_CALL;
const LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW;

export function isPseudoCall(env: VerifierEnv, i: number): boolean {
  return env.insns.code[i] === CALL && env.insns.src[i] === BPF_PSEUDO_CALL;
}

export function isPseudoFunc(env: VerifierEnv, i: number): boolean {
  return env.insns.code[i] === LD_IMM64 && env.insns.src[i] === BPF_PSEUDO_FUNC;
}

export function isPseudoKfuncCall(env: VerifierEnv, i: number): boolean {
  return env.insns.code[i] === CALL && env.insns.src[i] === BPF_PSEUDO_KFUNC_CALL;
}

export function isHelperCall(env: VerifierEnv, i: number): boolean {
  return env.insns.code[i] === CALL && env.insns.src[i] === 0;
}

/** `may_goto`: a jump that is taken once the program has looped for too long. */
export function isMayGoto(env: VerifierEnv, i: number): boolean {
  return env.insns.code[i] === (BPF_JMP | BPF_JCOND) && env.insns.src[i] === BPF_MAY_GOTO;
}

export function isGotox(env: VerifierEnv, i: number): boolean {
  return env.insns.code[i] === (BPF_JMP | BPF_JA | BPF_X);
}

/** Distance of a jump in instructions (`bpf_jmp_offset`). */
export function jumpOffset(env: VerifierEnv, i: number): number {
  return env.insns.code[i] === (BPF_JMP32 | BPF_JA) ? env.insns.imm[i]! : env.insns.off[i]!;
}

/** Name of a subprogram for messages; `""` without BTF. */
export function subprogName(env: VerifierEnv, index: number): string {
  const btf = env.btf?.btf;
  const sub = env.subprogs[index]!;
  if (btf === undefined || sub.typeID === 0) return '';
  return btf.typeName(sub.typeID);
}

/** True for a function with global linkage (`bpf_subprog_is_global`). */
export function isGlobalSubprog(env: VerifierEnv, index: number): boolean {
  return env.funcInfoCount > 0 && env.subprogs[index]!.linkage === BTF_FUNC_GLOBAL;
}

function addSubprog(env: VerifierEnv, off: number): number {
  if (off >= env.insns.count || off < 0) {
    env.log.write('call to invalid destination\n');
    return -EINVAL;
  }
  const found = findSubprog(env, off);
  if (found >= 0) return found;
  if (env.subprogCount >= BPF_MAX_SUBPROGS) {
    env.log.write('too many subprograms\n');
    return -E2BIG;
  }
  const sub = new Subprog(off);
  let at = env.subprogCount;
  while (at > 0 && env.subprogs[at - 1]!.start > off) at--;
  if (at === env.subprogs.length) env.subprogs.push(sub);
  else env.subprogs.splice(at, 0, sub);
  env.subprogCount++;
  return at;
}

function refuseFunctions(env: VerifierEnv, insn: number, isReference: boolean): number {
  env.log.write('loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN\n');
  env.diag?.policy(
    insn,
    isReference ? 'BPF function reference' : 'BPF-to-BPF function call',
    'loading or calling other BPF functions requires CAP_BPF or CAP_SYS_ADMIN',
    `Load this program with the required capability, or avoid ${isReference ? 'BPF function references' : 'BPF-to-BPF function calls'} in unprivileged programs.`,
  );
  return -EPERM;
}

const EXCEPTION_CALLBACK_TAG = 'exception_callback:';

/** Instruction of the exception callback named by a tag on the main program; 0 for none, `-errno`. */
function exceptionCallbackInsn(env: VerifierEnv): number {
  const btf = env.btf?.btf;
  if (env.funcInfoCount === 0 || btf === undefined) return 0;
  const main = env.funcInfo[0]!.typeID;
  let name: string | undefined;
  for (let id = btf.startID; id < btf.endID; id++) {
    if (btf.kind(id) !== BTF_KIND_DECL_TAG || btf.type(id) !== main || btf.declTagComponent(id) !== -1) continue;
    const tag = btf.typeName(id);
    if (!tag.startsWith(EXCEPTION_CALLBACK_TAG)) continue;
    if (name !== undefined) {
      env.log.write('multiple exception callback tags for main subprog\n');
      return -17;
    }
    name = tag.slice(EXCEPTION_CALLBACK_TAG.length);
  }
  if (name === undefined) return 0;
  let id = -1;
  for (let t = btf.startID; t < btf.endID && id < 0; t++) if (btf.kind(t) === BTF_KIND_FUNC && btf.typeName(t) === name) id = t;
  if (id < 0) {
    env.log.write(`exception callback '${name}' could not be found in BTF\n`);
    return -ENOENT;
  }
  if (btf.functionLinkage(id) !== BTF_FUNC_GLOBAL) {
    env.log.write(`exception callback '${name}' must have global linkage\n`);
    return -EINVAL;
  }
  let insn = 0;
  for (const info of env.funcInfo) {
    if (info.typeID !== id) continue;
    insn = info.insn;
    if (insn === 0) {
      env.log.write('invalid exception callback insn_off in func_info: 0\n');
      return -EINVAL;
    }
  }
  if (insn === 0) {
    env.log.write('exception callback type id not found in func_info\n');
    return -EINVAL;
  }
  return insn;
}

/** Finds every function that is called or referred to; 0 or `-errno`. */
export function addSubprogs(env: VerifierEnv): number {
  const first = addSubprog(env, 0);
  if (first < 0) return first;
  const n = env.insns.count;
  for (let i = 0; i < n; i++) {
    const isReference = isPseudoFunc(env, i);
    if (!isReference && !isPseudoCall(env, i)) continue;
    if (!env.bpfCapable) return refuseFunctions(env, i, isReference);
    const added = addSubprog(env, i + env.insns.imm[i]! + 1);
    if (added < 0) return added;
  }
  const exceptionInsn = exceptionCallbackInsn(env);
  if (exceptionInsn < 0) return exceptionInsn;
  if (exceptionInsn > 0) {
    const at = addSubprog(env, exceptionInsn);
    if (at < 0) return at;
    for (let i = 1; i < env.subprogCount; i++) {
      if (env.subprogs[i]!.start !== exceptionInsn) continue;
      env.exceptionCallbackSubprog = i;
      markExceptionCallback(env, i);
      break;
    }
  }
  env.subprogs.push(new Subprog(n));
  if ((env.log.level & BPF_LOG_LEVEL2) !== 0) {
    for (let i = 0; i < env.subprogCount; i++) env.log.write(`func#${i} @${env.subprogs[i]!.start}\n`);
  }
  return 0;
}

/** Marks a subprogram as the exception callback (`bpf_mark_subprog_exc_cb`). */
export function markExceptionCallback(env: VerifierEnv, index: number): void {
  const sub = env.subprogs[index]!;
  sub.isCallback = true;
  sub.isAsyncCallback = true;
  sub.isExceptionCallback = true;
}

/** Every jump stays in its subprogram, every subprogram ends in an exit or a jump; 0 or `-errno`. */
export function checkSubprogs(env: VerifierEnv): number {
  const { code, src, imm, count } = env.insns;
  let cur = 0;
  let start = env.subprogs[0]!.start;
  let end = env.subprogs[1]!.start;
  for (let i = 0; i < count; i++) {
    const op = code[i]!;
    const cls = op & 7;
    const sub = env.subprogs[cur]!;
    if (op === CALL && src[i] === 0 && imm[i] === BPF_FUNC_tail_call) {
      sub.hasTailCall = true;
      sub.tailCallReachable = true;
    }
    if (cls === BPF_LD && ((op & 0xe0) === BPF_ABS || (op & 0xe0) === BPF_IND)) sub.hasLDAbs = true;
    if (cls === BPF_JMP || cls === BPF_JMP32) {
      const operation = op & 0xf0;
      if (operation === BPF_EXIT) sub.exitIdx = i;
      else if (operation !== BPF_CALL && !isGotox(env, i)) {
        const off = i + jumpOffset(env, i) + 1;
        if (off < start || off >= end) {
          env.log.write(`jump out of range from insn ${i} to ${off}\n`);
          env.diag?.programStructure(
            i, 'jump out of range', 'Keep branch targets within the same subprogram, or use an explicit subprogram call.',
            `Instruction ${i} jumps to instruction ${off}, but subprogram ${cur} only contains instructions ${start} through ${end - 1}. A branch target must stay inside the same subprogram.`,
          );
          return -EINVAL;
        }
      }
    }
    if (i !== end - 1) continue;
    if (op !== (BPF_JMP | BPF_EXIT) && op !== (BPF_JMP32 | BPF_JA) && op !== (BPF_JMP | BPF_JA) && !isGotox(env, i)) {
      env.log.write('last insn is not an exit or jmp\n');
      env.diag?.programStructure(
        i, 'subprogram can fall through', 'End each subprogram with an exit or an explicit jump that keeps control flow inside the subprogram.',
        `Subprogram ${cur} reaches its last instruction ${i} without an exit or jump, so control could continue into the next subprogram.`,
      );
      return -EINVAL;
    }
    start = end;
    cur++;
    if (cur < env.subprogCount) end = env.subprogs[cur + 1]!.start;
  }
  return 0;
}

/** Fills `env.topoOrder`, callees first; refuses recursion. 0 or `-errno`. */
export function sortSubprogsTopologically(env: VerifierEnv): number {
  const n = env.subprogCount;
  const color = env.slab.u8(n);
  const stack = env.slab.i32(n);
  const order = env.slab.i32(n);
  let placed = 0;
  for (let root = 0; root < n; root++) {
    if (color[root] !== 0) continue;
    let top = 0;
    color[root] = 1;
    stack[top++] = root;
    while (top > 0) {
      const cur = stack[top - 1]!;
      const next = firstUnvisitedCallee(env, cur, color);
      if (next < -1) return next === -2 ? -EFAULT : -EINVAL;
      if (next >= 0) {
        color[next] = 1;
        stack[top++] = next;
        continue;
      }
      color[cur] = 2;
      order[placed++] = cur;
      top--;
    }
  }
  env.topoOrder = order;
  if ((env.log.level & BPF_LOG_LEVEL2) !== 0) {
    for (let i = 0; i < n; i++) env.log.write(`topo_order[${i}] = ${subprogName(env, order[i]!)}\n`);
  }
  return 0;
}

/** A callee not yet visited, -1 for none, -2 for a broken reference, -3 for recursion (already reported). */
function firstUnvisitedCallee(env: VerifierEnv, cur: number, color: Uint8Array): number {
  const to = env.subprogs[cur + 1]!.postorderStart;
  for (let j = env.subprogs[cur]!.postorderStart; j < to; j++) {
    const i = env.postorder[j]!;
    const isReference = isPseudoFunc(env, i);
    if (!isReference && !isPseudoCall(env, i)) continue;
    const callee = findSubprog(env, i + env.insns.imm[i]! + 1);
    if (callee < 0) return -2;
    if (color[callee] === 2) continue;
    if (color[callee] === 0) return callee;
    if (isReference) continue;
    env.log.write(`recursive call from ${subprogName(env, cur)}() to ${subprogName(env, callee)}()\n`);
    env.diag?.programStructure(
      i, 'recursive subprogram call', 'Rewrite the recursion as an explicit bounded loop, or split the logic so subprogram calls do not form a cycle.',
      'This bpf2bpf call would make the subprogram call graph recursive. The verifier requires a finite, acyclic call graph so it can bound stack depth and analysis.',
    );
    return -3;
  }
  return -1;
}

/** The subprogram an instruction belongs to. */
export function subprogAt(env: VerifierEnv, insn: number): Subprog {
  return env.subprogs[Math.max(0, findContainingSubprog(env, insn))]!;
}

/** True for a function whose BTF result is void. */
export function subprogReturnsVoid(env: VerifierEnv, subprog: number): boolean {
  const btf = env.btf!.btf;
  return btf.skipModifiers(btf.type(btf.type(env.subprogs[subprog]!.typeID))) === 0;
}
