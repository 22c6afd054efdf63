import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Kernel } from '../../../kernel/kernel.ts';
import { BTF } from '../../../btf/btf.ts';
import { loadObject } from '../../../loader/object/load-object.ts';
import { SECTION_DEFS, findSectionDef } from '../../../loader/object/section-defs.ts';
import { internalMapName } from '../../../loader/object/map-defs.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { verifyObject, type VerifiedRow } from '../../../src/verify.ts';
import { bpftwin } from '../cli/harness.ts';
import { FIXTURES, fixturePath } from './fixtures.ts';

interface Expected {
  readonly progs: readonly { readonly name: string; readonly verified_insns: number }[];
}

const object = (name: string): Uint8Array => readFileSync(fixturePath(`objects/${name}.bpf.o`));
const verify = (name: string, programs?: readonly string[]): VerifiedRow[] =>
  verifyObject(object(name), `${name}.bpf.o`, { kernelBTF: () => loadKernelBTF(), ...(programs === undefined ? {} : { programs }) });

describe('programs of objects', () => {
  it.each(FIXTURES)('%s: accepted, with as many instructions processed as on Linux', (name) => {
    const { progs } = JSON.parse(readFileSync(fixturePath(`expected/${name}.json`), 'utf8')) as Expected;
    const rows = verify(name);
    expect(rows.map((row) => [row.prog.slice(0, 15), row.verdict, row.message])).toEqual(progs.map((program) => [program.name, 'success', '']));
    expect(rows.map((row) => row.insns)).toEqual(progs.map((program) => program.verified_insns));
  });

  it('only those that are asked for', () => {
    expect(verify('programs').length).toBeGreaterThan(1);
    const [first] = verify('programs');
    expect(verify('programs', [first?.prog ?? '']).map((row) => row.prog)).toEqual([first?.prog]);
  });

  it('leave nothing behind in the kernel', () => {
    const kernel = new Kernel({ kernelBTF: () => loadKernelBTF() });
    const btf = BTF.parse(loadKernelBTF(), { isKernel: true });
    loadObject(kernel, object('mapinmap'), 'a.o', 'a', { kernel: { btf, symbol: () => undefined }, log: { level: 4, size: 4096 } });
    const { files, maps, programs, btfs } = kernel.objects();
    expect([files, maps, programs, btfs].map((list) => list.length)).toEqual([0, 0, 0, 0]);
  });
});

describe('the command', () => {
  it('prints veristat\'s columns and ends with 0', async () => {
    const { status, stdout } = await bpftwin(['verify', fixturePath('objects/globals.bpf.o')]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^File +Program +Verdict +Duration \(us\) +Insns +States +Peak states$/m);
    expect(stdout).toMatch(/^globals\.bpf\.o +within +success/m);
  });

  it('gives JSON of the promised shape', async () => {
    const { stdout } = await bpftwin(['verify', '-j', fixturePath('objects/globals.bpf.o'), '--prog', 'within']);
    const [row] = JSON.parse(stdout) as VerifiedRow[];
    expect(row).toMatchObject({ prog: 'within', verdict: 'success', errno: 0, insns: 35 });
    expect(Object.keys(row ?? {})).toEqual(expect.arrayContaining(['file', 'duration_us', 'states', 'peak_states', 'log']));
  });

  it('ends with 2 for what is no object', async () => {
    const { status, stderr } = await bpftwin(['verify', fixturePath('keys/rsa2048.crt')]);
    expect(status).toBe(2);
    expect(stderr).toContain('is not a proper ELF object');
  });
});

describe('section names', () => {
  it.each([
    ['xdp', 'xdp'], ['xdp.frags/cpumap', 'xdp.frags/cpumap'], ['fentry/do_exit', 'fentry+'], ['fentry.s', 'fentry.s+'], ['kprobe.multi/tcp_*', 'kprobe.multi+'],
    ['cgroup/getsockname_unix', 'cgroup/getsockname_unix'], ['raw_tp.w/x', 'raw_tp.w+'], ['tc/ingress', 'tc/ingress'], ['socket', 'socket'],
  ])('%s is found as %s', (section, pattern) => {
    expect(findSectionDef(section)?.pattern).toBe(pattern);
  });

  it.each(['xdp/nothing', 'fentryx', 'socket1', 'kprobe.multix/a', '', 'tc/'])('%j is none', (section) => {
    expect(findSectionDef(section)).toBeUndefined();
  });

  it('no two rows are the same', () => {
    expect(new Set(SECTION_DEFS.map(({ pattern }) => pattern)).size).toBe(SECTION_DEFS.length);
  });
});

describe('names of internal maps', () => {
  it.each([
    ['my_object_name', '.rodata', 'rodata', 'my_objec.rodata'], ['my_object_name', '.bss', 'bss', 'my_objec.bss'], ['my_object_name', '.kconfig', 'kconfig', 'my_obje.kconfig'],
    ['x', '.data', 'data', 'x.data'], ['obj', '.rodata.abracadabra', 'rodata', '.rodata.abracad'], ['a-b', '.data', 'data', 'a_b.data'], ['obj', '.percpu', 'percpu', '.percpu'],
  ] as const)('%s and %s', (name, section, kind, want) => {
    expect(internalMapName(name, section, kind)).toBe(want);
  });
});
