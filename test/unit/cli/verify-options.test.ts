/**
 * `verify` with the rest of veristat's options: first values of variables, frequent source lines, dumps, limits, CSV shown again.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { openObject } from '../../../loader/object/open.ts';
import { readInput } from '../../../src/cli/io.ts';
import { applyPresets, parsePreset } from '../../../src/veristat/presets.ts';
import { formatTopLines, topSourceLines } from '../../../src/veristat/top-lines.ts';
import { bpftwin, temporary } from './harness.ts';

const OBJECTS = join(dirname(fileURLToPath(import.meta.url)), '../../fixtures/objects');
const GLOBALS = join(OBJECTS, 'globals.bpf.o');
const SUBPROGS = join(OBJECTS, 'subprogs.bpf.o');
const REJECTED = join(OBJECTS, 'rejected.bpf.o');

/** Contents of a data section after these assignments. */
function sectionWith(section: string, ...assignments: string[]): DataView {
  const object = openObject(readInput(GLOBALS), GLOBALS, 'globals');
  applyPresets(object, assignments.map(parsePreset));
  const data = object.maps.find(({ realName }) => realName === section)?.data ?? new Uint8Array(0);
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

describe('verify -G', () => {
  it('sets variables, fields and elements', () => {
    const rodata = sectionWith('.rodata', 'limits.high = 0x7f', ' limits . low=1 ', 'mask = -1');
    expect([rodata.getUint32(0, true), rodata.getUint32(4, true), rodata.getBigUint64(24, true)]).toEqual([1, 127, 0xffffffffffffffffn]);
    const data = sectionWith('.data', 'weights[4] = -2147483648', 'weights[ 0 ] = 017');
    const weights = Array.from({ length: data.byteLength / 4 }, (_, i) => data.getInt32(4 * i, true));
    expect(weights).toContain(-2147483648);
    expect(weights).toContain(15);
  });

  it('decides what the verifier sees', async () => {
    // with limits that nothing can lie between, the rest of the program is dead
    const insnsOf = async (...options: string[]): Promise<string> => (await bpftwin(['verify', GLOBALS, '-o', 'csv', '-e', 'insns', ...options])).stdout;
    expect(await insnsOf('-G', 'limits.low = 0xffffffff', '-G', 'limits.high = 0')).not.toBe(await insnsOf());
  });

  it('reads assignments from a file', async () => {
    const file = temporary('presets', '# a comment\nlimits.low = 4294967295\n\nlimits.high = 0\n');
    const { stdout } = await bpftwin(['verify', GLOBALS, '-o', 'csv', '-e', 'insns', '-G', `@${file}`]);
    expect(stdout).toBe((await bpftwin(['verify', GLOBALS, '-o', 'csv', '-e', 'insns', '-G', 'limits.low = 4294967295', '-G', 'limits.high = 0'])).stdout);
  });

  it.each([
    ['nothing = 1', 'no such global variable'], ['weights[5] = 1', 'index 5 is out of bounds [0, 5)'], ['weights = 1', 'only integers and enumerations'],
    ['weights[0] = 2147483648', 'out of range [-2147483648; 2147483647]'], ['limits.low = 4294967296', 'out of range [0; 4294967295]'], ['limits.middle = 1', 'there is no field middle'],
    ['mask[0] = 1', 'no array'], ['mask.low = 1', 'has no fields'], ['mask = RED', 'RED is no value of type'], ['weights[RED] = 1', 'there is no enumerator RED'],
  ])('%s: %s', async (assignment, reason) => {
    const { status, stderr } = await bpftwin(['verify', GLOBALS, '-G', assignment]);
    expect(status).toBe(2);
    expect(stderr).toContain(reason);
  });

  it.each([['limits.low', 'not of the form'], ['= 3', 'not of the form'], ['a-b = 3', 'not of the form'], ['a = 1x', 'is no whole number'], ['a = 09', 'is no octal number'], ['a[ = 1', 'names no variable'], ['a = 18446744073709551616', 'does not fit 64 bits']])(
    '%s cannot be read', (assignment, reason) => {
      expect(() => parsePreset(assignment)).toThrow(reason);
    });

  it('does not set a variable twice', async () => {
    expect(sectionWith('.rodata', 'mask = 1', 'limits.low = 2').byteLength).toBeGreaterThan(0);
    const { status } = await bpftwin(['verify', GLOBALS, '-G', 'mask = 1', '-G', 'missing = 1']);
    expect(status).toBe(2);
  });
});

describe('verify -S', () => {
  it('counts lines, most frequent first', () => {
    const log = ['; a = 1; @ x.c:1', '0: (b7) r0 = 1', '; b = 2; @ x.c:2', '; b = 2; @ x.c:2', '; ', '; no place'].join('\n');
    expect(topSourceLines(log, 3)).toEqual([{ count: 2, text: 'b = 2;', place: 'x.c:2' }, { count: 1, text: '', place: '' }, { count: 1, text: 'a = 1;', place: 'x.c:1' }]);
    expect(formatTopLines('p', topSourceLines(log, 1))).toBe('Top source lines (p):\n    2: (x.c:2)\tb = 2;\n\n');
    expect(formatTopLines('p', [])).toBe('');
  });

  it('shows no log for it', async () => {
    const { stdout } = await bpftwin(['verify', SUBPROGS, '-S', '2', '--prog', 'first']);
    expect(stdout.split('\n')[0]).toBe('Top source lines (first):');
    expect(stdout).not.toContain('PROCESSING');
    const json = JSON.parse((await bpftwin(['-j', 'verify', SUBPROGS, '-S', '2', '--prog', 'first'])).stdout) as { top_src_lines: unknown[] }[];
    expect(json[0]?.top_src_lines).toHaveLength(2);
  });
});

describe('verify --dump', () => {
  it('lists accepted programs as they are rewritten', async () => {
    const { stdout } = await bpftwin(['verify', REJECTED, '--dump', '-q']);
    expect(stdout).toMatch(/^DUMP \(XLATED\) rejected\.bpf\.o\/fine:\n {3}0: \(61\) r1 = \*\(u32 \*\)\(r1 \+112\)\n {3}1: \(18\) r2 = map\[id:\d+\]\[0\]\+0\n/);
    expect(stdout).not.toContain('out_of_bounds:');
    expect((await bpftwin(['verify', REJECTED, '--dump=jited'])).status).toBe(2);
  });
});

describe('verify -n, -q, -R and log options', () => {
  it('limits rows, and leaves the sums out', async () => {
    expect((await bpftwin(['verify', SUBPROGS, REJECTED, '-n', '2', '-s', 'insns', '-e', 'prog', '-q'])).stdout).toBe('Program\nfirst\nsecond\n');
  });

  it('shows a CSV again', async () => {
    const file = temporary('run.csv', (await bpftwin(['verify', SUBPROGS, REJECTED, '-o', 'csv'])).stdout);
    expect(await bpftwin(['verify', '-R', file, '-f', 'insns>100', '-e', 'prog,insns', '-o', 'csv', '-s', 'insns^'])).toEqual({ status: 0, stdout: 'prog_name,total_insns\nsecond,115\nfirst,180\n', stderr: '' });
    expect((await bpftwin(['verify', '-R', file, '-n', '1', '-e', 'prog'])).stdout).toBe('Program\nfine\n1 program, 0 refused\n');
    expect((await bpftwin(['verify', '-R', '-C', file])).status).toBe(2);
    expect((await bpftwin(['verify', '-R', file, '-G', 'a = 1'])).status).toBe(2);
    expect((await bpftwin(['verify', '-R', file, file])).status).toBe(2);
  });

  it('keeps the beginning of a log where the end is not wanted', async () => {
    const logOf = async (...options: string[]): Promise<string> => (JSON.parse((await bpftwin(['-j', 'verify', SUBPROGS, '--prog', 'first', '-l', '2', '--log-size', '2000', ...options])).stdout) as { log: string }[])[0]?.log ?? '';
    expect(await logOf()).toMatch(/processed 180 insns/);
    expect(await logOf('--log-fixed')).not.toMatch(/processed 180 insns/);
  });

  it('checks states more often when told to', async () => {
    const statesOf = async (...options: string[]): Promise<number> => Number((await bpftwin(['verify', SUBPROGS, '--prog', 'first', '-o', 'csv', '-e', 'states', ...options])).stdout.split('\n')[1]);
    expect(await statesOf('-t')).toBeGreaterThan(await statesOf());
    expect((await bpftwin(['verify', SUBPROGS, '-r'])).status).toBe(0);
  });

  it('takes objects from a list', async () => {
    const list = temporary('list', `# objects\n${SUBPROGS}\n\n${REJECTED}\n`);
    expect((await bpftwin(['verify', `@${list}`, '-o', 'csv', '-e', 'prog'])).stdout).toBe('prog_name\nfine\nout_of_bounds\nfirst\nsecond\n');
  });
});
