/** Whole programs from their text: verdict, error number and what the log says, as Linux 7.3 says it. */
import { describe, expect, it } from 'vitest';
import { EACCES, EINVAL } from '../../../isa/errno.ts';
import { checkPrintfFormat } from '../../../verifier/printf_format.ts';
import type { Verdict } from '../../../verifier/types.ts';
import { verify } from '../../../verifier/verify.ts';
import { environmentOf, type LoadOptions } from './analysis-support.ts';

function load(program: string, options: LoadOptions = {}): Verdict {
  const env = environmentOf(program, options);
  return verify(env.load, env.ext);
}

function refuses(program: string, errno: number, ...messages: readonly string[]): void {
  const verdict = load(program);
  for (const message of messages) expect(verdict.log).toContain(message);
  expect([verdict.errno, verdict.program]).toEqual([errno, undefined]);
}

function accepts(program: string, processed: number): Verdict {
  const verdict = load(program);
  expect([verdict.errno, verdict.log]).toEqual([0, expect.stringContaining(`processed ${processed} insns`)]);
  expect(verdict.program?.fullyVerified).toBe(true);
  return verdict;
}

describe('registers and stack', () => {
  it('a constant is a result', () => {
    accepts('r0 = 0\nexit', 2);
  });
  it('registers must be written first', () => {
    refuses('r0 = r2\nexit', EACCES, 'R2 !read_ok');
    refuses('exit', EACCES, 'R0 !read_ok');
  });
  it('the frame pointer is read-only', () => {
    refuses('r10 = 0\nr0 = 0\nexit', EACCES, 'frame pointer is read only');
  });
  it('the stack ends at 512 bytes', () => {
    accepts('r1 = 7\n*(u64 *)(r10 -512) = r1\nr0 = 0\nexit', 4);
    refuses('*(u64 *)(r10 -520) = 0\nr0 = 0\nexit', EACCES, 'invalid write to stack R10 off=-520 size=8');
    refuses('*(u64 *)(r10 +0) = 0\nr0 = 0\nexit', EACCES, 'invalid write to stack R10 off=0 size=8');
  });
  it('a spilled pointer comes back as one', () => {
    accepts('*(u64 *)(r10 -8) = r1\nr2 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r2 +0)\nexit', 4);
  });
  it('a spilled constant comes back as one', () => {
    accepts('r1 = -8\n*(u64 *)(r10 -8) = r1\nr2 = *(u64 *)(r10 -8)\nr3 = r10\nr3 += r2\n*(u64 *)(r3 +0) = 1\nr0 = 0\nexit', 8);
  });
});

describe('values and branches', () => {
  it('a mask bounds a variable stack offset', () => {
    accepts('r2 = *(u32 *)(r1 +0)\nr2 &= 7\nr3 = r10\nr3 += -8\nr3 += r2\n*(u8 *)(r3 +0) = 1\nr0 = 0\nexit', 8);
    refuses('r2 = *(u32 *)(r1 +0)\nr3 = r10\nr3 += -8\nr3 += r2\n*(u8 *)(r3 +0) = 1\nr0 = 0\nexit', EACCES, 'invalid unbounded variable-offset write to stack R3');
  });
  it('a decided branch is not followed', () => {
    accepts('r0 = 5\nif r0 == 5 goto +1\nr0 = r9\nexit', 3);
  });
  it('a loop without end is found', () => {
    refuses('r0 = 0\ngoto -1\nexit', EINVAL, 'unreachable insn');
    refuses('r0 = 0\nif r0 != 1 goto -1\nexit', EINVAL, 'infinite loop detected at insn 1');
  });
  it('a bounded loop is walked to its end', () => {
    accepts('r1 = 0\nr1 += 1\nif r1 < 100 goto -2\nr0 = 0\nexit', 203);
  });
  it('branches of like outcome meet', () => {
    const text = ['r6 = *(u32 *)(r1 +0)'];
    for (let i = 0; i < 200; i++) text.push('if r6 == 7 goto +1', 'r0 = 1', 'r0 = 2');
    const verdict = load(`${text.join('\n')}\nr0 = 0\nexit`);
    expect(verdict.errno).toBe(0);
    // with nothing pruned the paths would double at each branch
    expect(verdict.stats.instructionsProcessed).toBeLessThan(20_000);
  });
});

describe('calls and programs', () => {
  it('refuses helpers that do not exist', () => {
    refuses('call 9999\nr0 = 0\nexit', EINVAL, 'invalid func unknown#9999');
  });
  it('checks what a program may return', () => {
    const verdict = load('r0 = 2\nexit', { type: 15 });
    expect(verdict.errno).not.toBe(0);
  });
  it('goes into static functions and adds their stacks', () => {
    const verdict = accepts('call pc+2\nr0 = 0\nexit\n*(u64 *)(r10 -16) = 0\nr0 = 1\nexit', 6);
    expect(verdict.program?.stackDepths).toEqual([0, 16]);
  });
});

describe('programs without privilege', () => {
  const plain: LoadOptions = { type: 1, isPrivileged: false };
  it('may not let pointers out', () => {
    expect(load('r0 = r10\nexit', plain).log).toContain('R0 leaks addr as return value');
    expect(load('r0 = r1\nr0 += r1\nr0 = 0\nexit', plain).errno).toBe(EACCES);
  });
  it('may not compare them', () => {
    expect(load('r0 = 0\nif r1 != 7 goto +0\nexit', plain).log).toContain('R1 pointer comparison prohibited');
  });
});

describe('formats of bpf_trace_printk', () => {
  it('take what fits the arguments', () => {
    const good = [['%d %llx', 2], ['100%%', 0], ['%-8lu', 1], ['%s %p', 2], ['%pI4', 1]] as const;
    const bad = [['%d %d', 1], ['%f', 1], ['%', 1], ['\u0001', 0], ['%lld\u007f', 1]] as const;
    expect(good.map(([format, args]) => checkPrintfFormat(format, args))).toEqual(good.map(() => 0));
    expect(bad.map(([format, args]) => checkPrintfFormat(format, args))).toEqual(bad.map(() => -EINVAL));
  });
});
