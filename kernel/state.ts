/**
 * @module kernel/state
 * Everything that one kernel instance holds: memory, process, descriptors, ids, credentials, hooks, clock. The commands of
 * `kernel/syscall` and the helpers work on it. Owns object lifetimes (publish, reference, free), not the commands' rules.
 */
import type { BTF } from '../btf/btf.ts';
import { parseKernelBTF } from '../btf/kernel.ts';
import { EBADF, EINVAL, ENOMEM } from '../isa/errno.ts';
import { within, type Phases } from '../isa/phases.ts';
import { BPF_MAP_TYPE_PROG_ARRAY } from '../isa/uapi.ts';
import type { Admission, BTFDescriptor, StateObserver } from '../verifier/types.ts';
import { AddressSpace, MAX_MEMORY } from '../vm/address-space.ts';
import type { Fault } from '../vm/types.ts';
import { AllocatedObjects } from './allocated-objects.ts';
import type { FaultInjector, KernelOptions, LSMHookName, LSMHooks, MapView, SystemCallObserver } from './api.ts';
import { CAP_FULL_SET, CAP_SYS_ADMIN } from './api.ts';
import { FileTable, type OpenFile } from './files.ts';
import { IDR } from './idr.ts';
import { KernelSymbols } from './kallsyms.ts';
import { Keyrings } from './keys/keyrings.ts';
import type { BPFLink } from './link.ts';
import { type HookArgument, LSMPrograms } from './lsm.ts';
import type { BPFMap, MapHost } from './maps/map.ts';
import { KernelMemory } from './memory.ts';
import { BTFObject, type KernelObject } from './objects.ts';
import { Process } from './process.ts';
import type { BPFProgram } from './program.ts';
import type { Runner } from './run.ts';
import { Sources } from './sources.ts';
import { Structs } from './structs.ts';
import { typesOf618 } from './types-6-18.ts';

/** First second of the instance's clock, in nanoseconds. */
const DEFAULT_BOOT_TIME = 1_000_000_000;
/** Real time at boot where nothing else is asked for, seconds since 1970: 2026-01-01. */
const DEFAULT_REAL_TIME = 1_767_225_600;

/** `struct bpf_token` of calls without one: null. */
const NO_TOKEN: HookArgument = { at: 0 };

export class KernelState implements MapHost {
  readonly profile: string;
  readonly options: KernelOptions;
  readonly memory: KernelMemory;
  readonly files: FileTable<KernelObject>;
  readonly process: Process;
  readonly maps: IDR<BPFMap> = new IDR();
  readonly programs: IDR<BPFProgram> = new IDR();
  readonly btfs: IDR<BTFObject> = new IDR();
  readonly links: IDR<BPFLink> = new IDR();
  readonly sources: Sources;
  readonly symbols: KernelSymbols;
  readonly keyrings: Keyrings;
  readonly structs: Structs;
  readonly allocated: AllocatedObjects;
  /** Programs on LSM hooks; they are asked after the hooks of the outside. */
  readonly lsm: LSMPrograms;
  readonly rings: Map<number, BPFMap> = new Map();
  readonly registered: Map<string, BPFMap> = new Map();
  readonly cpus: number;
  readonly memoryLimit: number;
  readonly unprivilegedBPFDisabled: number;
  /** Effective capabilities of the process, and the low and high word of them. */
  #capabilities = 0n;
  #lowCapabilities = 0;
  #highCapabilities = 0;
  /** Descriptors that keep run-time statistics on. */
  statsUsers = 0;
  observer: SystemCallObserver | undefined;
  /** Looks on while programs are verified. */
  stateObserver: StateObserver | undefined = undefined;
  readonly phases: Phases | undefined;
  faults: FaultInjector | undefined = undefined;
  systemCalls = 0;
  /** Why the last run of a program ended early, `undefined` where it did not. */
  lastFault: Fault | undefined = undefined;
  /** What the instance could not do for that run: kernel functions that it does not have. */
  lastNotes: readonly string[] = [];
  /** Lines of `bpf_trace_printk`, oldest first. */
  readonly trace: string[] = [];
  private readonly hooks: { [Name in LSMHookName]: LSMHooks[Name][] } = {
    bpf: [], bpf_map: [], bpf_prog: [], bpf_map_create: [], bpf_map_free: [], bpf_prog_load: [], bpf_prog_free: [],
  };
  /** Maps by address; `undefined` where one was. Addresses come again, and taking an entry out of a small `Map` makes all of it anew. */
  private readonly mapsByAddress: Map<number, BPFMap | undefined> = new Map();
  private kernelBTFObject: BTFObject | undefined;
  private hasLookedForBTF = false;
  private fdAllocations = 0;

  constructor(options: KernelOptions) {
    this.options = options;
    this.profile = options.profile ?? '7.3';
    this.memoryLimit = Math.min(options.memoryLimit ?? MAX_MEMORY, MAX_MEMORY);
    this.memory = new KernelMemory(options.space ?? new AddressSpace({ maxBytes: this.memoryLimit }));
    this.cpus = Math.min(64, Math.max(1, options.cpus ?? 2));
    this.unprivilegedBPFDisabled = options.unprivilegedBPFDisabled ?? 0;
    this.capabilities = options.capabilities ?? CAP_FULL_SET;
    this.sources = new Sources(this.memory.space, options.seed ?? 1, options.bootTime ?? DEFAULT_BOOT_TIME);
    this.observer = options.observer;
    this.phases = options.phases;
    this.files = new FileTable<KernelObject>(() => this.failsFD(), { kind: 'other', id: 0 });
    this.process = new Process(this.memory, this.files);
    const seconds = (): number => Math.floor(this.sources.now() / 1e9) + (options.realTimeOffset ?? DEFAULT_REAL_TIME);
    this.keyrings = new Keyrings({
      now: seconds, random: () => this.sources.random(), ...options.certificates,
      ...(options.algorithms === undefined ? {} : { algorithms: options.algorithms }),
      ...(options.blacklist === undefined ? {} : { blacklist: options.blacklist }),
      ...(options.strict === undefined ? {} : { strict: options.strict }),
      ...(options.phases === undefined ? {} : { phases: options.phases }),
    });
    this.allocated = new AllocatedObjects(this.memory, this.cpus);
    this.lsm = new LSMPrograms(this.memory, () => this.runner, () => this.lastNotes);
    this.structs = new Structs(this.memory, () => this.kernelBTF());
    this.symbols = new KernelSymbols(() => this.kernelBTFDescriptor()?.btf);
  }

  // -------------------------------------------------- credentials

  get capabilities(): bigint {
    return this.#capabilities;
  }

  set capabilities(effective: bigint) {
    if (effective === this.#capabilities) return;
    this.#capabilities = effective;
    this.#lowCapabilities = Number(BigInt.asIntN(32, effective));
    this.#highCapabilities = Number(BigInt.asIntN(32, effective >> 32n));
  }

  /** `capable(cap)`: exactly this capability. */
  hasCapability(capability: number): boolean {
    return (((capability < 32 ? this.#lowCapabilities : this.#highCapabilities) >>> (capability & 31)) & 1) === 1;
  }

  /** `bpf_capable`, `perfmon_capable`, `bpf_token_capable` without a token: the capability or `CAP_SYS_ADMIN`. */
  capable(capability: number): boolean {
    return this.hasCapability(capability) || this.hasCapability(CAP_SYS_ADMIN);
  }

  // -------------------------------------------------- sources

  random(): number {
    return this.sources.random();
  }

  get currentCPU(): number {
    return this.sources.cpu;
  }

  private failsFD(): boolean {
    this.fdAllocations++;
    return this.faults?.allocation?.(this.fdAllocations, 'fd') === true;
  }

  setFaults(faults: FaultInjector | undefined): void {
    this.faults = faults;
    this.memory.setFaults(faults);
    this.fdAllocations = 0;
    this.systemCalls = 0;
  }

  // -------------------------------------------------- LSM

  attachHook<Name extends LSMHookName>(name: Name, hook: LSMHooks[Name]): () => void {
    const list = this.hooks[name] as LSMHooks[Name][];
    list.push(hook);
    return () => {
      const at = list.indexOf(hook);
      if (at >= 0) list.splice(at, 1);
    };
  }

  /** Asks every hook in the order of attachment until one refuses. */
  private ask(name: LSMHookName, call: (hook: (...args: never[]) => number) => number, args: () => readonly HookArgument[]): number {
    const list: readonly ((...args: never[]) => unknown)[] = this.hooks[name];
    if (this.isUnhooked(name)) return 0;
    return within(this.phases, 'LSM hooks', () => {
      for (const hook of list) {
        const verdict = call(hook as (...args: never[]) => number);
        if (verdict !== 0) return verdict;
      }
      return this.lsm.attached.length === 0 ? 0 : this.lsm.ask(name, args());
    });
  }

  /** Nobody is on any hook of this name. */
  private isUnhooked(name: LSMHookName): boolean {
    return this.hooks[name].length === 0 && this.lsm.attached.length === 0;
  }

  hookBPF(cmd: number, block: Uint8Array, size: number, kernel: boolean): number {
    if (this.isUnhooked('bpf')) return 0;
    // The block serves other calls later, a hook may keep what it is shown.
    const attr = block.slice();
    return this.ask('bpf', (hook) => (hook as LSMHooks['bpf'])(cmd, attr, size, kernel), () => [cmd, { attr }, size, Number(kernel)]);
  }

  hookMapCreate(map: BPFMap, block: Uint8Array, kernel: boolean): number {
    if (this.isUnhooked('bpf_map_create')) return 0;
    const attr = block.slice();
    return this.ask(
      'bpf_map_create', (hook) => (hook as LSMHooks['bpf_map_create'])(viewOf(map), attr, kernel),
      () => [{ at: map.address }, { attr }, NO_TOKEN, Number(kernel)],
    );
  }

  hookProgramLoad(program: BPFProgram, block: Uint8Array, kernel: boolean, admission: Admission): number {
    if (this.isUnhooked('bpf_prog_load')) return 0;
    const attr = block.slice();
    return this.ask(
      'bpf_prog_load', (hook) => (hook as LSMHooks['bpf_prog_load'])(program.view(), attr, kernel, admission),
      () => [{ at: program.address }, { attr }, NO_TOKEN, Number(kernel)],
    );
  }

  // -------------------------------------------------- BTF of the kernel

  kernelBTF(): BTF | undefined {
    return this.kernelBTFDescriptor()?.btf;
  }

  kernelBTFDescriptor(): (BTFDescriptor & BTFObject) | undefined {
    if (this.hasLookedForBTF) return this.kernelBTFObject;
    this.hasLookedForBTF = true;
    const given = this.options.kernelBTF?.();
    if (given === undefined) return undefined;
    const bytes = this.profile === '6.18' ? typesOf618(given) : given;
    const object = new BTFObject(parseKernelBTF(bytes), true, () => undefined);
    const id = this.btfs.allocate(object);
    object.id = Math.max(id, 0);
    this.kernelBTFObject = object;
    return object;
  }

  /** Gives the kernel's BTF its id, as booting does. */
  publishKernelBTF(): void {
    this.kernelBTFDescriptor();
  }

  // -------------------------------------------------- maps

  mapByFD(fd: number): BPFMap | number {
    const file = this.files.get(fd);
    if (file === undefined) return -EBADF;
    return file.target.kind === 'map' ? file.target : -EINVAL;
  }

  mapFile(fd: number): { map: BPFMap; file: OpenFile<KernelObject> } | number {
    const file = this.files.get(fd);
    if (file === undefined) return -EBADF;
    return file.target.kind === 'map' ? { map: file.target, file } : -EINVAL;
  }

  hasFD(fd: number): boolean {
    return this.files.get(fd) !== undefined;
  }

  mapAt(offset: number): BPFMap | undefined {
    return this.mapsByAddress.get(offset);
  }

  /** Makes a map known by its address; every map that exists is. */
  registerMap(map: BPFMap): void {
    this.mapsByAddress.set(map.address, map);
  }

  /** Frees a map that was never published, or whose last reference went. */
  freeMap(map: BPFMap): void {
    this.mapsByAddress.set(map.address, undefined);
    map.destroy();
  }

  putMap(map: BPFMap): void {
    if (--map.references > 0) return;
    for (const hook of this.hooks.bpf_map_free) hook(viewOf(map));
    if (this.lsm.attached.length > 0) this.lsm.ask('bpf_map_free', [{ at: map.address }]);
    if (map.id !== 0) this.maps.remove(map.id);
    map.id = 0;
    this.freeMap(map);
  }

  putMapWithUserReference(map: BPFMap): void {
    if (--map.userReferences === 0) map.releaseUserReference();
    this.putMap(map);
  }

  private readonly closeMap = (map: BPFMap): void => this.putMapWithUserReference(map);

  /** `bpf_map_new_fd`: takes over one reference of each kind on success. */
  newMapFD(map: BPFMap, mode: number): number {
    const verdict = this.isUnhooked('bpf_map') ? 0 : this.ask('bpf_map', (hook) => (hook as LSMHooks['bpf_map'])(viewOf(map), mode), () => [{ at: map.address }, mode]);
    if (verdict < 0) return verdict;
    return this.files.install(map, mode, this.closeMap);
  }

  // -------------------------------------------------- programs

  programByFD(fd: number): BPFProgram | number {
    const file = this.files.get(fd);
    if (file === undefined) return -EBADF;
    return file.target.kind === 'prog' ? file.target : -EINVAL;
  }

  /** Drops what a program holds and frees it (`__bpf_prog_put_noref`). */
  freeProgram(program: BPFProgram): void {
    if (program.id !== 0) this.programs.remove(program.id);
    program.setID(0);
    program.btfObject?.put();
    program.attachBTF?.put();
    for (const hook of this.hooks.bpf_prog_free) hook(program.view());
    if (this.lsm.attached.length > 0) this.lsm.ask('bpf_prog_free', [{ at: program.address }]);
    this.runner?.forget(program);
    for (const map of program.usedMaps) this.releaseUsedMap(program, map);
    for (const btf of program.usedBTFs) btf.put();
    if (program.associated !== undefined) this.putMap(program.associated);
    program.attachProgram?.put();
    program.destroy();
  }

  /** Runs programs; set once by {@link Kernel}. */
  runner: Runner | undefined = undefined;

  private releaseUsedMap(program: BPFProgram, map: BPFMap): void {
    if (program.sleepable) map.sleepableReferences--;
    this.putMap(map);
  }

  /** `bpf_prog_new_fd`: takes over one reference on success. */
  newProgramFD(program: BPFProgram): number {
    const verdict = this.isUnhooked('bpf_prog') ? 0 : this.ask('bpf_prog', (hook) => (hook as LSMHooks['bpf_prog'])(program.view()), () => [{ at: program.address }]);
    if (verdict < 0) return verdict;
    return this.files.install(program, 3, putObject);
  }

  // -------------------------------------------------- BTF objects

  btfByFD(fd: number): BTFObject | number {
    const file = this.files.get(fd);
    if (file === undefined) return -EBADF;
    return file.target.kind === 'btf' ? file.target : -EINVAL;
  }

  createBTF(btf: BTF): BTFObject {
    return new BTFObject(btf, false, (object) => this.btfs.remove(object.id));
  }

  /** Publishes a BTF object and gives a descriptor for it; drops it where that fails. */
  newBTFFD(object: BTFObject): number {
    const fd = this.files.install(object, 1, putObject);
    if (fd < 0) object.put();
    return fd;
  }

  /** Kernel memory ran out; as the system call's result. */
  get noMemory(): number {
    return -ENOMEM;
  }
}

function putObject(object: { put(): void }): void {
  object.put();
}

/** What hooks and audits see of a map. */
export function viewOf(map: BPFMap): MapView {
  return {
    id: map.id, name: map.name, type: map.type, keySize: map.keySize, valueSize: map.valueSize, maxEntries: map.maxEntries,
    flags: map.flags, frozen: map.frozen, exclusiveDigest: map.exclusiveDigest,
  };
}

/** `map_type_contains_progs` for the kinds whose owner rule concerns loading. */
export function containsPrograms(map: BPFMap): boolean {
  return map.type === BPF_MAP_TYPE_PROG_ARRAY;
}
