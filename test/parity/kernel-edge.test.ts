/**
 * Edge cases of every bpf(2) command, answered by Linux 7.3.4 and by our kernel: sizes and tails of the attribute block, the rules of
 * every map type, element and batch operations (order of hash elements and LRU eviction included), loads, logs, capabilities.
 * Data: test/parity/data/kernel-edge.jsonl.gz, made by test/parity/gen/kernel-edge.mjs.
 */
import { describe, expect, it } from 'vitest';
import type { Mismatch } from '../../src/replay/replay.ts';
import { recordedCases, replayCase } from './replayed.ts';

const cases = recordedCases('kernel-edge.jsonl.gz');

/**
 * What the recorded machine has and an instance has not: objects made while booting (the next id after 0 exists there), ids that go
 * on from them, load times, compiled code. Logs of accepted programs are compared elsewhere.
 */
function isOfTheMachine({ cmd, field }: Mismatch): boolean {
  if (cmd.endsWith('GET_NEXT_ID')) return true;
  if (cmd === 'OBJ_GET_INFO_BY_FD') return field === 'out';
  return field === 'log' || field === 'lastMessage' || field === 'insnsProcessed';
}

describe('edge cases of bpf(2)', () => {
  it('are all here', () => {
    expect(cases.length).toBe(95);
  });

  it.each(cases.map((recorded) => [recorded.name, recorded] as const))('%s', (_name, recorded) => {
    expect(replayCase(recorded).filter((mismatch) => !isOfTheMachine(mismatch))).toEqual([]);
  });
});
