/** The log's buffer: fixed and rolling, resets, the size that a whole log needs, messages that are too long. */
import { describe, expect, it } from 'vitest';
import { EINVAL, ENOSPC } from '../../../isa/errno.ts';
import { decimalText, hexText, VerifierLog } from '../../../verifier/log.ts';

const ROLLING = 1, FIXED = 1 | 8;

function logOf(level: number, size: number, ...messages: readonly string[]): VerifierLog {
  const log = new VerifierLog(level, size, true);
  for (const message of messages) log.write(message);
  return log;
}

describe('VerifierLog', () => {
  it('takes only level, size and buffer that fit together', () => {
    expect(new VerifierLog(0, 0, false).check()).toBe(0);
    expect(new VerifierLog(4, 0, false).check()).toBe(0);
    expect(logOf(1, 100).check()).toBe(0);
    expect(logOf(0, 100).check()).toBe(-EINVAL);
    expect(logOf(1, 0).check()).toBe(-EINVAL);
    expect(logOf(16, 100).check()).toBe(-EINVAL);
  });

  it('keeps the end in a rolling buffer and the beginning in a fixed one', () => {
    const rolling = logOf(ROLLING, 8, 'abcdef', 'ghijk');
    expect(rolling.render()).toBe('efghijk');
    expect(rolling.finalize()).toEqual([-ENOSPC, 12]);
    const fixed = logOf(FIXED, 8, 'abcdef', 'ghijk', 'lost');
    expect(fixed.render()).toBe('abcdefg');
    expect(fixed.finalize()).toEqual([-ENOSPC, 16]);
  });

  it('forgets back to a position, also within a message and beyond a full fixed buffer', () => {
    const log = logOf(ROLLING, 100, 'one ', 'two ', 'three');
    log.reset(6);
    expect(log.render()).toBe('one tw');
    log.write('!');
    expect(log.render()).toBe('one tw!');
    const fixed = logOf(FIXED, 6, 'abcd', 'efgh', 'ijkl');
    fixed.reset(8);
    expect(fixed.render()).toBe('abcde');
    fixed.reset(2);
    fixed.write('XY');
    expect(fixed.render()).toBe('abXY');
    expect(fixed.finalize()).toEqual([-ENOSPC, 13]);
  });

  it('cuts a message at 1023 bytes', () => {
    expect(logOf(ROLLING, 4096, 'x'.repeat(2000)).render().length).toBe(1023);
  });

  it('stays small where a log is much longer than its buffer', () => {
    const log = new VerifierLog(2, 64, true);
    for (let i = 0; i < 200_000; i++) log.write(`${i}\n`);
    expect(log.render().endsWith('199998\n199999\n')).toBe(true);
    expect(log.events().length).toBeLessThan(100_000);
  });
});

describe('numbers in the log', () => {
  it('are those of two words', () => {
    expect(decimalText(5, 0, true)).toBe('5');
    expect(decimalText(-5, -1, true)).toBe('-5');
    expect(decimalText(0, 1, false)).toBe('4294967296');
    expect(hexText(0, 0)).toBe('0x0');
  });
});
