import { describe, expect, it } from 'vitest';
import { TranscriptReader } from '../../../src/replay/transcript.ts';
import { writeOperation } from '../../../src/replay/write.ts';

const want = { ret: 0, errno: 0 };
const LINES = [
  {
    op: 'bpf', cmd: 'PROG_LOAD', attr: '00'.repeat(168), in: { 8: '9500000000000000', 120: '00000000' }, inout: { 16: '47504c00' }, out: { 32: 64 },
    inptr: [[8, 0, 'aa']], outptr: [[16, 0, 32]], logptr: [[120, 0, 128]], fd: { 72: 3 }, infd: [[120, 0, 1]], take: [[8, 0, 7]], ignore: { 16: [[0, 2]] }, save: 5, want,
  },
  { op: 'bpf', cmd: 99, attr: '', want },
  { op: 'key', name: 'a', der: '3000', want }, { op: 'keyid', id: -3, want }, { op: 'caps', effective: '1ffffffffff', want },
  { op: 'mmap', slot: 1, size: 4096, prot: 3, want }, { op: 'munmap', want }, { op: 'close', slot: 2, want }, { op: 'dup', slot: 2, save: 3, want },
  { op: 'watch', want }, { op: 'admissions', want },
];

describe('writing a transcript', () => {
  it.each(LINES.map((line) => [line.op, line] as const))('gives back what was read: %s', (_, line) => {
    const read = (text: string): ReturnType<TranscriptReader['read']> => new TranscriptReader('t').read(text);
    const first = read(JSON.stringify(line));
    if (first?.kind !== 'operation') throw new Error('no operation');
    const text = writeOperation(first.value, want);
    expect(JSON.parse(text)).toEqual(line);
    expect(read(text)).toEqual(first);
  });
});
