/**
 * TypeScript skeletons as their users have them: the modules of `test/fixtures/modules` are what the generator makes today, the project's
 * own type check covers them, and here they load, run and read their objects in a kernel.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { signDetached } from '../../crypto/sign.ts';
import { BPF_LINK_TYPE_ITER, BPF_LINK_TYPE_RAW_TRACEPOINT, BPF_LINK_TYPE_TRACING } from '../../isa/uapi.ts';
import { readPrivateKey } from '../../crypto/private-key.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { generateLightModule, generateModule } from '../../src/gen.ts';
import { readCertificates } from '../../src/certificates.ts';
import { InputError, SkeletonError } from '../../src/index.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';
import { DeclarationsSkeleton, Plain, Wide } from '../fixtures/modules/declarations.ts';
import { DeclarationsBeSkeleton } from '../fixtures/modules/declarations_be.ts';
import { GlobalsSkeleton } from '../fixtures/modules/globals.ts';
import { GlobalsSkeleton as LightGlobals } from '../fixtures/modules/globals.light.ts';
import { KconfigSkeleton } from '../fixtures/modules/kconfig.ts';
import { KconfigSkeleton as LightKconfig } from '../fixtures/modules/kconfig.light.ts';
import { LsmSkeleton } from '../fixtures/modules/lsm.ts';
import { MapsSkeleton } from '../fixtures/modules/maps.ts';
import { RunnableSkeleton } from '../fixtures/modules/runnable.ts';
import { RunnableSkeleton as SignedRunnable } from '../fixtures/modules/runnable.signed.ts';
import { StructopsSkeleton } from '../fixtures/modules/structops.ts';
import { TailcallsSkeleton } from '../fixtures/modules/tailcalls.ts';
import { TracingSkeleton } from '../fixtures/modules/tracing.ts';
import { TracingSkeleton as LightTracing } from '../fixtures/modules/tracing.light.ts';
import { CongestionSkeleton } from '../live-kernel/congestion.ts';
import { bpftwin } from '../unit/cli/harness.ts';
import { fixturePath } from '../unit/loader/fixtures.ts';

const kernelBTF = loadKernelBTF();
const newKernel = (): Kernel => new Kernel({ kernelBTF: () => kernelBTF });
/** Socket filters see a packet without its Ethernet header. */
const packet = (length: number): Uint8Array => new Uint8Array(14 + length);
const certificate = (): Uint8Array => readCertificates(readFileSync(fixturePath('keys/rsa2048.crt')), 'rsa2048.crt')[0]?.raw ?? new Uint8Array(0);

/** `seed`, `rounds`, then the result. */
function work(rounds: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, rounds, true);
  new DataView(bytes.buffer).setUint32(4, seed, true);
  return bytes;
}

function isEmpty(kernel: Kernel): boolean {
  const { files, maps, programs, btfs, links } = kernel.objects();
  return files.length + maps.length + programs.length + btfs.length + links.length === 0;
}

describe('the committed modules are what the generator makes', () => {
  const objectOf = (name: string): string => (name.startsWith('declarations') || name === 'structops' || name === 'kconfig' ? fixturePath(`../unit/loader/data/${name.replace('_', '-')}.bpf.o`) : fixturePath(`objects/${name}.bpf.o`));
  const module = (file: string): string => readFileSync(fixturePath(`modules/${file}.ts`), 'utf8');
  const runtime = '../../../src/index.ts';

  it.each(['globals', 'runnable', 'tailcalls', 'tracing', 'lsm', 'maps', 'declarations', 'structops', 'kconfig'])('%s, with the object', (name) => {
    expect(generateModule(readFileSync(objectOf(name)), objectOf(name), { name, runtime })).toBe(module(name));
  });

  it.each([['globals', 'globals.light'], ['tracing', 'tracing.light'], ['declarations_be', 'declarations_be']])('%s, with a loader (%s)', (name, file) => {
    expect(generateLightModule(readFileSync(objectOf(name)), objectOf(name), { name, runtime })).toBe(module(file));
  });

  it('kconfig, with a loader made for a configuration', () => {
    const configuration = 'CONFIG_BPF_SYSCALL=y\nCONFIG_HZ=250\nCONFIG_DEFAULT_HOSTNAME="(none)"\n';
    expect(generateLightModule(readFileSync(objectOf('kconfig')), objectOf('kconfig'), { name: 'kconfig', runtime, configuration })).toBe(module('kconfig.light'));
  });

  it('runnable, signed', () => {
    const key = readPrivateKey(readFileSync(fixturePath('keys/rsa2048.pem')), 'rsa2048.pem');
    const sign = (parts: readonly Uint8Array[]): Uint8Array => signDetached(parts, key, certificate(), { file: 'rsa2048.crt' });
    expect(generateLightModule(readFileSync(objectOf('runnable')), objectOf('runnable'), { name: 'runnable', runtime, sign })).toBe(module('runnable.signed'));
  });

  it('by the command, which imports the package unless told otherwise', async () => {
    const { status, stdout } = await bpftwin(['gen', 'skeleton', '--lang', 'ts', objectOf('globals'), 'name', 'globals']);
    expect([status, stdout]).toEqual([0, module('globals').replace(`'${runtime}'`, "'bpftwin'")]);
    const refused = await bpftwin(['gen', 'skeleton', '--runtime', 'x', objectOf('globals')]);
    expect([refused.status, refused.stderr]).toEqual([2, 'bpftwin: --runtime: only a TypeScript skeleton imports a module\n']);
  });
});

interface GlobalsForm {
  readonly open: () => GlobalsSkeleton | LightGlobals;
  readonly load: (kernel: Kernel, skeleton: GlobalsSkeleton | LightGlobals) => void;
}

const WITH_OBJECT: GlobalsForm = {
  open: () => GlobalsSkeleton.open(),
  load: (kernel, skeleton) => void (skeleton instanceof GlobalsSkeleton && skeleton.load(kernel, { kernelBTF })),
};
const WITH_LOADER: GlobalsForm = {
  open: () => LightGlobals.open(),
  load: (kernel, skeleton) => void (skeleton instanceof LightGlobals && skeleton.load(kernel)),
};

describe.each([['the object', WITH_OBJECT], ['a loader', WITH_LOADER]])('global variables of a skeleton with %s', (_what, { open, load }) => {
  it('are read and written before the load, and are the programs\' own after it', () => {
    const kernel = newKernel();
    const skeleton = open();
    expect(skeleton.rodata.limits).toMatchObject({ low: 10, high: 2000 });
    expect(skeleton.rodata.limits.label.text).toBe('default limits');
    expect(skeleton.data.weights.toArray()).toEqual([-2, -1, 0, 1, 2]);
    skeleton.rodata.limits.low = 20;
    skeleton.data.weights.set(1, 1000);
    load(kernel, skeleton);
    // 15 bytes are below the new limit, 21 are 1 modulo 5.
    expect(skeleton.progs.within.testRun({ data: packet(15) }).retval).toBe(0);
    expect(skeleton.progs.within.testRun({ data: packet(21) }).retval).toBe(1000 + 21);
    expect(skeleton.bss.accepted).toBe(1n);
    expect(skeleton.bss.histogram.toArray()).toEqual([0, 0, 0, 0, 0, 1, 0, 0]);
    expect(skeleton.data.magic).toBe(0x5ca1ab1e0ddba11n ^ 0x00ff00ff00ff00ffn);
    skeleton.bss.accepted = 41n;
    skeleton.progs.within.testRun({ data: packet(21) });
    expect(skeleton.bss.accepted).toBe(42n);
    skeleton.destroy();
    expect(isEmpty(kernel)).toBe(true);
  });

  it('that are constant cannot be written any more', () => {
    const skeleton = open();
    load(newKernel(), skeleton);
    expect(() => {
      skeleton.rodata.mask = 1n;
    }).toThrow(new InputError('section rodata', '', 'is read-only once it is loaded'));
    expect(skeleton.rodata.mask).toBe(0x00ff00ff00ff00ffn);
    skeleton.destroy();
  });

  it('take no value that they cannot hold', () => {
    const skeleton = open();
    for (const low of [-1, 2 ** 32, 0.5, Number.NaN]) {
      expect(() => {
        skeleton.rodata.limits.low = low;
      }).toThrow('is no unsigned integer of 32 bits');
    }
    expect(() => {
      skeleton.data.magic = 2n ** 64n;
    }).toThrow('is no unsigned integer of 64 bits');
    expect(() => skeleton.data.weights.set(5, 0)).toThrow(new RangeError('index 5 of an array of 5'));
    expect(() => {
      skeleton.rodata.limits.label.text = 'far too long for the member';
    }).toThrow('a text of 27 bytes where there are 16');
    expect(skeleton.rodata.limits.low).toBe(10);
  });

  it('are those of one skeleton each', () => {
    const [first, second] = [open(), open()];
    first.bss.accepted = 7n;
    expect(second.bss.accepted).toBe(0n);
  });
});

describe('the life of a skeleton', () => {
  it('is opened, loaded once, destroyed', () => {
    const kernel = newKernel();
    const skeleton = GlobalsSkeleton.open();
    expect(() => skeleton.progs.within.testRun()).toThrow("program 'within': the skeleton is not loaded");
    expect(skeleton.isLoaded).toBe(false);
    skeleton.load(kernel, { kernelBTF });
    expect(skeleton.isLoaded).toBe(true);
    expect(() => skeleton.load(kernel)).toThrow('the skeleton is loaded already');
    skeleton.destroy();
    skeleton.destroy();
    expect(() => skeleton.load(kernel)).toThrow('the skeleton was destroyed');
    expect(() => skeleton.bss.accepted).toThrow('the skeleton was destroyed');
    expect(() => skeleton.maps.bss.fd).toThrow("map 'bss': the skeleton was destroyed");
  });

  it('ends where the kernel refuses a program, with the log, and leaves nothing behind', () => {
    const kernel = newKernel();
    const skeleton = TracingSkeleton.open();
    // Without the kernel's types there is nothing to attach to.
    expect(() => skeleton.load(kernel)).toThrow(/program 'before': failed to find kernel BTF type ID of 'filename_unlinkat': -3/);
    expect(isEmpty(kernel)).toBe(true);
    const refusing = newKernel();
    refusing.hooks.attach('bpf_prog_load', () => -13);
    let error: unknown;
    try {
      LightTracing.open().load(refusing);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SkeletonError);
    expect(error).toMatchObject({ errno: 13, message: "skeleton 'tracing': failed to load loader prog: EACCES" });
    expect(isEmpty(refusing)).toBe(true);
  });
});

describe('maps', () => {
  it('have keys and values of their types', () => {
    const kernel = newKernel();
    const skeleton = RunnableSkeleton.open().load(kernel);
    const { ctx, retval } = skeleton.progs.collatz.testRun({ ctx: work(100, 6) });
    expect([retval, new DataView(ctx.buffer, ctx.byteOffset).getBigUint64(8, true)]).toEqual([8, 1n]);
    expect(skeleton.maps.results.lookup(6)).toBe(1n);
    expect(skeleton.maps.results.lookup(7)).toBeUndefined();
    skeleton.maps.results.update(7, 99n, 'new');
    expect([...skeleton.maps.results.entries()].toSorted()).toEqual([[6, 1n], [7, 99n]]);
    expect(() => skeleton.maps.results.update(7, 1n, 'new')).toThrow("map 'results': update: EEXIST");
    expect([skeleton.maps.results.delete(7), skeleton.maps.results.delete(7)]).toEqual([true, false]);
    expect([...skeleton.maps.results.keys()]).toEqual([6]);
    expect([...skeleton.maps.steps.keys()]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(skeleton.bss.runs).toBe(1n);
    skeleton.destroy();
    expect(isEmpty(kernel)).toBe(true);
  });

  it('with structs as keys and values', () => {
    const skeleton = MapsSkeleton.open().load(newKernel(), { kernelBTF });
    const { records } = skeleton.maps;
    const key = records.createKey();
    key.words.set(2, 5);
    const value = records.createValue();
    value.when = 2n ** 63n;
    value.text.text = 'a record';
    records.update(key, value);
    const [[found, record] = []] = [...records.entries()];
    expect(found?.words.toArray()).toEqual([0, 0, 5]);
    expect([record?.when, record?.who, record?.text.text]).toEqual([2n ** 63n, 0, 'a record']);
    // A copy: the map changes through update alone.
    if (record !== undefined) record.who = 3;
    expect(records.lookup(key)?.who).toBe(0);
    expect(Object.keys(skeleton.maps)).toContain('per_cpu_counts');
    expect(skeleton.maps.events.fd).toBeGreaterThan(0);
    skeleton.destroy();
  });

  it('are created as large as the caller wants, which is said before the load', () => {
    const kernel = newKernel();
    const skeleton = RunnableSkeleton.open();
    skeleton.maps.steps.configure({ maxEntries: 3 });
    expect(() => skeleton.maps.steps.configure({ maxEntries: -1 })).toThrow("map 'steps': maxEntries of -1");
    skeleton.load(kernel);
    expect([...skeleton.maps.steps.keys()]).toEqual([0, 1, 2]);
    expect(() => skeleton.maps.steps.configure({ maxEntries: 4 })).toThrow("map 'steps': the skeleton is loaded already");
    skeleton.destroy();
    expect(() => RunnableSkeleton.open().maps.steps.configure({ valueSize: 64 })).toThrow("map 'steps': its values have a type of 4 bytes");
    expect(() => LightTracing.open().maps.bss.configure({ maxEntries: 2 })).toThrow("map 'bss': a data section has the size of its variables");
    const signed = SignedRunnable.open();
    signed.maps.steps.configure({ valueSize: 4 });
    expect(() => signed.load(kernel)).toThrow("map 'steps': a loader program creates values of the size it was generated for");
  });

  it('of programs are filled in by the caller', () => {
    const skeleton = TailcallsSkeleton.open().load(newKernel(), { kernelBTF });
    expect(skeleton.progs.entry.testRun({ data: packet(14) }).retval).toBe(0xffffffff);
    expect(skeleton.maps.jumps.fd).toBeGreaterThan(0);
    skeleton.destroy();
  });
});

describe('signatures', () => {
  it('are checked as with any light skeleton', () => {
    const stranger = newKernel();
    expect(() => SignedRunnable.open().load(stranger)).toThrow("skeleton 'runnable': failed to load loader prog: ENOKEY");
    const kernel = newKernel();
    expect(kernel.addKey('asymmetric', 'test', certificate(), -3)).toBeGreaterThan(0);
    const skeleton = SignedRunnable.open().load(kernel);
    expect(skeleton.progs.collatz.testRun({ ctx: work(100, 6) }).retval).toBe(8);
    expect(skeleton.bss.runs).toBe(1n);
    skeleton.destroy();
  });
});

describe('attaching', () => {
  it.each([['the object', (kernel: Kernel) => TracingSkeleton.open().load(kernel, { kernelBTF })], ['a loader', (kernel: Kernel) => LightTracing.open().load(kernel)]])(
    'links programs one by one, and all of them (%s)', (_what, open) => {
      const kernel = newKernel();
      const skeleton = open(kernel);
      skeleton.links.before.attach();
      skeleton.links.before.attach();
      skeleton.links.switched.attach();
      expect(kernel.objects().links.length).toBe(2);
      expect(skeleton.links.before.fd).toBeGreaterThan(0);
      expect(skeleton.attach()).toEqual({ attached: ['before', 'after', 'switched', 'maps'], skipped: [] });
      expect(kernel.objects().links.map(({ type }) => type).toSorted()).toEqual([BPF_LINK_TYPE_RAW_TRACEPOINT, BPF_LINK_TYPE_TRACING, BPF_LINK_TYPE_TRACING, BPF_LINK_TYPE_ITER]);
      skeleton.detach();
      expect([kernel.objects().links.length, skeleton.links.before.fd]).toEqual([0, undefined]);
      skeleton.destroy();
      expect(isEmpty(kernel)).toBe(true);
    });

  it('leaves out programs that the caller does not want', () => {
    const kernel = newKernel();
    const skeleton = TracingSkeleton.open();
    skeleton.progs.maps.autoload = false;
    skeleton.load(kernel, { kernelBTF });
    expect(skeleton.attach()).toEqual({ attached: ['before', 'after', 'switched'], skipped: ['maps'] });
    expect(() => skeleton.progs.maps.fd).toThrow("program 'maps': was not loaded");
    expect(() => {
      skeleton.progs.maps.autoload = true;
    }).toThrow("program 'maps': the skeleton is loaded already");
    skeleton.destroy();
    expect(isEmpty(kernel)).toBe(true);
    const light = LightTracing.open();
    light.progs.maps.autoload = false;
    expect(() => light.load(kernel)).toThrow("program 'maps': a loader program loads what it was generated for");
  });

  it('reports what was attached and what nothing attaches by itself', () => {
    const kernel = newKernel();
    const lsm = LsmSkeleton.open().load(kernel, { kernelBTF });
    expect(lsm.attach()).toEqual({ attached: ['admit', 'watch', 'opened'], skipped: [] });
    expect(kernel.objects().links.length).toBe(3);
    lsm.detach();
    expect(kernel.objects().links.length).toBe(0);
    lsm.destroy();
    const globals = GlobalsSkeleton.open().load(kernel, { kernelBTF });
    expect(globals.attach()).toEqual({ attached: [], skipped: ['within'] });
    expect(() => globals.links.within.attach()).toThrow("'within': auto-attach not supported");
    globals.destroy();
    expect(() => globals.attach()).toThrow('the skeleton is not loaded');
  });

  it('has links for structures of callbacks, those that wait to be asked for left out', () => {
    const kernel = newKernel();
    const skeleton = StructopsSkeleton.open();
    expect(() => skeleton.links.linked.attach()).toThrow("map 'linked': the skeleton is not loaded");
    // One program stands for two members of the structure.
    expect(() => skeleton.load(kernel, { kernelBTF })).toThrow('map linked: struct_ops init_kern linked func ptr undo_cwnd: invalid reuse of prog half in sec struct_ops with type 27: expected_attach_type 2 != kern_member_idx 9');
    expect(isEmpty(kernel)).toBe(true);
    const congestion = CongestionSkeleton.open().load(kernel, { kernelBTF });
    expect(congestion.links.linked.isAutomatic).toBe(true);
    expect(congestion.attach()).toEqual({ attached: ['linked', 'plain'], skipped: ['keep', 'grow', 'undo'] });
    expect(congestion.links.plain.fd).toBe(congestion.maps.plain.fd);
    // The names are taken, by this kernel and this skeleton.
    const second = CongestionSkeleton.open().load(kernel, { kernelBTF });
    expect(() => second.attach()).toThrow("'linked': attach: EEXIST");
    second.destroy();
    congestion.destroy();
    expect(isEmpty(kernel)).toBe(true);
  });
});

describe('awkward types', () => {
  it('enumerations, bit-fields, floats, unions, wide and small integers', () => {
    const { data, bss, rodata } = DeclarationsSkeleton.open();
    expect([data.plain_value, data.wide_value, data.anonymous_enum]).toEqual([Plain.PLAIN_B, Wide.WIDE_B, 5]);
    expect([data.single, data.huge, data.flag, rodata.limit]).toEqual([1, 1n, true, 10]);
    expect({ ...data.wide_gap }).toEqual({ a: -1, b: -1, s: 1 });
    data.wide_gap.b = 0;
    expect({ ...data.wide_gap }).toEqual({ a: -1, b: 0, s: 1 });
    data.fields.b = -64;
    expect({ ...data.fields }).toEqual({ a: 1, b: -64, c: 0 });
    expect(() => {
      data.fields.b = 64;
    }).toThrow('64 is no signed integer of 7 bits');
    data.choice.l = 0x4142n;
    expect(data.choice.c.text).toBe('BA');
    bss.matrix.get(1).set(2, 9n);
    expect(bss.matrix.toArray().map((row) => row.toArray())).toEqual([[0n, 0n, 0n], [0n, 0n, 9n]]);
    data.gaps = { c: 1, l: -2n, d: 3 };
    expect({ ...data.gaps }).toEqual({ c: 1, l: -2n, d: 3 });
    bss.anonymous.u = 0x00434241;
    expect([bss.anonymous.c.text, bss.anonymous.x]).toEqual(['ABC', 0]);
  });

  it('the same in the other byte order', () => {
    const { data, rodata } = DeclarationsBeSkeleton.open();
    expect([data.plain_value, data.wide_value, data.huge, data.single, rodata.limit]).toEqual([1, 0x100000001n, 1n, 1, 10]);
    expect({ ...data.wide_gap }).toEqual({ a: -1, b: -1, s: 1 });
    expect({ ...data.fields }).toEqual({ a: 1, b: 0, c: 0 });
    data.fields.b = -64;
    data.wide_gap.a = 0;
    expect([{ ...data.fields }, { ...data.wide_gap }]).toEqual([{ a: 1, b: -64, c: 0 }, { a: 0, b: -1, s: 1 }]);
  });

  it('names of every object are names like others', () => {
    const kernel = newKernel();
    const skeleton = DeclarationsSkeleton.open().load(kernel, { kernelBTF });
    skeleton.maps.constructor.update(0, 5n);
    skeleton.maps['__proto__'].update(0, 6n);
    expect([skeleton.maps.constructor.lookup(0), skeleton.maps['__proto__'].lookup(0)]).toEqual([5n, 6n]);
    expect(skeleton.progs.__proto__2.testRun({ ctx: new Uint8Array(8) }).retval).toBe(1 + 1 + 1 + 10);
    skeleton.destroy();
    expect(isEmpty(kernel)).toBe(true);
  });
});

describe("the kernel's configuration", () => {
  it('is in the first values of a loader that was made for it', () => {
    const skeleton = LightKconfig.open();
    skeleton.load(newKernel());
    const { LINUX_KERNEL_VERSION: version, CONFIG_BPF_SYSCALL: hasBPF, CONFIG_HZ: hertz, CONFIG_DEFAULT_HOSTNAME: host } = skeleton.kconfig;
    expect([version, hasBPF, hertz, host.text]).toEqual([0x70304, true, 250n, '(none)']);
    expect(skeleton.progs.version.testRun({ data: new Uint8Array(14) }).retval).toBe(0x70304 + 1 + 250 + 'n'.charCodeAt(0));
    skeleton.destroy();
  });

  it('is looked up when the object inside is loaded', () => {
    const skeleton = KconfigSkeleton.open();
    skeleton.load(newKernel(), { kernelBTF });
    expect(skeleton.kconfig.LINUX_KERNEL_VERSION).toBe(0x70304);
    skeleton.destroy();
  });
});
