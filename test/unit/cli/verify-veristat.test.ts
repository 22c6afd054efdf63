/**
 * `verify` with veristat's options: output, columns, order, filters, comparison; and the explanation of refusals.
 */
import { copyFileSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { addSource } from '../../../src/veristat/explain.ts';
import { matchesGlob } from '../../../src/veristat/filter.ts';
import { bpftwin, temporary } from './harness.ts';

const FIXTURES = join(dirname(fileURLToPath(import.meta.url)), '../../fixtures');
const REJECTED = join(FIXTURES, 'objects/rejected.bpf.o');
const SUBPROGS = join(FIXTURES, 'objects/subprogs.bpf.o');

const HEADER = 'file_name,prog_name,verdict,duration,total_insns,total_states,peak_states,max_states_per_insn,max_mark_read_len,'
  + 'prog_size,prog_size_jited,prog_type,attach_type,stack_depth,max_stack_depth,mem_peak';

/** The rows of a CSV without its head. */
async function rowsOf(...options: string[]): Promise<string[]> {
  const { stdout } = await bpftwin(['verify', REJECTED, SUBPROGS, '-o', 'csv', ...options]);
  return stdout.trimEnd().split('\n').slice(1);
}

describe('verify -o and -e', () => {
  it("writes veristat's CSV", async () => {
    const { status, stdout } = await bpftwin(['verify', SUBPROGS, '--output', 'csv']);
    expect(status).toBe(0);
    const [head, first, second, end, ...more] = stdout.split('\n');
    expect(head).toBe(HEADER);
    expect(first).toMatch(/^subprogs\.bpf\.o,first,success,\d+,180,14,14,1,0,63,0,socket_filter,cgroup_inet_ingress,32,16,-1$/);
    expect(second).toMatch(/^subprogs\.bpf\.o,second,success,\d+,115,8,8,1,0,39,0,syscall,cgroup_inet_ingress,0,0,-1$/);
    expect([end, more]).toEqual(['', []]);
  });

  it('chooses columns by name and alias, in the order asked for', async () => {
    expect((await bpftwin(['verify', REJECTED, '-o', 'csv', '-e', 'verdict,prog,insns'])).stdout)
      .toBe('verdict,prog_name,total_insns\nsuccess,fine,5\nfailure,out_of_bounds,15\n');
  });

  it('chooses columns of the table', async () => {
    const { status, stdout } = await bpftwin(['verify', REJECTED, '--emit', 'prog,insns,prog_type']);
    expect(status).toBe(1);
    expect(stdout).toBe([
      'Program        Insns  Program type', 'fine               5  socket_filter', 'out_of_bounds     15  socket_filter', '2 programs, 1 refused', '',
    ].join('\n'));
  });
});

describe('verify -s', () => {
  it.each([
    ['insns^', 'fine out_of_bounds second first'],
    ['insns', 'first second out_of_bounds fine'],
    ['insnsv', 'first second out_of_bounds fine'],
    ['verdict,insns', 'out_of_bounds first second fine'],
    ['file_,prog_', 'second first out_of_bounds fine'],
    ['mark_read', 'fine out_of_bounds first second'],
  ])('%s', async (spec, expected) => {
    expect((await rowsOf('-e', 'prog', '-s', spec)).join(' ')).toBe(expected);
  });

  it('is file and program where nothing is said, whatever the order of the files', async () => {
    const { stdout } = await bpftwin(['verify', SUBPROGS, REJECTED, '-j']);
    expect((JSON.parse(stdout) as { prog: string }[]).map(({ prog }) => prog)).toEqual(['fine', 'out_of_bounds', 'first', 'second']);
  });
});

describe('verify -f', () => {
  it.each([
    [['fi*'], 'fine first'],
    [['rejected*'], 'fine out_of_bounds'],
    [['sub*/*s*'], 'first second'],
    [['sub*/f*'], 'first'],
    [['/f*'], 'fine first'],
    [['subprogs.bpf.o/'], 'first second'],
    [['!fi*'], 'out_of_bounds second'],
    [['/f*', '!rejected*'], 'first'],
    [['/first', '/fine'], 'fine first'],
    [['insns>15'], 'first second'],
    [['insns>=15'], 'out_of_bounds first second'],
    [['insns<15'], 'fine'],
    [['insns<=15', '/f*'], 'fine'],
    [['insns<>15'], 'fine first second'],
    [['insns!=15'], 'fine first second'],
    [['insns==15'], 'out_of_bounds'],
    [['verdict=failure'], 'out_of_bounds'],
    [['verdict=success'], 'fine first second'],
    [['!verdict=success'], 'out_of_bounds'],
    [['!insns = 15'], 'fine first second'],
    [['|mem_peak|=1', '/first'], 'first'],
    [['nothing'], ''],
  ])('%j', async (filters, expected) => {
    expect((await rowsOf('-e', 'prog', ...filters.flatMap((filter) => ['-f', filter]))).join(' ')).toBe(expected);
  });

  it('reads filters from a file', async () => {
    const list = temporary('filters', '# only these\n\n/first\n /fine \n');
    expect(await rowsOf('-e', 'prog', '-f', `@${list}`)).toEqual(['fine', 'first']);
  });

  it('decides the status by the programs that are left', async () => {
    expect((await bpftwin(['verify', REJECTED, '-f', '!verdict=failure'])).status).toBe(0);
  });

  it('matches globs with many stars in no time', () => {
    expect(matchesGlob('a'.repeat(5000), `${'*a'.repeat(500)}b`)).toBe(false);
    expect(matchesGlob('a'.repeat(5000), '*a'.repeat(500))).toBe(true);
    expect(matchesGlob('ab', 'ab*b')).toBe(false);
    expect(matchesGlob('abab', 'ab**b')).toBe(true);
    expect(matchesGlob('a.o', 'a?o')).toBe(false);
  });
});

describe('verify -C', () => {
  const BASE = 'file_name,prog_name,verdict,total_insns\na.o,gone,success,1\na.o,grew,success,10\na.o,same,failure,0\na.o,shrank,success,200\n';
  const better = BASE.replace('a.o,gone,success,1\n', 'a.o,new,failure,7\n').replace('success,10\n', 'success,12\n').replace('200', '149').replace('failure,0', 'success,3');

  it('shows both values and the difference, absolute and in percent', async () => {
    const { status, stdout } = await bpftwin(['verify', '-C', temporary('a.csv', BASE), temporary('b.csv', better), '-o', 'csv']);
    expect(stdout).toBe([
      'file_name,prog_name,verdict_base,verdict_comp,verdict_diff,total_insns_base,total_insns_comp,total_insns_diff',
      'a.o,gone,success,N/A,N/A,1,N/A,N/A',
      'a.o,grew,success,success,MATCH,10,12,+2 (+20.00%)',
      'a.o,new,N/A,failure,N/A,N/A,7,N/A',
      'a.o,same,failure,success,MISMATCH,0,3,+3 (+100.00%)',
      'a.o,shrank,success,success,MATCH,200,149,-51 (-25.50%)',
      '',
    ].join('\n'));
    expect(status).toBe(0);
  });

  it('ends with 1 where a verdict got worse', async () => {
    const worse = BASE.replace('grew,success', 'grew,failure');
    const { status, stdout } = await bpftwin(['verify', '-C', temporary('a.csv', BASE), temporary('b.csv', worse), '-f', 'verdict_diff=mismatch']);
    expect(status).toBe(1);
    expect(stdout).toBe([
      'File  Program  Verdict (A)  Verdict (B)  Verdict (DIFF)  Insns (A)  Insns (B)  Insns (DIFF)',
      'a.o   grew     success      failure      MISMATCH               10         10  +0 (+0.00%)',
      '1 program, 1 worse', '',
    ].join('\n'));
  });

  it.each([
    ['|insns_pct|', [], 'same shrank grew gone new'],
    ['insns_diff^', ['insns_diff!=0'], 'shrank grew same'],
    ['insns_a', ['insns_a>0'], 'shrank grew gone'],
    ['prog', ['|insns_pct|>=25'], 'same shrank'],
  ])('sorts by %s and filters by %j', async (sort, filters, expected) => {
    const files = [temporary('a.csv', BASE), temporary('b.csv', better)];
    const { stdout } = await bpftwin(['verify', ...files, '--compare', '-o', 'csv', '-e', 'prog', '-s', sort, ...filters.flatMap((filter) => ['-f', filter])]);
    expect(stdout.trimEnd().split('\n').slice(1).join(' ')).toBe(expected);
  });

  it('takes what verify wrote', async () => {
    const { stdout } = await bpftwin(['verify', REJECTED, '-o', 'csv']);
    const file = temporary('own.csv', stdout);
    const { status, stdout: table } = await bpftwin(['verify', '-C', file, file, '-j']);
    expect(status).toBe(0);
    expect(JSON.parse(table)).toMatchObject([{ prog_name: 'fine', total_insns_diff: '+0 (+0.00%)', worse: false }, { prog_name: 'out_of_bounds', verdict_diff: 'MATCH' }]);
  });

  it.each([
    ['', 'line 1: no figure is called ""'],
    ['prog_name,verdict\n', 'line 1: no column file_name'],
    ['file_name,prog_name,insns\na,b\n', 'line 2: 2 columns instead of 3'],
    ['file_name,prog_name,insns\na,b,1\na,b,x\n', 'line 3: total_insns: "x" is no whole number'],
    ['file_name,prog_name,verdict\na,b,perhaps\n', 'line 2: "perhaps" is no verdict'],
  ])('refuses %j', async (text, reason) => {
    const file = temporary('bad.csv', text);
    const { status, stderr } = await bpftwin(['verify', '-C', temporary('a.csv', BASE), file]);
    expect([status, stderr]).toEqual([2, `bpftwin: ${file}: ${reason}\n`]);
  });
});

describe('verify --explain', () => {
  it('prints the report with the source around the places it names, and no log', async () => {
    const { status, stdout } = await bpftwin(['verify', REJECTED, '--explain']);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^rejected\.bpf\.o\/out_of_bounds: Verification failed: Memory Safety: Access outside bounds\n\nReason:\n/);
    expect(stdout).toContain([
      '  out_of_bounds @ rejected.bpf.c:28:21',
      '  Source context:',
      '      26 |     __u64 *pair = bpf_map_lookup_elem(&pairs, &slot);',
      '      27 |',
      '  >>> 28 |     return pair ? (int)pair[skb->mark & 7] : 0;',
      '         | ^-- error: access may be outside object bounds',
      '      29 | }',
      '      30 |',
      '  Instruction context:',
    ].join('\n'));
    expect(stdout).toContain('Suggestion:\n');
    expect(stdout).not.toMatch(/^PROCESSING|^processed /m);
    expect(stdout).toMatch(/2 programs, 1 refused\n$/);
  });

  it('does without where the source is not found', async () => {
    const folder = join(mkdtempSync(join(tmpdir(), 'bpftwin-test-')), 'alone');
    mkdirSync(folder);
    copyFileSync(REJECTED, join(folder, 'rejected.bpf.o'));
    const { stdout } = await bpftwin(['verify', join(folder, 'rejected.bpf.o'), '--explain']);
    expect(stdout).toMatch(/@ rejected\.bpf\.c:28:21\n +\| \^-- error: /);
  });

  it('leaves a place alone whose source the verifier had', () => {
    const report = 'At:\n  f @ a.c:1:2\n  Source context:\n  >>>  1 | x\n\n  f @ a.c:9:2\n       | ^-- far\n\n  f @ a.c:2:1\n       | ^-- here\n       |     still\n';
    expect(addSource(report, (name) => (name === 'a.c' ? ['x', '\ty\u001b'] : undefined))).toBe(report.replace(
      '       | ^-- here\n       |     still\n', '  Source context:\n       1 | x\n  >>>  2 |     y?\n         | ^-- here\n         |     still\n',
    ));
  });

  it('gives the report as data', async () => {
    const { stdout } = await bpftwin(['verify', REJECTED, '--explain', '-j']);
    expect(JSON.parse(stdout)).toMatchObject([{ prog: 'fine', report: '' }, { prog: 'out_of_bounds', report: expect.stringMatching(/^Verification failed: [^]*>>> 28 \|/) }]);
  });
});

describe('verify refuses', () => {
  it.each([
    [['-e', 'prog,foo'], '--emit "prog,foo": no figure is called "foo"'],
    [['-eprogj'], '--emit "progj": no figure is called "progj"'],
    [['-e', ''], '--emit "": no figure is called ""'],
    [['-s', 'insns^,'], '--sort "insns^,": no figure is called ""'],
    [['-f', ''], '--filter "": empty'],
    [['-f', '!/'], '--filter "!/": empty'],
    [['-f', 'insns>many'], '--filter "insns>many": "many" is no whole number'],
    [['-f', 'size>1'], '--filter "size>1": no figure is called "size"'],
    [['-f', 'insns>constructor'], '--filter "insns>constructor": "constructor" is no whole number'],
    [['-f', 'prog=1'], '--filter "prog=1": prog_name is no number'],
    [['-f', '@/nonexistent'], '/nonexistent: no such file'],
    [['-C'], '--compare: two CSV files are wanted, not 1'],
    [['-C', '--prog', 'fine'], '--compare: loads nothing, so not together with --prog or --log; --filter chooses programs'],
    [['--explain', '-o', 'csv'], '--explain: not together with --output csv'],
    [['--explain', '--log', '4'], '--log 4: --explain needs level 1 or 2, which have the report'],
  ])('%j', async (options, message) => {
    const { status, stdout, stderr } = await bpftwin(['verify', REJECTED, ...options]);
    expect([status, stdout, stderr]).toEqual([2, '', `bpftwin: ${message}\n`]);
  });

  it('a format that there is not', async () => {
    const { status, stderr } = await bpftwin(['verify', REJECTED, '-o', 'xml']);
    expect(status).toBe(2);
    expect(stderr).toContain("'xml' is invalid");
  });
});
