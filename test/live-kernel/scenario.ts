/**
 * What generated modules do in whatever kernel a port leads to: opened, told first values, loaded, run, attached, destroyed. The account
 * of it is plain data that two kernels of the same version give alike.
 */
import { Kernel } from '../../kernel/kernel.ts';
import { OBJ_INFO_ATTR } from '../../isa/attr.ts';
import { MAP_INFO, MAP_INFO_SIZE, PROG_INFO, PROG_INFO_SIZE } from '../../isa/info.ts';
import { errnoName } from '../../isa/errno.ts';
import { BPF_OBJ_GET_INFO_BY_FD } from '../../isa/uapi.ts';
import { SkeletonError, type MapHandle, type Port, type ProgramHandle } from '../../src/index.ts';
import { GlobalsSkeleton } from '../fixtures/modules/globals.ts';
import { GlobalsSkeleton as LightGlobals } from '../fixtures/modules/globals.light.ts';
import { LsmSkeleton } from '../fixtures/modules/lsm.ts';
import { MapsSkeleton } from '../fixtures/modules/maps.ts';
import { RunnableSkeleton } from '../fixtures/modules/runnable.ts';
import { RunnableSkeleton as SignedRunnable } from '../fixtures/modules/runnable.signed.ts';
import { TailcallsSkeleton } from '../fixtures/modules/tailcalls.ts';
import { TracingSkeleton } from '../fixtures/modules/tracing.ts';
import { TracingSkeleton as LightTracing } from '../fixtures/modules/tracing.light.ts';
import { ArenaSkeleton } from './arena.ts';
import { ArenaSkeleton as LightArena } from './arena.light.ts';
import { ArenadataSkeleton } from './arenadata.ts';
import { CongestionSkeleton } from './congestion.ts';
import { JumptablesSkeleton } from './jumptables.ts';
import { ProbesSkeleton } from './probes.ts';
import { SpecialSkeleton } from './special.ts';
import { SpecialSkeleton as LightSpecial } from './special.light.ts';

/** A kernel and what is known of it. */
export interface Place {
  readonly port: Port;
  readonly kernelBTF: Uint8Array;
  /** Adds a certificate to the session keyring. */
  readonly addKey: (der: Uint8Array) => number;
  readonly certificate: Uint8Array;
}

/** What the variables of `special.bpf.c` are told; its loader was generated without. */
const CONFIGURATION = 'CONFIG_TWIN_NUMBER=1000\nCONFIG_TWIN_FLAG=y\nCONFIG_TWIN_STATE=m\nCONFIG_TWIN_TEXT="some text"\n';

interface Skeleton {
  readonly maps: object;
  readonly progs: object;
}

/** `BPF_OBJ_GET_INFO_BY_FD`. */
function infoOf(port: Port, fd: number, size: number): DataView {
  const attr = port.allocUser(16), info = port.allocUser(size);
  try {
    const arguments_ = new DataView(new ArrayBuffer(16));
    arguments_.setUint32(OBJ_INFO_ATTR.bpf_fd.offset, fd, true);
    arguments_.setUint32(OBJ_INFO_ATTR.info_len.offset, size, true);
    arguments_.setBigUint64(OBJ_INFO_ATTR.info.offset, BigInt(info), true);
    port.writeUser(attr, new Uint8Array(arguments_.buffer));
    const result = port.bpf(BPF_OBJ_GET_INFO_BY_FD, attr, 16);
    if (result < 0) throw new Error(`info: ${errnoName(-result)}`);
    return new DataView(port.readUser(info, size).slice().buffer);
  } finally {
    port.freeUser(attr);
    port.freeUser(info);
  }
}

function nameIn(info: DataView, offset: number): string {
  return String.fromCharCode(...new Uint8Array(info.buffer, offset, 16)).split('\0')[0] ?? '';
}

/** Maps and programs as the kernel describes them; what was not created has no entry. */
function describe(port: Port, { maps, progs }: Skeleton): object {
  const fdOf = (handle: MapHandle | ProgramHandle): number | undefined => {
    try {
      return handle.fd;
    } catch {
      return undefined;
    }
  };
  const told = (handles: object, tell: (fd: number) => object): object => Object.fromEntries((Object.values(handles) as (MapHandle | ProgramHandle)[]).flatMap((handle) => {
    const fd = fdOf(handle);
    return fd === undefined ? [] : [[handle.name, tell(fd)]];
  }));
  return {
    maps: told(maps, (fd) => {
      const info = infoOf(port, fd, MAP_INFO_SIZE), u32 = (field: { readonly offset: number }): number => info.getUint32(field.offset, true);
      return {
        name: nameIn(info, MAP_INFO.name.offset), type: u32(MAP_INFO.type), key: u32(MAP_INFO.key_size), value: u32(MAP_INFO.value_size),
        entries: u32(MAP_INFO.max_entries), flags: u32(MAP_INFO.map_flags), hasTypes: u32(MAP_INFO.btf_id) !== 0,
      };
    }),
    programs: told(progs, (fd) => {
      const info = infoOf(port, fd, PROG_INFO_SIZE), u32 = (field: { readonly offset: number }): number => info.getUint32(field.offset, true);
      return {
        name: nameIn(info, PROG_INFO.name.offset), type: u32(PROG_INFO.type), tag: info.getBigUint64(PROG_INFO.tag.offset).toString(16), bytes: u32(PROG_INFO.xlated_prog_len),
        maps: u32(PROG_INFO.nr_map_ids), verified: u32(PROG_INFO.verified_insns), functions: u32(PROG_INFO.nr_func_info), lines: u32(PROG_INFO.nr_line_info),
      };
    }),
  };
}

/** Socket filters see a packet without its Ethernet header. */
const packet = (length: number): Uint8Array => new Uint8Array(14 + length);

function refusal(action: () => unknown): string {
  try {
    action();
    return 'accepted';
  } catch (error) {
    if (!(error instanceof SkeletonError)) throw error;
    return error.message;
  }
}

function globals(port: Port, skeleton: GlobalsSkeleton | LightGlobals, load: () => void): object {
  skeleton.rodata.limits.low = 20;
  skeleton.data.weights.set(1, 1000);
  load();
  const results = [15, 21, 300].map((length) => skeleton.progs.within.testRun({ data: packet(length) }).retval);
  skeleton.bss.accepted += 40n;
  results.push(skeleton.progs.within.testRun({ data: packet(22) }).retval);
  const account = {
    ...describe(port, skeleton), results, attached: skeleton.attach(), accepted: String(skeleton.bss.accepted), histogram: skeleton.bss.histogram.toArray(), magic: String(skeleton.data.magic),
    label: skeleton.rodata.limits.label.text, weights: skeleton.data.weights.toArray(), readOnly: skeleton.rodata.mask.toString(16),
  };
  skeleton.destroy();
  return account;
}

function runnable(port: Port, skeleton: RunnableSkeleton | SignedRunnable): object {
  const ctx = new Uint8Array(16);
  new DataView(ctx.buffer).setUint32(0, 100, true);
  const runs = [6, 7, 27].map((seed) => {
    new DataView(ctx.buffer).setUint32(4, seed, true);
    const { retval, ctx: after } = skeleton.progs.collatz.testRun({ ctx });
    return [retval, String(new DataView(after.buffer, after.byteOffset).getBigUint64(8, true))];
  });
  const account = {
    ...describe(port, skeleton), runs, count: String(skeleton.bss.runs), results: [...skeleton.maps.results.entries()].map(([seed, last]) => [seed, String(last)]).toSorted(),
    steps: [...skeleton.maps.steps.entries()], deleted: [skeleton.maps.results.delete(6), skeleton.maps.results.delete(6)],
  };
  skeleton.destroy();
  return account;
}

/** Accounts that every kernel of a version gives alike, and refusals. */
export function commonAccounts({ port, kernelBTF, addKey, certificate }: Place): Record<string, unknown> {
  const accounts: Record<string, unknown> = {};
  const whole = GlobalsSkeleton.open(), light = LightGlobals.open();
  accounts['globals'] = globals(port, whole, () => void whole.load(port, { kernelBTF }));
  accounts['globals, light'] = globals(port, light, () => void light.load(port));
  const own = RunnableSkeleton.open();
  own.rodata.limit = 50;
  own.maps.results.configure({ maxEntries: 3 });
  accounts['runnable'] = runnable(port, own.load(port, { kernelBTF }));
  accounts['signed, no key'] = refusal(() => SignedRunnable.open().load(port));
  accounts['signed, key'] = addKey(certificate) > 0;
  accounts['signed'] = runnable(port, SignedRunnable.open().load(port));
  const tails = TailcallsSkeleton.open().load(port, { kernelBTF });
  accounts['tailcalls'] = { ...describe(port, tails), retval: tails.progs.entry.testRun({ data: packet(14) }).retval };
  tails.destroy();
  const maps = MapsSkeleton.open().load(port, { kernelBTF });
  accounts['maps'] = {
    ...describe(port, maps), runs: [20, 20, 35].map((length) => maps.progs.record.testRun({ data: packet(length) }).retval),
    records: [...maps.maps.records.entries()].map(([key, value]) => [key.words.toArray(), String(value.when), value.who]).toSorted(), text: [...maps.rodata.awkward.bytes],
  };
  maps.destroy();
  for (const [name, skeleton] of [['tracing', TracingSkeleton.open().load(port, { kernelBTF })], ['tracing, light', LightTracing.open().load(port)]] as const) {
    accounts[name] = { ...describe(port, skeleton), attached: skeleton.attach(), linked: Object.values(skeleton.links).map(({ fd }) => fd !== undefined && fd > 0) };
    skeleton.destroy();
  }
  const lsm = LsmSkeleton.open().load(port, { kernelBTF });
  accounts['lsm'] = describe(port, lsm);
  lsm.destroy();
  for (const [name, skeleton] of [['arena', ArenaSkeleton.open().load(port, { kernelBTF })], ['arena, light', LightArena.open().load(port)]] as const) {
    accounts[name] = { ...describe(port, skeleton), retval: skeleton.progs.refer.testRun().retval };
    skeleton.destroy();
  }
  const arena = ArenadataSkeleton.open();
  arena.arena.counter = 40;
  arena.load(port, { kernelBTF });
  accounts['arena with data'] = { ...describe(port, arena), retvals: [arena.progs.bump.testRun().retval, arena.progs.bump.testRun().retval], counter: arena.arena.counter };
  arena.destroy();
  const jumps = JumptablesSkeleton.open().load(port, { kernelBTF });
  accounts['jump tables'] = { ...describe(port, jumps), retvals: [jumps.progs.main_jumps, jumps.progs.calls].map((program) => program.testRun({ data: packet(14) }).retval) };
  jumps.destroy();
  for (const [name, skeleton] of [['special', SpecialSkeleton.open().load(port, { kernelBTF, configuration: CONFIGURATION })], ['special, light', LightSpecial.open().load(port)]] as const) {
    const retvals = [skeleton.progs.configured, skeleton.progs.absent].map((program) => program.testRun({ data: packet(14) }).retval);
    accounts[name] = { ...describe(port, skeleton), retvals, seen: String(skeleton.bss.seen), kconfig: { number: skeleton.kconfig.CONFIG_TWIN_NUMBER, flag: skeleton.kconfig.CONFIG_TWIN_FLAG, text: skeleton.kconfig.CONFIG_TWIN_TEXT.text } };
    skeleton.destroy();
  }
  const probes = ProbesSkeleton.open().load(port, { kernelBTF });
  accounts['probes'] = describe(port, probes);
  probes.destroy();
  const congestion = CongestionSkeleton.open().load(port, { kernelBTF });
  accounts['congestion'] = { ...describe(port, congestion), attached: congestion.attach() };
  const second = CongestionSkeleton.open().load(port, { kernelBTF });
  accounts['congestion, names taken'] = refusal(() => second.attach());
  congestion.links.linked.detach();
  congestion.links.plain.detach();
  accounts['congestion, names free'] = second.attach();
  second.destroy();
  congestion.destroy();
  return accounts;
}

/** The same in our kernel. */
export function accountsHere(certificate: Uint8Array, kernelBTF: Uint8Array): Record<string, unknown> {
  const port = new Kernel({ kernelBTF: () => kernelBTF });
  return commonAccounts({ port, kernelBTF, certificate, addKey: (der) => port.addKey('asymmetric', 'test', der, -3) });
}
