/** The oracle that asks a real kernel: here the "real" one is our own behind the same system calls, right or changed on purpose. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../crypto/bytes.ts';
import { RECORDED_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { InputError } from '../../../isa/errors.ts';
import { Kernel } from '../../../kernel/kernel.ts';
import type { BytecodeInput } from '../../../src/fuzz/bytecode/input.ts';
import { createTarget as createBytecodeTarget } from '../../../src/fuzz/targets/bytecode.ts';
import { createTarget as createLoaderTarget } from '../../../src/fuzz/targets/loader.ts';
import { createTarget as createObjectTarget } from '../../../src/fuzz/targets/object.ts';
import { createTarget as createSignatureTarget } from '../../../src/fuzz/targets/signature.ts';
import { createTarget } from '../../../src/fuzz/targets/syscalls.ts';
import type { Target } from '../../../src/fuzz/types.ts';
import * as U from '../../../isa/uapi.ts';
import { makeCall, NO_ANSWER } from '../../../src/fuzz/mutators/calls.ts';
import { cpioArchive, KernelMachine } from '../../../src/node/kernel-machine.ts';
import { comparableAnswers, comparableOperations, openReferenceKernel, performHere, ReferenceKernel, type RealKernel } from '../../../src/node/reference-kernel.ts';
import { loadNativeCalls, SystemCallTarget, type NativeCalls } from '../../../src/node/system-calls.ts';
import { agentLine, readAgentAnswer } from '../../../src/replay/agent-lines.ts';
import { Performer, type Got } from '../../../src/replay/perform.ts';
import type { Operation } from '../../../src/replay/transcript.ts';
import { writeOperation } from '../../../src/replay/write.ts';
import { environment } from './support.ts';

const X64 = { bpf: 321, addKey: 248, keyctl: 250, capget: 125, capset: 126, mmap: 9, munmap: 11, close: 3, dup: 32 };

/** System calls of x86-64 on a kernel of ours. Private memory lies beside the kernel's own user memory. */
class FakeNative implements NativeCalls {
  readonly kernel: Kernel = new Kernel({ algorithms: RECORDED_ALGORITHMS });
  readonly calls: number[] = [];
  permitted = 0x1ffffffffffn;

  call(number: number, ...args: readonly (number | bigint)[]): number {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = args.map(Number);
    const { kernel } = this;
    this.calls.push(number);
    switch (number) {
      case X64.bpf: return kernel.bpf(a, b, c);
      case X64.close: return kernel.close(a);
      case X64.dup: return kernel.dup(a);
      case X64.mmap: return e === -1 ? kernel.allocUser(b) : kernel.mmap(a, b, c, d, e, f);
      case X64.munmap: {
        kernel.munmap(a, b);
        return 0;
      }
      case X64.keyctl: return kernel.keyctl(a, b, c);
      case X64.addKey: {
        const text = (at: number): string => new TextDecoder().decode(kernel.readUser(at, 32)).split('\0')[0] ?? '';
        return kernel.addKey(text(a), text(b), kernel.readUser(c, d), e);
      }
      case X64.capget: {
        const view = new DataView(new ArrayBuffer(24));
        view.setUint32(4, Number(this.permitted & 0xffffffffn), true);
        view.setUint32(16, Number(this.permitted >> 32n), true);
        kernel.writeUser(b, new Uint8Array(view.buffer));
        return 0;
      }
      case X64.capset: {
        const view = new DataView(kernel.readUser(b, 24).slice().buffer);
        kernel.setCapabilities(BigInt(view.getUint32(0, true)) | (BigInt(view.getUint32(12, true)) << 32n));
        return 0;
      }
      default: throw new Error(`no system call ${number}`);
    }
  }

  read(address: number, length: number): Uint8Array {
    return this.kernel.readUser(address, length);
  }

  write(address: number, bytes: Uint8Array): void {
    this.kernel.writeUser(address, bytes);
  }
}

const SEQUENCE: readonly Operation[] = [
  makeCall('MAP_CREATE', { map_type: 1, key_size: 4, value_size: 8, max_entries: 2 }, { save: 0 }),
  makeCall('MAP_UPDATE_ELEM', { key: Uint8Array.of(1, 0, 0, 0), value: Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0) }, { fds: { map_fd: 0 } }),
  { op: 'dup', slot: 0, save: 1, want: NO_ANSWER },
  { op: 'close', slot: 0, want: NO_ANSWER },
  makeCall('MAP_LOOKUP_ELEM', { key: Uint8Array.of(1, 0, 0, 0) }, { fds: { map_fd: 1 }, outs: { value: 8 } }),
  { op: 'caps', effective: 0n, want: NO_ANSWER },
  makeCall('MAP_FREEZE', {}, { fds: { map_fd: 1 } }),
  makeCall('PROG_LOAD', { prog_type: 31, insns: Uint8Array.of(0x95, 0, 0, 0, 0, 0, 0, 0), insn_cnt: 1, license: Uint8Array.of(0) }),
];

const transcriptOf = (operations: readonly Operation[]): string => operations.map((operation) => writeOperation(operation, NO_ANSWER)).join('\n');

describe('system calls of this process', () => {
  it('give what our kernel gives, and what they take is given back', () => {
    const native = new FakeNative();
    const target = new SystemCallTarget(native, 'x64');
    const performer = new Performer(target);
    expect(SEQUENCE.map((operation) => performer.perform(operation))).toEqual(performHere(SEQUENCE));
    performer.reset();
    performer.release();
    expect(native.kernel.objects().files).toEqual([]);
    expect(native.kernel.capabilities).toBe(native.permitted);
  });

  it('leave the process its own descriptors, and know two architectures', () => {
    const native = new FakeNative();
    expect(new SystemCallTarget(native, 'x64').close(1)).toBe(-9);
    expect(native.calls).not.toContain(X64.close);
    expect(() => new SystemCallTarget(native, 'riscv64')).toThrow(InputError);
  });

  it('need koffi', async () => {
    await expect(loadNativeCalls(() => Promise.reject(new Error('not found')))).rejects.toThrow(InputError);
    if (process.platform !== 'linux') return;
    const memory = new Uint8Array(64);
    // As koffi takes them: each argument by its place in the prototype.
    const copy = (to: Uint8Array | number, from: Uint8Array | number, size: number): void => {
      const at = (place: Uint8Array | number): Uint8Array => (typeof place === 'number' ? memory.subarray(place) : place);
      at(to).set(at(from).subarray(0, size));
    };
    const module = {
      errno: () => 22,
      load: () => ({
        func: (prototype: string) => (...args: readonly unknown[]): unknown => {
          if (prototype.includes('syscall')) return args[0] === 1 ? -1 : 5;
          const kinds = prototype.slice(prototype.indexOf('(')).split(',').map((part) => (part.includes('*') ? 'object' : 'number'));
          expect(args.map((arg) => typeof arg)).toEqual(kinds);
          return copy(args[0] as number, args[1] as number, args[2] as number);
        },
      }),
    };
    const native = await loadNativeCalls(() => Promise.resolve({ default: module }));
    expect([native.call(1), native.call(2, 3)]).toEqual([-22, 5]);
    native.write(8, Uint8Array.of(1, 2, 3));
    expect([...native.read(7, 4)]).toEqual([0, 1, 2, 3]);
  });
});

describe('comparing with a real kernel', () => {
  const target = createTarget(environment());
  const real = (change: (operation: Operation, got: Got) => Got): RealKernel => ({
    perform: (cases) => Promise.resolve(cases.map((operations) => performHere(operations)!.map((got, i) => change(operations[i]!, got)))),
  });
  const input = target.serialise({ operations: SEQUENCE, fault: undefined });

  it('finds nothing where both agree', async () => {
    expect(await new ReferenceKernel(target, real((_, got) => got)).compare([input, input])).toEqual([]);
  });

  it('names the operation and the field that differ', async () => {
    const changed = real((operation, got) => (operation.op === 'bpf' && operation.name === 'PROG_LOAD' ? { ...got, ret: -1, errno: 7 } : got));
    const [finding] = await new ReferenceKernel(target, changed).compare([input]);
    expect([finding?.oracle, finding?.trace]).toEqual(['kernel', 'PROG_LOAD errno, EPERM for E2BIG']);
  });

  it('compares no return value that is the moment\'s, the process\'s or an address', () => {
    const programs = createBytecodeTarget(environment());
    const exit = [0x95, 0, 0, 0, 0, 0, 0, 0];
    const returned = (...instructions: readonly number[]): number | undefined => {
      const transcript = programs.toTranscript({ kind: 0, flags: 0, data: 1, instructions: Uint8Array.from(instructions) } satisfies BytecodeInput)!;
      return comparableAnswers(comparableOperations(transcript)!)!.at(-1)!.retval;
    };
    expect(returned(0xb7, 0, 0, 0, 7, 0, 0, 0, ...exit)).toBe(7);
    expect(returned(0xbf, 0x10, 0, 0, 0, 0, 0, 0, ...exit)).toBeUndefined();
    // What nobody wrote to the stack.
    expect(returned(0x79, 0xa0, 0xf8, 0xff, 0, 0, 0, 0, ...exit)).toBeUndefined();
    expect(returned(0x85, 0, 0, 0, U.BPF_FUNC_get_prandom_u32, 0, 0, 0, 0x57, 0, 0, 0, 1, 0, 0, 0, ...exit)).toBeUndefined();
  });

  it('passes over how far a buffer can be read beyond its end, and programs that are verified for long', async () => {
    const load = makeCall('BTF_LOAD', { btf: new Uint8Array(24), btf_size: 0x7ffff });
    const bytes = target.serialise({ operations: [load], fault: undefined });
    const faulting = real((_, got) => ({ ...got, errno: 14 }));
    expect(await new ReferenceKernel(target, faulting).compare([bytes])).toEqual([]);
    // for (r6 = 0; r6 != 100,000; r6++), and a number that is new every time
    const loop = [0xb7, 6, 0, 0, 0, 0, 0, 0, 7, 6, 0, 0, 1, 0, 0, 0, 0x55, 6, 0xfe, 0xff, 0xa0, 0x86, 1, 0, 0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    expect(performHere([makeCall('PROG_LOAD', { prog_type: 1, insns: Uint8Array.from(loop), insn_cnt: 5, license: Uint8Array.of(0) })])).toBeUndefined();
  });

  it('asks for loads of skeletons, signed programs and BTF as user space does', () => {
    const ask = (name: 'loader' | 'signature' | 'object', input: object): readonly Got[] => {
      const programs = { loader: createLoaderTarget, signature: createSignatureTarget, object: createObjectTarget }[name](environment()) as Target;
      const transcript = programs.toTranscript(programs.deserialise(new TextEncoder().encode(JSON.stringify(input))))!;
      return comparableAnswers(comparableOperations(transcript)!)!;
    };
    for (const signed of [false, true]) {
      const answers = ask('loader', { base: 'onemap', signed, resign: true });
      expect(answers.map(({ errno }) => errno)).toEqual([0, 0, 0, 0, 0, 0]);
      expect(answers.at(-1)).toMatchObject({ retval: 0, log: expect.stringContaining('processed ') });
    }
    const payload = toHex(Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0));
    expect(ask('signature', { payload, message: '3000', certificates: [] })).toMatchObject([{ ret: -1, errno: 74 }]);
    expect(ask('object', { kind: 'btf', bytes: '9feb0100' })).toMatchObject([{ ret: -1, errno: 22, log: expect.stringContaining('hdr_len') }]);
  });

  it('says where there is nothing to ask', async () => {
    await expect(openReferenceKernel('engines', undefined)).rejects.toThrow(/engines/);
    await expect(openReferenceKernel('loader', undefined)).rejects.toThrow(/--kernel-image/);
  });

  it('reports a real kernel that dies, with its last words', async () => {
    const dying: RealKernel = { lastWords: 'BUG: unable to handle', perform: (cases) => Promise.resolve(cases.map((operations, i) => performHere(operations)!.slice(0, i === 0 ? 99 : 2))) };
    const findings = await new ReferenceKernel(target, dying).compare([input, input]);
    expect(findings.map(({ trace, message }) => [trace, message])).toEqual([['the real kernel died in dup', 'the real kernel died in operation 2 (dup): BUG: unable to handle']]);
  });

  it('passes over what depends on the kernel, and over addresses that are no buffers', () => {
    expect(comparableOperations(transcriptOf(SEQUENCE))).toHaveLength(SEQUENCE.length);
    expect(comparableOperations(transcriptOf([makeCall('MAP_GET_NEXT_ID', {})]))).toBeUndefined();
    expect(comparableOperations(transcriptOf([makeCall('MAP_LOOKUP_ELEM', { key: 4096 })]))).toBeUndefined();
    const cut = makeCall('MAP_LOOKUP_ELEM', { key: new Uint8Array(4) }, { outs: { value: 8 } });
    expect(comparableOperations(transcriptOf([{ ...cut, attr: cut.attr.slice(0, 20) }]))).toBeUndefined();
    expect(comparableOperations(transcriptOf([makeCall('MAP_CREATE', { map_type: 2, key_size: 4, value_size: 1 << 30, max_entries: 1 })]))).toBeUndefined();
  });
});

describe('the agent in the machine', () => {
  it('gets a line an operation, and its answers read as ours', () => {
    expect(SEQUENCE.map(agentLine).map((line) => line.split(' ')[0])).toEqual(['bpf', 'bpf', 'dup', 'close', 'bpf', 'caps', 'bpf', 'bpf']);
    expect(agentLine(SEQUENCE[4]!)).toMatch(/^bpf 1 0{64} p8=01000000 o16=8 f0=1$/);
    expect(readAgentAnswer(SEQUENCE[0]!, '3 0')).toMatchObject({ ret: 'fd', errno: 0 });
    expect(readAgentAnswer(SEQUENCE[4]!, '0 0 16=0700')).toMatchObject({ ret: 0, errno: 0, out: { 16: '07' } });
    const run = makeCall('PROG_TEST_RUN', {});
    expect(readAgentAnswer(run, '0 0 a00000000070000000000000002000000')).toMatchObject({ ret: 0, retval: 7, dataSizeOut: 2 });
    expect(readAgentAnswer(run, '0 0 a0000')).toMatchObject({ ret: 0, retval: undefined });
    expect(readAgentAnswer(SEQUENCE[2]!, '-1 9')).toEqual({ ret: -1, errno: 9 });
    expect(() => readAgentAnswer(SEQUENCE[0]!, 'panic')).toThrow(InputError);
  });

  it('is not started without an image', () => {
    expect(() => new KernelMachine('/no/such/image')).toThrow(InputError);
  });

  it('is packed as Linux unpacks it', () => {
    const bytes = Buffer.from(cpioArchive([{ name: 'init', mode: 0o100755, bytes: new TextEncoder().encode('hello') }]));
    expect(bytes.subarray(0, 6).toString()).toBe('070701');
    expect(bytes.length % 4).toBe(0);
    const text = bytes.toString('latin1');
    expect([text.indexOf('init\0'), text.indexOf('hello'), text.indexOf('TRAILER!!!')].map((at) => at > 0)).toEqual([true, true, true]);
    expect(parseInt(text.slice(54, 62), 16)).toBe(5);
    // Where there is a cpio, it agrees.
    const folder = mkdtempSync(join(tmpdir(), 'cpio-'));
    try {
      writeFileSync(join(folder, 'archive'), bytes);
      execFileSync('cpio', ['-id', '--quiet'], { cwd: folder, input: readFileSync(join(folder, 'archive')), stdio: ['pipe', 'ignore', 'ignore'] });
      expect(readFileSync(join(folder, 'init'), 'utf8')).toBe('hello');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
