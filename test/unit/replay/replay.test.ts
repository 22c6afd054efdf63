import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { insnsProcessed, lastMessage, maskLog } from '../../../src/replay/compare.ts';
import { Replay, type ReplaySummary } from '../../../src/replay/replay.ts';
import { formatReport, share } from '../../../src/replay/report.ts';
import type { ReplayTarget } from '../../../src/replay/target.ts';
import { TranscriptReader, bytesToTrimmedHex, hexToBytes } from '../../../src/replay/transcript.ts';

/** A target with flat memory whose `bpf` is a function of the test. */
class FakeTarget implements ReplayTarget {
  readonly memory = new Uint8Array(1 << 22);
  readonly closed: number[] = [];
  alive: string[] = [];
  capabilities = 0n;
  readonly answer: (target: FakeTarget, cmd: number, attr: DataView, size: number) => number;
  constructor(answer: (target: FakeTarget, cmd: number, attr: DataView, size: number) => number) {
    this.answer = answer;
  }
  bpf(cmd: number, attrAddress: number, size: number): number {
    return this.answer(this, cmd, new DataView(this.memory.buffer, attrAddress), size);
  }
  allocUser(_size: number): number {
    return 4096;
  }
  freeUser(_address: number): void {
    this.memory.fill(0);
  }
  readUser(address: number, length: number): Uint8Array {
    return this.memory.slice(address, address + length);
  }
  writeUser(address: number, bytes: Uint8Array): void {
    this.memory.set(bytes, address);
  }
  close(fd: number): number {
    this.closed.push(fd);
    return 0;
  }
  dup(fd: number): number {
    return fd + 100;
  }
  mmap(): number {
    return -1;
  }
  munmap(): number {
    return 0;
  }
  addKey(): number {
    return 77;
  }
  keyringID(): number {
    return -126;
  }
  setCapabilities(effective: bigint): void {
    this.capabilities = effective;
  }
  resetProcess(): void {
    this.capabilities = -1n;
  }
  watchAdmissions(): void {}
  takeAdmissions(): { count: number; verdict: number; keyringType: number; serial: 'none' } {
    return { count: 0, verdict: 0, keyringType: 0, serial: 'none' };
  }
  liveObjects(): readonly string[] {
    return this.alive;
  }
}

function replay(lines: readonly object[], answer: FakeTarget['answer'], only?: RegExp): { summary: ReplaySummary; targets: FakeTarget[] } {
  const targets: FakeTarget[] = [];
  const performer = new Replay({
    createTarget: () => {
      const target = new FakeTarget(answer);
      targets.push(target);
      return target;
    },
    only,
  });
  performer.open('test.jsonl');
  for (const line of lines) performer.line(JSON.stringify(line));
  return { summary: performer.finish(), targets };
}

const CASE = { case: 'a', suite: 's', mode: 'priv' };
const address = (attr: DataView, offset: number): number => attr.getUint32(offset, true);

describe('reading a transcript', () => {
  it.each([
    ['{', /no JSON/],
    ['[]', /one JSON object/],
    ['{"op":"bpf","cmd":"NOPE","attr":"","want":{"ret":0}}', /unknown command/],
    ['{"op":"bpf","cmd":"MAP_FREEZE","attr":"0","want":{"ret":0}}', /hex digits/],
    ['{"op":"bpf","cmd":"MAP_FREEZE","attr":"00","in":{"300":"00"},"want":{"ret":0}}', /offset/],
    ['{"op":"bpf","cmd":"MAP_FREEZE","attr":"00","in":{"8":"@none"},"want":{"ret":0}}', /no blob/],
    ['{"op":"bpf","cmd":"MAP_FREEZE","attr":"00","out":{"8":1e12},"want":{"ret":0}}', /integer/],
    ['{"op":"bpf","cmd":"MAP_FREEZE","attr":"00","infd":[[8,0,0]],"want":{"ret":0}}', /no buffer/],
    ['{"op":"bpf","cmd":"MAP_FREEZE","attr":"00","in":{"8":"00"},"infd":[[8,5,0]],"want":{"ret":0}}', /integer/],
    ['{"op":"bpf","cmd":"MAP_FREEZE","attr":"00","save":5000,"want":{"ret":0}}', /save/],
    ['{"op":"bpf","cmd":"MAP_FREEZE","attr":"00"}', /no recorded answer/],
    ['{"op":"dance","want":{"ret":0}}', /unknown operation/],
    ['{"op":"caps","effective":"zz","want":{"ret":0}}', /hex digits/],
  ])('refuses %s', (text, reason) => {
    const reader = new TranscriptReader('f.jsonl');
    expect(reader.read('')).toBeUndefined();
    let caught: unknown;
    try {
      reader.read(text);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(InputError);
    if (!(caught instanceof InputError)) return;
    expect([caught.file, caught.place]).toEqual(['f.jsonl', 'line 2']);
    expect(caught.reason).toMatch(reason);
  });

  it('turns hex into bytes and back, cutting trailing zeros', () => {
    expect(hexToBytes('00fFa')).toBeUndefined();
    expect(hexToBytes('0g')).toBeUndefined();
    expect(bytesToTrimmedHex(hexToBytes('00ff10000000') ?? new Uint8Array())).toBe('00ff10');
    expect(bytesToTrimmedHex(new Uint8Array(4))).toBe('');
  });
});

describe('performing', () => {
  it('places buffers, nested buffers and fds, and reads answers back', () => {
    const call = {
      op: 'bpf', cmd: 'OBJ_GET_INFO_BY_FD', attr: '00'.repeat(16), in: { 8: '0102030405060708090a0b0c0d0e0f10' }, outptr: [[8, 8, 4]], infd: [[8, 4, 3]], fd: { 0: 3 },
      want: { ret: 0, errno: 0, out: { '8+8': 'aabb' } },
    };
    const { summary } = replay(
      [CASE, { op: 'bpf', cmd: 'MAP_CREATE', attr: '00', save: 3, want: { ret: 'fd', errno: 0 } }, call],
      (target, cmd, attr, size) => {
        if (cmd === 0) return 42;
        expect([cmd, size, attr.getInt32(0, true)]).toEqual([15, 16, 42]);
        const buffer = new DataView(target.memory.buffer, address(attr, 8));
        expect([buffer.getUint32(0, true), buffer.getUint32(4, true)]).toEqual([0x04030201, 42]);
        target.memory.set([0xaa, 0xbb], address(buffer, 8));
        return 0;
      },
    );
    expect(summary.mismatches).toEqual([]);
    expect(summary).toMatchObject({ cases: 1, operations: 2, agree: { cases: 1, ret: 1, log: 1 }, leaks: 0, exceptions: 0 });
  });

  it('takes fds out of a context, closes them at the end of the case, and reads any fd as 1', () => {
    const { summary, targets } = replay(
      [
        CASE,
        { op: 'bpf', cmd: 'PROG_TEST_RUN', attr: '00'.repeat(80), inout: { 48: '00000000ff000000' }, take: [[48, 0, 7]], want: { ret: 0, errno: 0, retval: 5, dataSizeOut: 0, out: { 48: '01000000ff' } } },
        { op: 'close', slot: 9, want: { ret: -1, errno: 0 } },
      ],
      (target, _cmd, attr) => {
        attr.setUint32(4, 5, true);
        target.memory[address(attr, 48)] = 33;
        return 0;
      },
    );
    expect(summary.mismatches).toEqual([]);
    expect(summary.retval).toEqual({ compared: 1, agree: 1 });
    expect(targets[0]?.closed).toEqual([33]);
  });

  it('duplicates an fd into another slot', () => {
    const { summary, targets } = replay([
      CASE,
      { op: 'bpf', cmd: 'MAP_CREATE', attr: '00'.repeat(92), save: 0, want: { ret: 'fd', errno: 0 } },
      { op: 'dup', slot: 0, save: 1, want: { ret: 'fd', errno: 0 } },
      { op: 'dup', slot: 7, save: 1, want: { ret: -1, errno: 9 } },
      { op: 'close', slot: 0, want: { ret: 0, errno: 0 } },
    ], () => 5);
    expect(summary.mismatches).toEqual([]);
    expect(targets[0]?.closed).toEqual([5, 105]);
  });

  it('keeps nothing of a call that gives no fd', () => {
    const { targets } = replay([CASE, { op: 'bpf', cmd: 'MAP_FREEZE', attr: '00'.repeat(4), save: 0, want: { ret: 0, errno: 0 } }], () => 0);
    expect(targets[0]?.closed).toEqual([]);
  });

  it('closes an fd that nothing keeps, and gives every call zeroed memory', () => {
    const dirty: number[] = [];
    const load = { op: 'bpf', cmd: 'PROG_LOAD', attr: '00'.repeat(64), in: { 8: 'ffffffffffffffff' }, out: { 32: 200_000 }, want: { ret: 'fd', errno: 0, log: 'x\n' } };
    const { summary, targets } = replay([CASE, load, load], (target, _cmd, attr) => {
      const log = address(attr, 32);
      dirty.push(target.memory.subarray(log, log + 200_000).filter((byte) => byte !== 0).length);
      target.memory.set([0x78, 0x0a], log);
      return 9;
    });
    expect(summary.mismatches).toEqual([]);
    expect(dirty).toEqual([0, 0]);
    expect(targets[0]?.closed).toEqual([9, 9]);
  });
});

describe('comparing', () => {
  const load = (want: object): object => ({ op: 'bpf', cmd: 'PROG_LOAD', attr: '00'.repeat(64), out: { 32: 4096 }, want });
  const logs = (text: string) => (target: FakeTarget, _cmd: number, attr: DataView): number => {
    target.memory.set(new TextEncoder().encode(text), address(attr, 32));
    return -13;
  };

  it('counts ret, errno, last message, log and instructions apart', () => {
    const { summary } = replay(
      [CASE, load({ ret: -1, errno: 22, log: '0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000)\n' })],
      logs('0: exit\nR0 !read_ok\nprocessed 2 insns (limit 1000000)\n'),
    );
    expect(summary.agree).toEqual({ cases: 0, ret: 1, errno: 0, lastMessage: 1, log: 0, insnsProcessed: 0 });
    expect(summary.mismatches.map(({ field }) => field)).toEqual(['errno', 'log', 'insnsProcessed']);
    expect(formatReport(summary, 3, 1)).toContain('errno 13, want 22');
  });

  it('compares a long log by its digest and tail', () => {
    const want = { ret: -1, errno: 13, logSha256: '98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4', logTail: 'hi\n' };
    expect(replay([CASE, load(want)], logs('hi\n')).summary.agree.log).toBe(1);
    const { agree } = replay([CASE, load(want)], logs('ho\n')).summary;
    expect([agree.log, agree.lastMessage, agree.ret]).toEqual([0, 0, 1]);
  });

  it('masks addresses, padding and times', () => {
    expect(maskLog('r1=0xffff888012345678    ; x\nverification time 12 usec\n')).toBe('r1=0xADDR ; x\nverification time N usec\n');
  });

  it('finds the last message and the count of instructions', () => {
    expect(lastMessage('a\nR1 bad\n\nprocessed 3 insns (limit 1)\nmark_precise: x\n')).toBe('R1 bad');
    expect(lastMessage('processed 3 insns\n')).toBe('');
    expect(insnsProcessed('x\nprocessed 31 insns (limit 1000000) max_states_per_insn 0\n')).toBe(31);
    expect(insnsProcessed('')).toBe(-1);
  });

  it('accepts any serial for a serial, and no error for one', () => {
    const { summary } = replay([CASE, { op: 'key', name: 'k', der: '', want: { ret: 5, errno: 0 } }, { op: 'keyid', id: -3, want: { ret: 5, errno: 0 } }], () => 0);
    expect(summary.mismatches.map(({ op, field }) => `${op} ${field}`)).toEqual(['1 ret', '1 errno']);
  });

  it('ignores what depends on the machine', () => {
    const line = { op: 'bpf', cmd: 'MAP_LOOKUP_ELEM', attr: '00'.repeat(32), out: { 16: 8 }, ignore: { 16: [[1, 2]] }, want: { ret: 0, errno: 0, out: { 16: '05aaaa07' } } };
    const answer = (target: FakeTarget, _cmd: number, attr: DataView): number => {
      target.memory.set([5, 1, 2, 7], address(attr, 16));
      return 0;
    };
    expect(replay([CASE, line], answer).summary.mismatches).toEqual([]);
  });

  it('cuts shares, so that 100 means all', () => {
    expect(share(99999, 100000)).toBe('99.99 %');
    expect(share(0, 0)).toBe('-');
  });
});

describe('a bug of ours', () => {
  const freeze = { op: 'bpf', cmd: 'MAP_FREEZE', attr: '00000000', want: { ret: 0, errno: 0 } };

  it('is a mismatch, costs its case, and the next case gets a fresh kernel', () => {
    let calls = 0;
    const { summary, targets } = replay([CASE, freeze, freeze, { ...CASE, case: 'b' }, freeze], () => {
      if (calls++ === 0) throw new Error('broken');
      return 0;
    });
    expect(summary).toMatchObject({ cases: 2, operations: 3, exceptions: 1, agree: { cases: 1, ret: 1, errno: 1 } });
    expect(summary.mismatches).toMatchObject([{ case: 'a', op: 0, field: 'exception' }]);
    expect(targets).toHaveLength(2);
  });

  it('is told where objects outlive their case', () => {
    const { summary, targets } = replay([CASE, freeze, { ...CASE, case: 'b' }, freeze], (target) => {
      target.alive = ['map m'];
      return 0;
    });
    expect([summary.leaks, summary.leaking]).toEqual([2, ['a: map m', 'b: map m']]);
    expect(targets).toHaveLength(2);
  });

  it('does not touch cases that were not asked for', () => {
    const { summary } = replay([CASE, freeze, { ...CASE, case: 'b' }, freeze], () => 0, /b/);
    expect(summary).toMatchObject({ cases: 1, operations: 1, agree: { cases: 1 } });
  });
});
