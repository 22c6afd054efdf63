import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { compareWithBaseline, readBaseline, type Comparable } from '../../../src/bench/baseline.ts';
import { checkComparable, conditionDifferences, type Conditions } from '../../../src/bench/conditions.ts';

const CONDITIONS: Conditions = {
  bpftwin: '1.0.0', node: 'v24.0.0', v8: '13', platform: 'linux', arch: 'x64', cpu: 'a processor', cores: 2, crypto: 'native', subject: 'admission', options: '1 s',
};
const LIMITS = { failAbove: 1.1, acrossVersions: false } as const;
const samples = (factor: number): number[] => Array.from({ length: 20 }, (_, i) => factor * (1 + (i % 5) / 100));
const row = (name: string, factor: number, work = [100, 10]): Comparable => ({ name, samples: samples(factor), work });

function compare(now: readonly Comparable[], before: readonly Comparable[], conditions = CONDITIONS): ReturnType<typeof compareWithBaseline> {
  return compareWithBaseline(now, conditions, readBaseline(JSON.stringify({ conditions: CONDITIONS, measured: before }), 'base.json'), 'base.json', LIMITS);
}

describe('a comparison with an earlier run', () => {
  it('finds what became slower, the worst first, and leaves alone what did not', () => {
    const { rows } = compare([row('same', 1), row('slower', 1.3), row('faster', 0.5)], [row('same', 1), row('slower', 1), row('faster', 1)]);
    expect(rows.map(({ name, isWorse, work }) => [name, isWorse, work])).toEqual([['slower', true, 'same'], ['same', false, 'same'], ['faster', false, 'same']]);
    expect(rows[0]?.ratio.value).toBeCloseTo(1.3, 6);
  });

  it('does not fail what is within the limit, or what noise explains', () => {
    const noisy = { name: 'noisy', samples: [1, 1.5, 0.2, 3, 0.4, 2], work: [1] }, before = { name: 'noisy', samples: [1, 0.9, 0.2, 3, 0.5, 2], work: [1] };
    expect(compare([row('little', 1.05), noisy], [row('little', 1), before]).rows.some(({ isWorse }) => isWorse)).toBe(false);
  });

  it('fails more work however fast it was', () => {
    const { rows } = compare([row('a', 0.5, [150, 10]), row('b', 1, [101, 10]), row('c', 1, [90, 10])], [row('a', 1), row('b', 1), row('c', 1)]);
    expect(Object.fromEntries(rows.map(({ name, work, isWorse }) => [name, [work, isWorse]]))).toEqual({ a: ['more', true], b: ['more', false], c: ['less', false] });
  });

  it('names what is in one run only', () => {
    expect(compare([row('both', 1), row('new', 1)], [row('both', 1), row('old', 1)]).unmatched).toEqual(['new', 'old']);
  });

  it.each(['bpftwin', 'node', 'cpu', 'arch', 'options', 'subject'] as const)('refuses another %s', (name) => {
    expect(() => compare([row('a', 1)], [row('a', 1)], { ...CONDITIONS, [name]: 'other' })).toThrow(`${name}: ${CONDITIONS[name]} then, other now`);
    expect(conditionDifferences({ ...CONDITIONS, [name]: 'other' }, CONDITIONS)).toHaveLength(1);
  });

  it('lets versions differ where that is asked for, and nothing else', () => {
    expect(() => checkComparable({ ...CONDITIONS, bpftwin: '2.0.0' }, CONDITIONS, 'f', ['bpftwin'])).not.toThrow();
    expect(() => checkComparable({ ...CONDITIONS, bpftwin: '2.0.0', node: 'v26.0.0' }, CONDITIONS, 'f', ['bpftwin'])).toThrow('node: v24.0.0 then, v26.0.0 now');
  });

  it.each([
    ['no JSON', '{'], ['another JSON', '[]'], ['no conditions', '{"measured":[]}'], ['nothing measured', JSON.stringify({ conditions: CONDITIONS, measured: [] })],
    ['no names', JSON.stringify({ conditions: CONDITIONS, measured: [{}] })], ['no times', JSON.stringify({ conditions: CONDITIONS, measured: [{ name: 'a', samples: ['x'] }] })],
    ['broken conditions', JSON.stringify({ conditions: { ...CONDITIONS, cores: '2' }, measured: [row('a', 1)] })],
  ])('refuses a file with %s, by name', (_, text) => {
    expect(() => readBaseline(text, 'base.json')).toThrow(InputError);
    expect(() => readBaseline(text, 'base.json')).toThrow('base.json');
  });
});
