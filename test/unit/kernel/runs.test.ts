/** Programs loaded and run, what hooks and observers see of it. */
import { describe, expect, it } from 'vitest';
import { TEST_RUN_ATTR } from '../../../isa/attr.ts';
import { EACCES, EFAULT, EINVAL, EPERM } from '../../../isa/errno.ts';
import * as U from '../../../isa/uapi.ts';
import type { KernelOptions } from '../../../kernel/api.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { Caller, cString, instructions, u32 } from './support.ts';

type Instruction = readonly [code: number, registers: number, off: number, imm: number];

const bytes = loadKernelBTF();
const WITH_BTF: KernelOptions = { kernelBTF: () => bytes };
const EXIT: Instruction = [0x95, 0, 0, 0];
const mov = (dst: number, imm: number): Instruction => [0xb7, dst, 0, imm];
const movReg = (dst: number, src: number): Instruction => [0xbf, dst | (src << 4), 0, 0];
const add = (dst: number, imm: number): Instruction => [0x07, dst, 0, imm];
const call = (id: number): Instruction => [0x85, 0, 0, id];
const mapPointer = (dst: number, fd: number): Instruction[] => [[0x18, dst | 0x10, 0, fd], [0, 0, 0, 0]];
/** r10 + off = imm, 4 bytes. */
const store = (off: number, imm: number): Instruction => [0x62, 10, off, imm];

function load(c: Caller, type: number, list: readonly Instruction[], more: Readonly<Record<string, number>> = {}): number {
  return c.call('PROG_LOAD', { prog_type: type, insn_cnt: list.length, insns: instructions(...list), license: cString('GPL'), ...more });
}

/** Runs a program on a packet: the command's result, the program's, the packet after it. */
function run(c: Caller, fd: number, packet: Uint8Array, repeat = 0): { result: number; retval: number; data: Uint8Array } {
  const out = c.buffer(512);
  const result = c.call('PROG_TEST_RUN', { prog_fd: fd, data_in: packet, data_size_in: packet.length, data_out: out, data_size_out: 512, repeat });
  const size = c.result(TEST_RUN_ATTR.data_size_out.offset);
  return { result, retval: c.result(TEST_RUN_ATTR.retval.offset), data: result === 0 ? c.kernel.readUser(out, size) : new Uint8Array(0) };
}

const PACKET = Uint8Array.from({ length: 64 }, (_, i) => (i < 12 ? 0 : i));

describe('commands', () => {
  it.each([39, 40, 1000, -1])('%i is no command', (cmd) => {
    const c = new Caller();
    expect(c.kernel.bpf(cmd, c.attr, 16)).toBe(-EINVAL);
  });
});

describe('packets', () => {
  it('are read through the context', () => {
    const c = new Caller(WITH_BTF);
    // r0 = data[13] where the packet has 14 bytes
    const fd = load(c, U.BPF_PROG_TYPE_SCHED_CLS, [
      [0x61, 0x12, 76, 0], [0x61, 0x13, 80, 0], movReg(4, 2), add(4, 14), mov(0, 0), [0x2d, 0x34, 1, 0], [0x71, 0x20, 13, 0], EXIT,
    ]);
    expect(fd).toBeGreaterThan(0);
    expect(run(c, fd, PACKET)).toMatchObject({ result: 0, retval: 13 });
  });

  it('are changed by each of the repeated runs, however the program runs', () => {
    const outcomes = (['interpreter', 'baseline', 'auto'] as const).map((tier) => {
      const c = new Caller({ ...WITH_BTF, engine: { tier } });
      // r0 = data[13] + 3, and data[13] = r0
      const head: Instruction[] = [[0x61, 0x12, 76, 0], [0x61, 0x13, 80, 0], movReg(4, 2), add(4, 14), mov(0, 0)];
      const counting = load(c, U.BPF_PROG_TYPE_SCHED_CLS, [...head, [0x2d, 0x34, 3, 0], [0x71, 0x20, 13, 0], add(0, 3), [0x73, 0x02, 13, 0], EXIT]);
      const clock = load(c, U.BPF_PROG_TYPE_SCHED_CLS, [call(U.BPF_FUNC_ktime_get_ns), EXIT]);
      c.call('ENABLE_STATS', { type: U.BPF_STATS_RUN_TIME });
      const results = [0, 1, 2, 3, 50, 1000].map((repeat) => [run(c, counting, PACKET, repeat), run(c, clock, PACKET, repeat)]);
      const { programs } = c.kernel.state;
      return { results, counts: [...programs.values()].map((one) => [one.runCount, one.runTime]) };
    });
    for (const outcome of outcomes) expect(outcome).toEqual(outcomes[0]);
    const retvals = outcomes[0]!.results.map(([counting]) => counting!.retval);
    expect(retvals).toEqual([1, 1, 2, 3, 50, 1000].map((times) => ((13 + 3 * (times - 1)) % 256) + 3));
    expect(outcomes[0]!.results[4]![0]!.data[13]).toBe((PACKET[13]! + 150) % 256);
    expect(outcomes[0]!.counts.map(([count]) => count)).toEqual([1057, 1057]);
  });

  it('grow and shrink at the end', () => {
    const c = new Caller(WITH_BTF);
    const grow = (size: number): number => load(c, U.BPF_PROG_TYPE_SCHED_CLS, [mov(2, size), mov(3, 0), call(U.BPF_FUNC_skb_change_tail), EXIT]);
    const longer = run(c, grow(100), PACKET);
    expect(longer).toMatchObject({ result: 0, retval: 0 });
    expect(longer.data).toEqual(Uint8Array.from({ length: 100 }, (_, i) => PACKET[i] ?? 0));
    expect(run(c, grow(20), PACKET).data).toEqual(PACKET.slice(0, 20));
    expect(run(c, grow(13), PACKET)).toMatchObject({ retval: (-EINVAL) >>> 0 });
    expect(run(c, grow(20000), PACKET)).toMatchObject({ retval: (-EINVAL) >>> 0 });
  });

  it('of XDP move their start inside the frame', () => {
    const c = new Caller(WITH_BTF);
    const adjust = (by: number): number => load(c, U.BPF_PROG_TYPE_XDP, [mov(2, by), call(U.BPF_FUNC_xdp_adjust_head), EXIT]);
    expect(run(c, adjust(4), PACKET).data).toEqual(PACKET.slice(4));
    expect(run(c, adjust(-8), PACKET).data).toEqual(new Uint8Array([...new Uint8Array(8), ...PACKET]));
    expect(run(c, adjust(-300), PACKET)).toMatchObject({ retval: (-EINVAL) >>> 0 });
  });

  it('get one VLAN tag beside the data, further ones in it', () => {
    const c = new Caller(WITH_BTF);
    const push: Instruction[] = [movReg(1, 6), mov(2, 0), mov(3, 7), call(U.BPF_FUNC_skb_vlan_push)];
    const once = load(c, U.BPF_PROG_TYPE_SCHED_CLS, [movReg(6, 1), ...push, EXIT]);
    expect(run(c, once, PACKET).data).toEqual(PACKET);
    const twice = load(c, U.BPF_PROG_TYPE_SCHED_CLS, [movReg(6, 1), ...push, ...push, EXIT]);
    expect(run(c, twice, PACKET).data).toEqual(new Uint8Array([...PACKET.slice(0, 12), 0x81, 0, 0, 7, ...PACKET.slice(12)]));
  });

  it('say where bytes are not', () => {
    const c = new Caller(WITH_BTF);
    const read = (offset: number): number => load(c, U.BPF_PROG_TYPE_SCHED_CLS, [
      mov(2, offset), movReg(3, 10), add(3, -8), mov(4, 8), store(-8, 1), store(-4, 1), call(U.BPF_FUNC_skb_load_bytes), EXIT,
    ]);
    expect(run(c, read(56), PACKET)).toMatchObject({ retval: 0 });
    expect(run(c, read(57), PACKET)).toMatchObject({ retval: (-EFAULT) >>> 0 });
  });
});

describe('maps in programs', () => {
  it('are updated and read', () => {
    const c = new Caller(WITH_BTF);
    const map = c.map(U.BPF_MAP_TYPE_HASH, 4, 4, 8);
    const fd = load(c, U.BPF_PROG_TYPE_SOCKET_FILTER, [
      store(-4, 5), store(-8, 77), ...mapPointer(1, map), movReg(2, 10), add(2, -4), movReg(3, 10), add(3, -8), mov(4, 0),
      call(U.BPF_FUNC_map_update_elem), ...mapPointer(1, map), movReg(2, 10), add(2, -4), call(U.BPF_FUNC_map_lookup_elem),
      [0x55, 0, 1, 0], EXIT, [0x61, 0x00, 0, 0], EXIT,
    ]);
    expect(run(c, fd, PACKET)).toMatchObject({ result: 0, retval: 77 });
    expect(c.lookup(map, u32(5), 4)).toEqual(u32(77));
  });

  it('live as long as a program uses them', () => {
    const c = new Caller(WITH_BTF);
    const map = c.map(U.BPF_MAP_TYPE_ARRAY, 4, 4, 1);
    const fd = load(c, U.BPF_PROG_TYPE_SOCKET_FILTER, [...mapPointer(1, map), mov(0, 0), EXIT]);
    c.kernel.close(map);
    expect(c.kernel.objects().maps).toHaveLength(1);
    c.kernel.close(fd);
    expect(c.kernel.objects().maps).toHaveLength(0);
  });
});

describe('hooks', () => {
  it('refuse maps, programs and commands, and nothing is left', () => {
    const c = new Caller();
    const remove = c.kernel.hooks.attach('bpf_map_create', () => -EACCES);
    expect(c.map(U.BPF_MAP_TYPE_ARRAY, 4, 4, 1)).toBe(-EACCES);
    remove();
    const seen: number[] = [];
    const removeLoad = c.kernel.hooks.attach('bpf_prog_load', (program, _attr, _kernel, admission) => {
      seen.push(program.type, admission.verdict);
      return -EPERM;
    });
    expect(load(c, U.BPF_PROG_TYPE_SOCKET_FILTER, [mov(0, 0), EXIT])).toBe(-EPERM);
    expect(seen).toEqual([U.BPF_PROG_TYPE_SOCKET_FILTER, expect.any(Number)]);
    removeLoad();
    c.kernel.hooks.attach('bpf', (cmd) => (cmd === U.BPF_MAP_CREATE ? -EACCES : 0));
    expect(c.map(U.BPF_MAP_TYPE_ARRAY, 4, 4, 1)).toBe(-EACCES);
    expect(load(c, U.BPF_PROG_TYPE_SOCKET_FILTER, [mov(0, 0), EXIT])).toBe(3);
    expect(c.kernel.objects().maps).toEqual([]);
  });
});

describe('the observer', () => {
  it('sees each command with its arguments and its result', () => {
    const calls: string[] = [];
    const c = new Caller({ observer: (each) => calls.push(`${each.name} ${each.result} ${each.fromProgram} ${String(each.args['map_name'] ?? '')}`) });
    c.map(U.BPF_MAP_TYPE_ARRAY, 4, 4, 1, { map_name: 'one' });
    c.map(U.BPF_MAP_TYPE_ARRAY, 3, 4, 1, { map_name: 'two' });
    expect(calls).toEqual(['MAP_CREATE 3 false one', `MAP_CREATE ${-EINVAL} false two`]);
  });
});
