/** Analyses over the instructions before the walk: control flow, loops, constants; kernel functions; reports. */
import { describe, expect, it } from 'vitest';
import { EINVAL } from '../../../isa/errno.ts';
import {
  BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_LSM, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_SYSCALL, BPF_PROG_TYPE_XDP, BTF_KIND_FUNC,
} from '../../../isa/uapi.ts';
import { checkCFG, computePostorder } from '../../../verifier/cfg.ts';
import { computeConstRegs, pruneDeadBranches } from '../../../verifier/const_fold.ts';
import { DiagEvents, EVENT_BRANCH } from '../../../verifier/diag_events.ts';
import { writeWrapped } from '../../../verifier/diag_source.ts';
import { sumText } from '../../../verifier/diag_words.ts';
import { AUX_JUMP_TARGET, AUX_PRUNE_POINT, type VerifierEnv } from '../../../verifier/env.ts';
import { isKfuncAllowed } from '../../../verifier/kfunc_access.ts';
import { KF_ARG_CONST, KF_ARG_PTR_TO_BTF_ID, KF_ARG_PTR_TO_CTX, KF_ARG_PTR_TO_DYNPTR } from '../../../verifier/kfunc_params.ts';
import { addKfuncCall, fetchKfuncMeta, findKfuncDesc } from '../../../verifier/kfuncs.ts';
import { insnText } from '../../../verifier/print.ts';
import { computeSCC } from '../../../verifier/scc.ts';
import { environmentOf, kernelBTF } from './analysis-support.ts';

function analyzed(program: string): VerifierEnv {
  const env = environmentOf(program);
  expect(checkCFG(env)).toBe(0);
  computePostorder(env);
  return env;
}

function kfunc(name: string): number {
  return kernelBTF().btf.findByNameKind(name, BTF_KIND_FUNC);
}

describe('control flow', () => {
  it('refuses what cannot be reached', () => {
    const env = environmentOf('r0 = 0\ngoto +1\nr0 = 1\nexit');
    expect(checkCFG(env)).toBe(-EINVAL);
    expect(env.log.render()).toContain('unreachable insn 2\n\nVerification failed: Program Structure: Unreachable instruction\n');
  });

  it('refuses back-edges without privilege', () => {
    const program = 'r0 = 0\nif r0 == 1 goto -2\nexit';
    expect(checkCFG(environmentOf(program))).toBe(0);
    const env = environmentOf(program, { isPrivileged: false });
    expect(checkCFG(env)).toBe(-EINVAL);
    expect(env.log.render()).toContain('back-edge from insn 1 to 0\n');
  });

  it('marks where states are compared', () => {
    const env = analyzed('r0 = 0\nif r0 == 1 goto +1\nr0 = 2\nexit');
    expect([...env.aux.flags.subarray(0, env.insns.count)].map((flags) => flags & (AUX_PRUNE_POINT | AUX_JUMP_TARGET)))
      .toEqual([0, AUX_PRUNE_POINT, 0, AUX_PRUNE_POINT | AUX_JUMP_TARGET]);
  });

  it('numbers loops, innermost first', () => {
    const env = analyzed('r0 = 0\nr0 += 1\nif r0 < 5 goto -2\nif r0 < 9 goto -3\nr0 = 0\nif r0 != 0 goto -1\nexit');
    computeSCC(env);
    expect([...env.aux.scc.subarray(0, env.insns.count)]).toEqual([0, 2, 2, 2, 0, 1, 0]);
    expect(env.sccCount).toBe(3);
  });
});

describe('constants', () => {
  const constantsAt = (env: VerifierEnv, insn: number): Record<string, number> => {
    const known: Record<string, number> = {};
    for (let r = 0; r < 10; r++) if ((env.aux.constRegMask[insn]! & (1 << r)) !== 0) known[`r${r}`] = env.aux.constRegVals[insn * 10 + r]!;
    return known;
  };

  it('follow moves, sums, masks and sign extension', () => {
    const env = analyzed('r1 = 7\nr2 = r1\nr2 += 5\nw3 = -1\nr4 = r3\nr4 &= 0\nr5 = (s8)r3\nr0 = 0\nexit');
    computeConstRegs(env);
    // r5 is -1 in 64 bits, which does not fit 32 unsigned ones.
    expect(constantsAt(env, 8)).toEqual({ r0: 0, r1: 7, r2: 12, r3: -1, r4: 0 });
  });

  it('end where paths or calls disagree', () => {
    const env = analyzed('r6 = 1\nr7 = 1\nif r1 == 0 goto +1\nr7 = 2\ncall bpf_ktime_get_ns\nexit');
    computeConstRegs(env);
    expect(constantsAt(env, 4)).toEqual({ r6: 1 });
    const called = analyzed('r1 = 5\nr6 = 5\ncall bpf_ktime_get_ns\nexit');
    computeConstRegs(called);
    expect(constantsAt(called, 3)).toEqual({ r6: 5 });
  });

  it('decide branches', () => {
    const env = analyzed('r1 = 5\nif r1 > 3 goto +1\nr0 = 1\nif w1 s< -1 goto +1\nr0 = 0\nexit');
    computeConstRegs(env);
    expect(pruneDeadBranches(env)).toBe(0);
    expect([1, 3].map((i) => insnText(env, i))).toEqual(['(05) goto pc+1', '(05) goto pc+0']);
    expect(env.postorder.subarray(0, env.reachable)).not.toContain(2);
  });
});

describe('kernel functions', () => {
  it('depend on the type of the program', () => {
    const allows = (type: number, name: string, options: object = {}): boolean => {
      const env = environmentOf('r0 = 0\nexit', { type, ...options });
      return isKfuncAllowed(env, env.btfIndexOf(kernelBTF()), kfunc(name));
    };
    expect(allows(BPF_PROG_TYPE_SOCKET_FILTER, 'bpf_rcu_read_lock')).toBe(true);
    expect(allows(BPF_PROG_TYPE_SOCKET_FILTER, 'bpf_obj_new_impl')).toBe(false);
    expect(allows(BPF_PROG_TYPE_XDP, 'bpf_obj_new_impl')).toBe(true);
    expect(allows(BPF_PROG_TYPE_XDP, 'bpf_dynptr_from_xdp')).toBe(true);
    expect(allows(BPF_PROG_TYPE_KPROBE, 'bpf_session_cookie')).toBe(false);
    expect(allows(BPF_PROG_TYPE_KPROBE, 'bpf_session_cookie', { expectedAttachType: 56 })).toBe(true);
    expect(allows(BPF_PROG_TYPE_LSM, 'bpf_get_file_xattr')).toBe(true);
    expect(allows(BPF_PROG_TYPE_SYSCALL, 'bpf_get_file_xattr')).toBe(false);
  });

  it('have arguments by type and by suffix', () => {
    const env = environmentOf('r0 = 0\nexit');
    for (const name of ['bpf_dynptr_from_skb', 'bpf_obj_new_impl', 'bpf_task_release']) expect(addKfuncCall(env, kfunc(name), 0)).toBe(0);
    const kinds = (name: string): number[] => [...(findKfuncDesc(env, kfunc(name), 0)?.argTypes ?? [])].slice(0, 3);
    expect(kinds('bpf_dynptr_from_skb')[0]).toBe(KF_ARG_PTR_TO_CTX);
    expect(kinds('bpf_dynptr_from_skb')[2]).toBe(KF_ARG_PTR_TO_DYNPTR);
    expect(kinds('bpf_obj_new_impl')[0]).toBe(KF_ARG_CONST);
    expect(kinds('bpf_task_release')[0]).toBe(KF_ARG_PTR_TO_BTF_ID);
  });

  it('are refused with the reason', () => {
    const env = environmentOf('r0 = 0\nexit');
    expect(addKfuncCall(env, -1, 0)).toBe(-EINVAL);
    expect(addKfuncCall(env, 1, 0)).toBe(-EINVAL);
    expect(addKfuncCall(env, kfunc('bpf_task_release'), -1)).toBe(-EINVAL);
    expect(fetchKfuncMeta(env, kfunc('bpf_session_cookie'), 0)).toBe(-13);
    expect(env.log.render()).toBe([
      'invalid kernel function btf_id -1', 'kernel btf_id 1 is not a function',
      'negative offset disallowed for kernel module function call', 'failed to find BTF for kernel function', '',
    ].join('\n'));
  });
});

describe('reports', () => {
  it('wrap at 100 columns', () => {
    const env = environmentOf('r0 = 0\nexit');
    writeWrapped(env, '- ', '  ', `${'word '.repeat(25)}end\nnext`);
    const lines = env.log.render().split('\n');
    expect(lines[0]).toBe(`- ${'word '.repeat(19).trimEnd()}`);
    expect(lines.slice(1)).toEqual([`  ${'word '.repeat(6)}end`, '  next', '']);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
  });

  it('forget events of paths that are given up, and the oldest where there are too many', () => {
    const events = new DiagEvents();
    events.append(1, EVENT_BRANCH);
    const mark = events.save();
    for (let i = 0; i < 100; i++) events.append(i, EVENT_BRANCH);
    events.restore(mark);
    expect([events.count, events.words[events.at(0)]]).toEqual([1, 1]);
    for (let i = 0; i < 450_000; i++) events.append(i, EVENT_BRANCH);
    expect(events.firstSeq).toBe(450_001 - events.count);
    expect(events.words[events.at(events.count - 1)]).toBe(449_999);
    events.restore(mark);
    expect([events.count, events.firstSeq]).toEqual([0, mark]);
  });

  it('say sums that do not fit in words', () => {
    expect(sumText(5n, -7)).toBe('-2');
    expect(sumText(2n ** 63n - 1n, 1)).toBe('9223372036854775807 plus 1 (above S64_MAX)');
    expect(sumText(-(2n ** 63n), -1)).toBe('-9223372036854775808 plus -1 (below S64_MIN)');
  });
});
