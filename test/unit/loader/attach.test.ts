/**
 * What sections say about attaching, and the calls that come of it: the numbers are those of libbpf 1.8 (`strace` of its
 * `bpf_program__attach` shows the same).
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ENOENT, ESRCH, EINVAL } from '../../../isa/errno.ts';
import * as U from '../../../isa/uapi.ts';
import { functionOffset, functionOffsets, matchesPattern } from '../../../loader/live/elf-functions.ts';
import { SkeletonError } from '../../../loader/live/handles.ts';
import { LinkHandle } from '../../../loader/live/links.ts';
import { attachSpec, type AttachKind } from '../../../loader/object/attach-spec.ts';
import { findSectionDef } from '../../../loader/object/section-defs.ts';
import type { ObjectProgram } from '../../../loader/object/model.ts';
import type { Machine } from '../../../loader/port.ts';
import { FakePort } from './fake-port.ts';

function spec(sectionName: string): AttachKind {
  const definition = findSectionDef(sectionName);
  const program: ObjectProgram = {
    name: 'p', sectionName, sectionIndex: 3, sectionOffset: 0, ownLength: 2, instructions: new Uint8Array(16), autoload: true, isGlobal: true, markStatic: false,
    isSubprogram: false, definition, type: definition?.type ?? 0, expectedAttachType: definition?.attachType ?? 0, relocations: [], subOffset: 0,
    functionInfo: [], functionInfoSize: 8, lineInfo: [], lineInfoSize: 16,
  };
  return attachSpec(program);
}

describe('a section', () => {
  it.each<[string, AttachKind]>([
    ['kprobe/do_unlinkat', { kind: 'kprobe', function: 'do_unlinkat', offset: 0, isReturn: false, isSystemCall: false }],
    ['kprobe/do_unlinkat+0x10', { kind: 'kprobe', function: 'do_unlinkat', offset: 16, isReturn: false, isSystemCall: false }],
    ['kprobe/do_unlinkat+010', { kind: 'kprobe', function: 'do_unlinkat', offset: 8, isReturn: false, isSystemCall: false }],
    ['kretprobe/do_unlinkat', { kind: 'kprobe', function: 'do_unlinkat', offset: 0, isReturn: true, isSystemCall: false }],
    ['ksyscall/openat', { kind: 'kprobe', function: 'openat', offset: 0, isReturn: false, isSystemCall: true }],
    ['kretsyscall/openat', { kind: 'kprobe', function: 'openat', offset: 0, isReturn: true, isSystemCall: true }],
    ['uprobe//bin/sh:main+4', { kind: 'uprobe', path: '/bin/sh', function: 'main', offset: 4, isReturn: false }],
    ['uprobe/libc.so.6:operator+', { kind: 'uprobe', path: 'libc.so.6', function: 'operator+', offset: 0, isReturn: false }],
    ['uretprobe.s/sh:main', { kind: 'uprobe', path: 'sh', function: 'main', offset: 0, isReturn: true }],
    ['tp/sched/sched_switch', { kind: 'tracepoint', category: 'sched', name: 'sched_switch' }],
    ['tracepoint.s/raw_syscalls/sys_enter', { kind: 'tracepoint', category: 'raw_syscalls', name: 'sys_enter' }],
    ['raw_tp/sched_switch', { kind: 'raw_tracepoint', name: 'sched_switch' }],
    ['raw_tracepoint.w/nbd_send_request', { kind: 'raw_tracepoint', name: 'nbd_send_request' }],
    ['kprobe.multi/vfs_*', { kind: 'kprobe_multi', attachType: U.BPF_TRACE_KPROBE_MULTI, pattern: 'vfs_*', isReturn: false }],
    ['kretprobe.multi/vfs_read', { kind: 'kprobe_multi', attachType: U.BPF_TRACE_KPROBE_MULTI, pattern: 'vfs_read', isReturn: true }],
    ['kprobe.session/vfs_read', { kind: 'kprobe_multi', attachType: U.BPF_TRACE_KPROBE_SESSION, pattern: 'vfs_read', isReturn: false }],
    ['uprobe.multi.s//bin/sh:ma?n*', { kind: 'uprobe_multi', attachType: U.BPF_TRACE_UPROBE_MULTI, path: '/bin/sh', pattern: 'ma?n*', isReturn: false }],
    ['uretprobe.multi/sh:main', { kind: 'uprobe_multi', attachType: U.BPF_TRACE_UPROBE_MULTI, path: 'sh', pattern: 'main', isReturn: true }],
    ['uprobe.session/sh:main', { kind: 'uprobe_multi', attachType: U.BPF_TRACE_UPROBE_SESSION, path: 'sh', pattern: 'main', isReturn: false }],
    ['fentry.multi/bpf_*', { kind: 'tracing_multi', attachType: U.BPF_TRACE_FENTRY_MULTI, pattern: 'bpf_*' }],
    ['fentry/vfs_read', { kind: 'trace', attachType: U.BPF_TRACE_FENTRY }],
    ['fsession.s/vfs_read', { kind: 'trace', attachType: U.BPF_TRACE_FSESSION }],
    ['tp_btf/sched_switch', { kind: 'trace', attachType: U.BPF_TRACE_RAW_TP }],
    ['freplace/f', { kind: 'trace', attachType: 0 }],
    ['lsm.s/bpf', { kind: 'trace', attachType: U.BPF_LSM_MAC }],
    ['iter/task', { kind: 'iter' }],
  ])('%s is attached to what it names', (section, want) => {
    expect(spec(section)).toEqual(want);
  });

  it.each(['kprobe', 'kretprobe', 'ksyscall', 'uprobe', 'uprobe/', 'uprobe.multi', 'tp', 'raw_tp', 'kprobe.multi', 'fentry.multi', 'usdt', 'xdp', 'perf_event', 'lsm_cgroup/bpf', 'struct_ops/x', 'socket'])(
    '%s is attached by hand', (section) => {
      expect(spec(section)).toEqual({ kind: 'none' });
    });

  it.each([
    ['kprobe/-x', 'kprobe name is invalid: -x'],
    ['kprobe/x+-1', 'kprobe offset must be a non-negative integer: -1'],
    ['kretprobe/x+1', 'kretprobes do not support offset specification'],
    ['uprobe//bin/sh', "prog 'p': section 'uprobe//bin/sh' missing ':function[+offset]' specification"],
    ['uretprobe/sh:main+4', "prog 'p': uretprobes do not support offset specification"],
    ['uprobe.multi/sh', "prog 'p': invalid format of section definition 'uprobe.multi/sh'"],
    ['raw_tp/', "invalid section name 'raw_tp/'"],
    ['tp/sched', "prog 'p': invalid section name 'tp/sched'"],
    ['kprobe.multi/@', 'kprobe multi pattern is invalid: @'],
    ['kprobe.session/', 'kprobe session pattern is invalid: '],
    ['fexit.multi/', 'tracing multi pattern is invalid: '],
  ])('%s is refused in libbpf\'s words', (section, reason) => {
    expect(spec(section)).toEqual({ kind: 'invalid', reason });
  });
});

class FakeMachine implements Machine {
  readonly architecture = 'x64';
  readonly events: { readonly attr: DataView; readonly pid: number; readonly cpu: number }[] = [];
  readonly ioctls: [request: number, fd: number][] = [];
  readonly files: Map<string, Uint8Array | string>;
  eventErrno = 0;
  readonly #port: FakePort;

  constructor(port: FakePort, files: Record<string, Uint8Array | string>) {
    this.#port = port;
    this.files = new Map(Object.entries(files));
  }

  perfEventOpen(attrAddress: number, pid: number, cpu: number): number {
    const attr = this.#port.readUser(attrAddress, 72);
    this.events.push({ attr: new DataView(attr.buffer), pid, cpu });
    return this.eventErrno > 0 ? -this.eventErrno : this.#port.openFD();
  }

  ioctl(fd: number, request: number): number {
    this.ioctls.push([request, fd]);
    return 0;
  }

  readFile(path: string): Uint8Array | number {
    const file = this.files.get(path);
    if (file === undefined) return -ENOENT;
    return typeof file === 'string' ? Buffer.from(file) : file;
  }

  findBinary(name: string): string | number {
    return this.files.has(`/usr/bin/${name}`) ? `/usr/bin/${name}` : -ENOENT;
  }
}

class MachinePort extends FakePort {
  readonly machine: FakeMachine;

  constructor(files: Record<string, Uint8Array | string> = {}) {
    super();
    this.machine = new FakeMachine(this, files);
  }
}

const PROGRAM_FD = 77;
const PMU = { '/sys/bus/event_source/devices/kprobe/type': '8\n', '/sys/bus/event_source/devices/kprobe/format/retprobe': 'config:0\n', '/sys/bus/event_source/devices/uprobe/type': '9\n' };
const link = (port: FakePort, attach: AttachKind): LinkHandle => new LinkHandle('p', attach, () => ({ port, fd: PROGRAM_FD }), () => ({}));
const lastAttr = (port: FakePort): DataView => new DataView((port.calls.at(-1)?.attr ?? new Uint8Array(0)).buffer);
const textAt = (port: FakePort, address: bigint): string => Buffer.from(port.readUser(Number(address), 64)).toString('latin1').split('\0')[0] ?? '';
function errorOf(action: () => void): SkeletonError {
  try {
    action();
  } catch (error) {
    if (error instanceof SkeletonError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('attaching with performance events', () => {
  it('a kprobe is an event of the probe device, tied to the program by a link and switched on', () => {
    const port = new MachinePort(PMU);
    const handle = link(port, spec('kretprobe/vfs_read'));
    handle.attach();
    const [event] = port.machine.events;
    expect([event?.attr.getUint32(0, true), event?.attr.getUint32(4, true), event?.attr.getBigUint64(8, true), event?.attr.getBigUint64(64, true), event?.pid, event?.cpu]).toEqual([8, 72, 1n, 0n, -1, 0]);
    expect(textAt(port, event?.attr.getBigUint64(56, true) ?? 0n)).toBe('vfs_read');
    const attr = lastAttr(port);
    expect([port.calls.at(-1)?.cmd, attr.getUint32(0, true), attr.getUint32(4, true), attr.getUint32(8, true)]).toEqual([U.BPF_LINK_CREATE, PROGRAM_FD, 3, U.BPF_PERF_EVENT]);
    expect(port.machine.ioctls).toEqual([[0x2400, 3]]);
    expect([handle.fd, [...port.openFDs]]).toEqual([4, [3, 4]]);
    handle.detach();
    expect([port.machine.ioctls.at(-1), [...port.openFDs], port.blocks.size]).toEqual([[0x2401, 3], [], 0]);
  });

  it('a system call is the function that this architecture has for it', () => {
    const port = new MachinePort(PMU);
    link(port, spec('ksyscall/openat')).attach();
    expect(port.machine.events.map(({ attr }) => textAt(port, attr.getBigUint64(56, true)))).toEqual(['__x64_sys_bpf', '__x64_sys_openat']);
    const bare = new MachinePort(PMU);
    bare.machine.eventErrno = ENOENT;
    expect(errorOf(() => link(bare, spec('ksyscall/openat')).attach()).message).toBe("'p': failed to create kprobe '__se_sys_openat+0x0' perf event: ENOENT");
  });

  it('a tracepoint is known by the number that tracefs gives it', () => {
    const port = new MachinePort({ '/sys/kernel/tracing/events/sched/sched_switch/id': '316\n' });
    link(port, spec('tp/sched/sched_switch')).attach();
    expect([port.machine.events[0]?.attr.getUint32(0, true), port.machine.events[0]?.attr.getBigUint64(8, true)]).toEqual([2, 316n]);
    expect(errorOf(() => link(port, spec('tp/sched/no')).attach())).toMatchObject({ message: "'p': tracefs has no events/sched/no/id: ENOENT", errno: ENOENT });
  });

  it('a uprobe lies where the file has its function', () => {
    const port = new MachinePort({ ...PMU, '/usr/bin/tool': executable() });
    link(port, spec('uprobe/tool:work+2')).attach();
    const [event] = port.machine.events;
    expect([event?.attr.getUint32(0, true), event?.attr.getBigUint64(64, true), textAt(port, event?.attr.getBigUint64(56, true) ?? 0n)]).toEqual([9, BigInt(0x1040 + 2), '/usr/bin/tool']);
    expect(errorOf(() => link(port, spec('uprobe/tool:missing')).attach()).message).toBe("'p': elf: '/usr/bin/tool': failed to find symbol 'missing': ENOENT");
    expect(errorOf(() => link(port, spec('uprobe/other:work')).attach()).message).toBe("'p': failed to resolve full path for 'other': ENOENT");
    const multi = new MachinePort({ '/usr/bin/tool': executable() });
    link(multi, spec('uprobe.multi/tool:w*')).attach();
    const attr = lastAttr(multi);
    expect([attr.getUint32(8, true), attr.getUint32(48, true), textAt(multi, attr.getBigUint64(16, true))]).toEqual([U.BPF_TRACE_UPROBE_MULTI, 2, '/usr/bin/tool']);
    expect([...new BigUint64Array(multi.readUser(Number(attr.getBigUint64(24, true)), 16).buffer)]).toEqual([0x1040n, 0x1080n]);
  });

  it('closes what it opened where the kernel refuses the link', () => {
    const port = new MachinePort(PMU);
    port.failErrno = EINVAL;
    // Two allocations come before the link's arguments and the call itself.
    port.failAt = 4;
    expect(errorOf(() => link(port, spec('kprobe/vfs_read')).attach()).message).toBe("'p': failed to attach to kprobe 'vfs_read+0x0': EINVAL");
    expect([port.openFDs.size, port.blocks.size]).toEqual([0, 0]);
  });

  it.each(['kprobe/f', 'ksyscall/bpf', 'uprobe/sh:main', 'tp/a/b', 'kprobe.multi/f*', 'uprobe.multi/sh:main'])('%s says what a port without a machine lacks', (section) => {
    expect(errorOf(() => link(new FakePort(), spec(section)).attach())).toMatchObject({ errno: 0, message: expect.stringMatching(/^'p': .*: this needs perf_event_open\(2\) and the machine's files, which the port does not offer$/) });
  });
});

describe('attaching with bpf(2) alone', () => {
  it('one kernel function goes by its name, several by the addresses that tracefs lists', () => {
    const port = new MachinePort({ '/sys/kernel/debug/tracing/available_filter_functions_addrs': 'ffffffff81000010 vfs_read\nffffffff81000020 vfs_write\nffffffff81000030 do_exit [m]\n' });
    link(port, spec('kretprobe.multi/vfs_read')).attach();
    const attr = lastAttr(port);
    expect([attr.getUint32(8, true), attr.getUint32(16, true), attr.getUint32(20, true), attr.getBigUint64(32, true)]).toEqual([U.BPF_TRACE_KPROBE_MULTI, 1, 1, 0n]);
    expect(textAt(port, new DataView(port.readUser(Number(attr.getBigUint64(24, true)), 8).buffer).getBigUint64(0, true))).toBe('vfs_read');
    link(port, spec('kprobe.multi/vfs_*')).attach();
    const all = lastAttr(port);
    expect([all.getUint32(20, true), all.getBigUint64(24, true)]).toEqual([2, 0n]);
    expect([...new BigUint64Array(port.readUser(Number(all.getBigUint64(32, true)), 16).buffer)]).toEqual([0xffffffff81000010n, 0xffffffff81000020n]);
    expect(errorOf(() => link(port, spec('kprobe.multi/nothing*')).attach()).errno).toBe(ENOENT);
    // The kernel has no such symbol: libbpf says that there is none.
    port.failErrno = ESRCH;
    port.failAt = port.events + 4;
    expect(errorOf(() => link(port, spec('kprobe.multi/vfs_read')).attach()).errno).toBe(ENOENT);
  });

  it('what an old kernel does not know as a link is opened as a raw tracepoint', () => {
    const port = new FakePort();
    port.failErrno = EINVAL;
    port.failAt = 2;
    link(port, spec('fentry/vfs_read')).attach();
    expect(port.calls.map(({ cmd }) => cmd)).toEqual([U.BPF_LINK_CREATE, U.BPF_RAW_TRACEPOINT_OPEN]);
    const session = new FakePort();
    [session.failErrno, session.failAt] = [EINVAL, 2];
    expect(errorOf(() => link(session, spec('fsession/vfs_read')).attach()).errno).toBe(EINVAL);
  });

  it('what a section says wrongly is EINVAL, what nobody attaches is no errno', () => {
    expect(errorOf(() => link(new FakePort(), spec('kprobe/-x')).attach())).toMatchObject({ errno: EINVAL, message: "'p': kprobe name is invalid: -x: EINVAL" });
    expect(errorOf(() => link(new FakePort(), spec('usdt/sh:a:b')).attach()).errno).toBe(0);
    expect(errorOf(() => link(new FakePort(), spec('fentry.multi/a*')).attach()).message).toContain("give load() kernelBTF");
  });
});

/** An ELF file with functions `work` at 0x1040 and `wait` at 0x1080 of the file, and a variable `word`. */
function executable(): Uint8Array {
  const bytes = new Uint8Array(0x1200);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setBigUint64(40, 0x100n, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, 4, true);
  const section = (i: number, type: number, address: number, offset: number, size: number, link_: number): void => {
    const at = 0x100 + 64 * i;
    view.setUint32(at + 4, type, true);
    for (const [field, value] of [[16, address], [24, offset], [32, size]] as const) view.setBigUint64(at + field, BigInt(value), true);
    view.setUint32(at + 40, link_, true);
  };
  section(1, 1, 0x401000, 0x1000, 0x200, 0);
  section(2, 2, 0, 0x300, 4 * 24, 3);
  section(3, 3, 0, 0x400, 32, 0);
  bytes.set(Buffer.from('\0work\0wait\0word\0', 'latin1'), 0x400);
  for (const [i, [name, info, value]] of ([[1, 0x12, 0x401040], [6, 0x12, 0x401080], [11, 0x11, 0x401000]] as const).entries()) {
    const at = 0x300 + 24 * (i + 1);
    view.setUint32(at, name, true);
    view.setUint8(at + 4, info);
    view.setUint16(at + 6, 1, true);
    view.setBigUint64(at + 8, BigInt(value), true);
  }
  return bytes;
}

describe('functions of a file', () => {
  it('are found by name or pattern, variables are not', () => {
    expect(functionOffset(executable(), 'work')).toEqual({ offsets: [0x1040] });
    expect(functionOffset(executable(), 'word')).toEqual({ reason: "failed to find symbol 'word'" });
    expect(functionOffsets(executable(), 'w*t')).toEqual({ offsets: [0x1080] });
    expect(functionOffsets(executable(), 'x*')).toEqual({ reason: "failed to find symbols for pattern 'x*'" });
  });

  it('of a real program are found too', () => {
    const found = functionOffsets(readFileSync(process.execPath), 'uv_*');
    expect('offsets' in found && found.offsets.length > 100 && found.offsets.every((offset) => offset > 0)).toBe(true);
  });

  it('are not looked for outside the file', () => {
    const whole = executable();
    for (let length = 0; length < whole.length; length += 37) expect(() => functionOffset(whole.slice(0, length), 'work')).not.toThrow();
    for (let at = 0; at < 0x360; at++) {
      const broken = executable();
      broken[at] = 0xff;
      expect(() => functionOffsets(broken, '*')).not.toThrow();
    }
  });

  it.each([['', '', true], ['a', '', false], ['', '*', true], ['abc', 'a*c', true], ['abc', 'a?c', true], ['ac', 'a?c', false], ['aXbXc', '*X*X*', true], ['abab', '*ab', true], ['abc', '***', true], ['abc', 'ab', false]])(
    'pattern: %j is matched by %j: %s', (name, pattern, want) => {
      expect(matchesPattern(name, pattern)).toBe(want);
    });
});
