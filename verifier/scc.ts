/**
 * @module verifier/scc
 * Strongly connected components of the control-flow graph: instructions of one loop get the same number, those of none get 0.
 * Tarjan's algorithm with a stack of its own instead of recursion. Reproduces `bpf_compute_scc` of kernel/bpf/cfg.c, with its
 * numbering.
 */
import { BPF_CALL, BPF_EXIT, BPF_JMP, BPF_JMP32 } from '../isa/uapi.ts';
import { insnSuccessors } from './cfg.ts';
import { AUX_CALLS_CALLBACK, type VerifierEnv } from './env.ts';
import { jumpOffset } from './subprogs.ts';

/** Not reachable by any preorder number. */
const NOT_ON_STACK = 0xffffffff;

/** False where everything goes forward: no jump to an instruction in front, no call that runs a callback again and again. */
export function mayJumpBack(env: VerifierEnv): boolean {
  const { code, count } = env.insns;
  const { flags, jumpTables } = env.aux;
  if (jumpTables !== undefined) return true;
  for (let i = 0; i < count; i++) {
    const cls = code[i]! & 7;
    if (cls !== BPF_JMP && cls !== BPF_JMP32) continue;
    const operation = code[i]! & 0xf0;
    if (operation === BPF_CALL ? (flags[i]! & AUX_CALLS_CALLBACK) !== 0 : operation !== BPF_EXIT && jumpOffset(env, i) < 0) return true;
  }
  return false;
}

/** Fills `aux.scc` and `env.sccCount` (numbers in use, 0 included); 0. */
export function computeSCC(env: VerifierEnv): number {
  const { count } = env.insns;
  const { aux } = env;
  env.jumpsBack = mayJumpBack(env);
  if (!env.jumpsBack) {
    env.sccCount = 1;
    return 0;
  }
  const members = env.slab.i32(count, false);
  const preorder = env.slab.u32(count);
  const low = env.slab.u32(count);
  const walk = env.slab.i32(count, false);
  let nextPreorder = 1;
  let nextSCC = 1;
  for (let root = 0; root < count; root++) {
    if (preorder[root] !== 0) continue;
    let memberCount = 0;
    let depth = 1;
    walk[0] = root;
    while (depth > 0) {
      const at = walk[depth - 1]!;
      if (preorder[at] === 0) {
        low[at] = nextPreorder;
        preorder[at] = nextPreorder++;
        members[memberCount++] = at;
      }
      const successors = insnSuccessors(env, at);
      let hasSelfEdge = false;
      let unvisited = -1;
      for (let s = 0; s < successors && unvisited < 0; s++) {
        const next = env.succ[s]!;
        if (preorder[next] === 0) {
          unvisited = next;
          break;
        }
        if (low[next]! < low[at]!) low[at] = low[next]!;
        if (next === at) hasSelfEdge = true;
      }
      if (unvisited >= 0) {
        walk[depth++] = unvisited;
        continue;
      }
      depth--;
      if (low[at]! < preorder[at]!) continue;
      // A loop needs two instructions, an edge to itself, or a call that runs a callback again and again.
      const isLoop = members[memberCount - 1] !== at || hasSelfEdge || (aux.flags[at]! & AUX_CALLS_CALLBACK) !== 0;
      let member: number;
      do {
        member = members[--memberCount]!;
        low[member] = NOT_ON_STACK;
        if (isLoop) aux.scc[member] = nextSCC;
      } while (member !== at);
      if (isLoop) nextSCC++;
    }
  }
  env.sccCount = nextSCC;
  return 0;
}
