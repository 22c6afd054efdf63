/**
 * @module loader/object/load-object
 * Loads the programs of an object into a kernel behind a {@link Port}, each for itself, as veristat does: the object's types and maps
 * once, then every program relocated and loaded alone. Reproduces `bpf_object__load` of `tools/lib/bpf/libbpf.c` for one program at a
 * time; kernels older than 7.3 and their missing features are not catered for.
 */
import { BTF_LOAD_ATTR, MAP_CREATE_ATTR, MAP_ELEM_ATTR, PROG_LOAD_ATTR, writeInt, writeLong, writeName, type Field } from '../../isa/attr.ts';
import { errnoName } from '../../isa/errno.ts';
import { InputError } from '../../isa/errors.ts';
import { latin1UpToNUL } from '../../isa/latin1.ts';
import * as U from '../../isa/uapi.ts';
import { MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE, Scratch, type Port } from '../port.ts';
import { resolveConfiguration } from './kconfig.ts';
import { CoreRelocator, findAttachTarget, KernelReferenceWriter, type KernelNames } from './kernel-references.ts';
import { isMapInMap, PAGE_SIZE } from './map-defs.ts';
import type { BPFObject, ObjectMap, ObjectProgram } from './model.ts';
import { openObject } from './open.ts';
import { markStaticFunctions, recordBytes, recordCount, relocateObject } from './relocate.ts';
import { adjustAutoload } from './struct-ops.ts';
import { resolveStructOps, type KernelStructOps } from './struct-ops-kernel.ts';
import { SEC_ATTACH_BTF, SEC_SLEEPABLE, SEC_USDT, SEC_XDP_FRAGS } from './section-defs.ts';

const BPF_F_SLEEPABLE = 1 << 4;
/** `struct bpf_insn_array_value` */
const INSN_ARRAY_VALUE_SIZE = 16;
const BPF_F_XDP_HAS_FRAGS = 1 << 5;
const BPF_F_ALL_CPUS = 16n;
/** In the place of a descriptor of a map that waits to be asked for. */
const NOT_CREATED = -1;
/** 7.3.4, for program types that still ask. */
const KERNEL_VERSION = (7 << 16) | (3 << 8) | 4;

/** Maps that are created without key and value types. */
const WITHOUT_BTF: ReadonlySet<number> = new Set([
  U.BPF_MAP_TYPE_PERF_EVENT_ARRAY, U.BPF_MAP_TYPE_CGROUP_ARRAY, U.BPF_MAP_TYPE_STACK_TRACE, U.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  U.BPF_MAP_TYPE_HASH_OF_MAPS, U.BPF_MAP_TYPE_DEVMAP, U.BPF_MAP_TYPE_DEVMAP_HASH, U.BPF_MAP_TYPE_CPUMAP, U.BPF_MAP_TYPE_XSKMAP,
  U.BPF_MAP_TYPE_SOCKMAP, U.BPF_MAP_TYPE_SOCKHASH, U.BPF_MAP_TYPE_QUEUE, U.BPF_MAP_TYPE_STACK, U.BPF_MAP_TYPE_ARENA,
]);

/** How programs are loaded. */
export interface LoadObjectOptions {
  readonly kernel: KernelNames;
  /** `log_level` of each load and bytes of its buffer. */
  readonly log: { readonly level: number; readonly size: number };
  /** Text of a kernel configuration, for `__kconfig` externs. */
  readonly configuration?: string;
  /** Which programs; default all. */
  readonly only?: (name: string) => boolean;
  /** Milliseconds, for the time that a load takes; default no time. */
  readonly clock?: () => number;
  /** Changes the opened object before its maps are created: first values of variables. */
  readonly prepare?: (object: BPFObject) => void;
  /** `BPF_F_*` of every load besides those of its section. */
  readonly flags?: number;
  /** Hears of an accepted program before its descriptor is closed. */
  readonly accepted?: (name: string, fd: number) => void;
}

/** One program's load. */
export interface LoadedObjectProgram {
  readonly name: string;
  readonly section: string;
  /** 0, or positive. */
  readonly errno: number;
  /** Why the load was not even tried, in libbpf's words; `undefined` where the kernel decided. */
  readonly reason: string | undefined;
  readonly log: string;
  /** Milliseconds in the kernel. */
  readonly milliseconds: number;
  /** Instructions that the kernel is given, with the subprograms that were appended. */
  readonly size: number;
  /** `BPF_PROG_TYPE_*` */
  readonly type: number;
  /** `BPF_*` attach type that was asked for; 0 where the section says nothing. */
  readonly expectedAttachType: number;
}

/**
 * Loads every program of an object, one after the other, and closes everything again.
 *
 * @throws InputError where the object cannot be opened, or its types and maps cannot be created
 *
 * @example
 * loadObject(kernel, bytes, 'a.bpf.o', 'a', options).map(({ name, errno }) => [name, errno]);
 */
export function loadObject(port: Port, bytes: Uint8Array, file: string, name: string, options: LoadObjectOptions): LoadedObjectProgram[] {
  const object = openObject(bytes, file, name);
  options.prepare?.(object);
  const wanted = object.programs.filter((program) => !program.isSubprogram && (options.only?.(program.name) ?? true));
  const loader = new ObjectLoader(port, object, options);
  try {
    loader.createCommon();
    return wanted.map((program) => loader.loadProgram(bytes, name, program));
  } finally {
    loader.close();
  }
}

/** An object whose maps and programs stay in the kernel until it is closed. */
export interface KeptObject {
  /** In the order of the object's maps. */
  readonly mapFDs: readonly number[];
  readonly programFDs: ReadonlyMap<string, number>;
  /** User address of the arena's globals, where it has some. */
  readonly arenaData: number | undefined;
  /** Values of maps of callbacks, by index of the map, with the descriptors of their programs. */
  readonly structOps: ReadonlyMap<number, Uint8Array>;
  /** Logs of all programs. */
  readonly log: string;
  close(): void;
}

/**
 * Loads an object as `bpf_object__load` does, and keeps it: its maps with the contents that `object` has for them, and every program that
 * is loaded by itself.
 *
 * @param object from `openObject(bytes, file, name)`; first values of data sections may have been changed
 * @returns the object in the kernel, or the program that was refused; nothing is left behind then
 * @throws InputError where types or maps cannot be created
 */
export function keepObject(port: Port, object: BPFObject, bytes: Uint8Array, options: LoadObjectOptions): KeptObject | LoadedObjectProgram {
  const kept = new Map<string, number>();
  adjustAutoload(object);
  const loader = new ObjectLoader(port, object, options, kept);
  let isDone = false;
  try {
    loader.createCommon();
    let log = '';
    for (const program of object.programs.filter((candidate) => !candidate.isSubprogram && candidate.autoload && (options.only?.(candidate.name) ?? true))) {
      const loaded = loader.loadProgram(bytes, object.name, program);
      if (loaded.errno !== 0) return loaded;
      log += loaded.log;
    }
    loader.fillProgramArrays();
    isDone = true;
    return { mapFDs: loader.mapFDs, programFDs: kept, arenaData: loader.arenaData, structOps: loader.structOpsValues(), log, close: () => loader.close() };
  } finally {
    if (!isDone) loader.close();
  }
}

function shapeOf({ instructions, type, expectedAttachType }: ObjectProgram): Pick<LoadedObjectProgram, 'size' | 'type' | 'expectedAttachType'> {
  return { size: instructions.length / 8, type, expectedAttachType };
}

class ObjectLoader {
  readonly #port: Port;
  readonly #object: BPFObject;
  readonly #options: LoadObjectOptions;
  readonly #fds: number[] = [];
  readonly #mappings: { readonly address: number; readonly size: number }[] = [];
  readonly #mapFDs: number[] = [];
  /** Takes the descriptors of programs that stay; without it they are closed at once. */
  readonly #kept: Map<string, number> | undefined;
  #arenaData: number | undefined;
  #btfFD = 0;

  constructor(port: Port, object: BPFObject, options: LoadObjectOptions, kept?: Map<string, number>) {
    this.#port = port;
    this.#object = object;
    this.#options = options;
    this.#kept = kept;
  }

  get mapFDs(): readonly number[] {
    return this.#mapFDs;
  }

  get arenaData(): number | undefined {
    return this.#arenaData;
  }

  /** Puts programs into the slots that the object names (`bpf_object_init_prog_arrays`); those that are not loaded are left out. */
  fillProgramArrays(): void {
    const scratch = new Scratch(this.#port);
    try {
      for (const [index, map] of this.#object.maps.entries()) {
        if (map.definition.type !== U.BPF_MAP_TYPE_PROG_ARRAY) continue;
        for (const [slot, target] of map.slots) {
          const fd = this.#kept?.get(this.#object.programs[target]?.name ?? '');
          if (fd === undefined) continue;
          const value = new DataView(new ArrayBuffer(4));
          value.setInt32(0, fd, true);
          this.#update(scratch, this.#mapFDs[index] ?? -1, slot, new Uint8Array(value.buffer), 0n, `map '${map.name}': failed to initialize slot [${slot}]`, 'section .maps');
        }
      }
    } finally {
      scratch.release();
    }
  }

  /** What the maps of callbacks are to hold (`bpf_map_prepare_vdata`). */
  structOpsValues(): Map<number, Uint8Array> {
    const values = new Map<number, Uint8Array>();
    for (const [index, map] of this.#object.maps.entries()) {
      if (map.kind !== 'struct_ops' || !map.autocreate) continue;
      const { value, callbackOffsets } = this.#structOps(map, () => true);
      const view = new DataView(value.buffer);
      for (const [member, offset] of callbackOffsets) {
        const fd = this.#kept?.get(this.#object.programs[map.callbacks.get(member) ?? -1]?.name ?? '');
        if (fd !== undefined) view.setBigUint64(offset, BigInt(fd), true);
      }
      values.set(index, value);
    }
    return values;
  }

  close(): void {
    for (const { address, size } of this.#mappings.splice(0)) this.#port.munmap(address, size);
    for (const fd of this.#fds.splice(0).toReversed()) this.#port.close(fd);
  }

  #fail(place: string, reason: string): never {
    throw new InputError(this.#object.file, place, reason);
  }

  /** Types and maps, which all programs share. */
  createCommon(): void {
    if (!this.#object.littleEndian) this.#fail('byte 5', `object '${this.#object.name}': loading non-native endianness is unsupported`);
    resolveConfiguration(this.#object, this.#options.configuration);
    const scratch = new Scratch(this.#port);
    try {
      if (this.#kept !== undefined) this.#checkCallbacks();
      this.#loadBTF(scratch);
      // Who verifies program by program wants the maps that wait to be asked for, too.
      for (const map of this.#object.maps) this.#mapFDs.push(map.autocreate || this.#kept === undefined ? this.#createWithContents(scratch, map) : NOT_CREATED);
    } finally {
      scratch.release();
    }
  }

  /** One program may stand in several maps, but for one member of one structure only. */
  #checkCallbacks(): void {
    const { programs, maps, file } = this.#object;
    const targets = new Map<number, { readonly typeID: number; readonly member: number }>();
    for (const map of maps) {
      if (map.kind !== 'struct_ops' || !map.autocreate) continue;
      const { typeID, memberIndexes } = this.#structOps(map, () => true);
      for (const [own, member] of memberIndexes) {
        const index = map.callbacks.get(own) ?? -1;
        const program = programs[index];
        const known = targets.get(index);
        if (program === undefined || known === undefined) targets.set(index, { typeID, member });
        if (program === undefined || known === undefined || (known.typeID === typeID && known.member === member)) continue;
        const why = known.typeID === typeID ? `expected_attach_type ${known.member} != kern_member_idx ${member}` : `attach_btf_id ${known.typeID} != kern_type_id ${typeID}`;
        throw new InputError(file, `map ${map.name}`, `struct_ops init_kern ${map.name} func ptr ${this.#object.btf?.memberName(map.definition.valueTypeID, own) ?? ''}: invalid reuse of prog ${program.name} in sec ${program.sectionName} with type ${program.type}: ${why}`);
      }
    }
  }

  #call(scratch: Scratch, command: number, attr: DataView): number {
    const address = scratch.bytes(new Uint8Array(attr.buffer));
    return address < 0 ? address : this.#port.bpf(command, address, attr.byteLength);
  }

  /** A failure to load the object's types is no reason to stop: libbpf goes on without them. */
  #loadBTF(scratch: Scratch): void {
    const { btf } = this.#object;
    if (btf === undefined) return;
    markStaticFunctions(this.#object);
    const bytes = btf.encode();
    const attr = attrBytes(BTF_LOAD_ATTR.btf_token_fd);
    writeLong(attr, 0, BTF_LOAD_ATTR.btf, BigInt(scratch.bytes(bytes)));
    writeInt(attr, 0, BTF_LOAD_ATTR.btf_size, bytes.length);
    const fd = this.#call(scratch, U.BPF_BTF_LOAD, attr);
    if (fd < 0) return;
    this.#fds.push(fd);
    this.#btfFD = fd;
  }

  #createWithContents(scratch: Scratch, map: ObjectMap): number {
    const place = map.kind === 'user' ? 'section .maps' : `section ${map.realName}`;
    const fd = this.#create(scratch, map);
    if (fd < 0) this.#fail(place, `map '${map.name}': failed to create: ${errnoName(-fd)}`);
    this.#fds.push(fd);
    if (map.kind !== 'user' && map.kind !== 'struct_ops' && map.data !== undefined) {
      this.#update(scratch, fd, 0, map.data, map.kind === 'percpu' ? BPF_F_ALL_CPUS : 0n, `map '${map.name}': failed to set initial contents`, place);
      if (map.kind === 'rodata' || map.kind === 'kconfig') this.#freeze(scratch, fd, map, place);
    }
    if (map.definition.type === U.BPF_MAP_TYPE_ARENA) this.#mapArena(fd, map, place);
    if (isMapInMap(map.definition.type)) {
      for (const [slot, target] of map.slots) {
        const value = new DataView(new ArrayBuffer(4));
        value.setInt32(0, this.#mapFDs[target] ?? -1, true);
        this.#update(scratch, fd, slot, new Uint8Array(value.buffer), 0n, `map '${map.name}': failed to initialize slot [${slot}]`, place);
      }
    }
    return fd;
  }

  /** An arena has no address before it is mapped; its globals lie at its end. */
  #mapArena(fd: number, { name, definition, data }: ObjectMap, place: string): void {
    const size = PAGE_SIZE * definition.maxEntries;
    const isFixed = definition.mapExtra !== 0n;
    const address = this.#port.mmap(Number(definition.mapExtra), size, PROT_READ | PROT_WRITE, MAP_SHARED | (isFixed ? MAP_FIXED : 0), fd, 0);
    if (address < 0) this.#fail(place, `map '${name}': failed to mmap arena: ${errnoName(address)}`);
    this.#mappings.push({ address, size });
    if (data === undefined) return;
    this.#arenaData = address + size - Math.ceil(data.length / PAGE_SIZE) * PAGE_SIZE;
    this.#port.writeUser(this.#arenaData, data);
  }

  #create(scratch: Scratch, map: ObjectMap): number {
    const { definition } = map;
    let innerFD = 0;
    if (isMapInMap(definition.type) && map.inner !== undefined) {
      innerFD = this.#create(scratch, map.inner);
      if (innerFD < 0) return innerFD;
    }
    const hasTypes = this.#btfFD > 0 && !WITHOUT_BTF.has(definition.type);
    const attr = attrBytes(MAP_CREATE_ATTR.excl_prog_hash_size);
    writeInt(attr, 0, MAP_CREATE_ATTR.map_type, definition.type);
    writeInt(attr, 0, MAP_CREATE_ATTR.key_size, definition.keySize);
    writeInt(attr, 0, MAP_CREATE_ATTR.value_size, definition.valueSize);
    writeInt(attr, 0, MAP_CREATE_ATTR.max_entries, definition.maxEntries === 0 ? defaultEntries(definition.type) : definition.maxEntries);
    writeInt(attr, 0, MAP_CREATE_ATTR.map_flags, definition.flags);
    writeInt(attr, 0, MAP_CREATE_ATTR.inner_map_fd, innerFD);
    writeInt(attr, 0, MAP_CREATE_ATTR.numa_node, definition.numaNode);
    writeName(attr, 0, MAP_CREATE_ATTR.map_name, map.name.slice(0, 15));
    writeLong(attr, 0, MAP_CREATE_ATTR.map_extra, definition.mapExtra);
    if (map.kind === 'struct_ops') {
      const { valueTypeID, valueSize } = this.#structOps(map, () => false);
      writeInt(attr, 0, MAP_CREATE_ATTR.value_size, valueSize);
      writeInt(attr, 0, MAP_CREATE_ATTR.btf_vmlinux_value_type_id, valueTypeID);
      // The structure's own type is for skeletons.
      if (hasTypes) writeInt(attr, 0, MAP_CREATE_ATTR.btf_fd, this.#btfFD);
    } else if (hasTypes) {
      writeInt(attr, 0, MAP_CREATE_ATTR.btf_fd, this.#btfFD);
      writeInt(attr, 0, MAP_CREATE_ATTR.btf_key_type_id, definition.keyTypeID);
      writeInt(attr, 0, MAP_CREATE_ATTR.btf_value_type_id, definition.valueTypeID);
    }
    const fd = this.#createOrRetry(scratch, attr, definition.keyTypeID !== 0 || definition.valueTypeID !== 0);
    if (innerFD > 0) this.#port.close(innerFD);
    return fd;
  }

  /** The map of a jump table, which serves one program; it lives as long as the other maps. */
  #createJumpTable(scratch: Scratch, targets: readonly number[]): number {
    const attr = attrBytes(MAP_CREATE_ATTR.map_extra);
    writeInt(attr, 0, MAP_CREATE_ATTR.map_type, U.BPF_MAP_TYPE_INSN_ARRAY);
    writeInt(attr, 0, MAP_CREATE_ATTR.key_size, 4);
    writeInt(attr, 0, MAP_CREATE_ATTR.value_size, INSN_ARRAY_VALUE_SIZE);
    writeInt(attr, 0, MAP_CREATE_ATTR.max_entries, targets.length);
    writeName(attr, 0, MAP_CREATE_ATTR.map_name, '.jumptables');
    const place = 'section .jumptables';
    const fd = this.#call(scratch, U.BPF_MAP_CREATE, attr);
    if (fd < 0) this.#fail(place, `map '.jumptables': failed to create: ${errnoName(fd)}`);
    this.#fds.push(fd);
    for (const [i, target] of targets.entries()) {
      const value = new DataView(new ArrayBuffer(INSN_ARRAY_VALUE_SIZE));
      value.setUint32(0, target, true);
      this.#update(scratch, fd, i, new Uint8Array(value.buffer), 0n, `map '.jumptables': failed to set entry ${i}`, place);
    }
    const freeze = attrBytes(MAP_ELEM_ATTR.map_fd);
    writeInt(freeze, 0, MAP_ELEM_ATTR.map_fd, fd);
    const result = this.#call(scratch, U.BPF_MAP_FREEZE, freeze);
    if (result < 0) this.#fail(place, `map '.jumptables': failed to freeze as read-only: ${errnoName(result)}`);
    return fd;
  }

  /** A map's structure in the kernel, with the callbacks that are to be installed. */
  #structOps(map: ObjectMap, isSet: (programIndex: number) => boolean): KernelStructOps {
    return resolveStructOps(this.#object, map, this.#options.kernel.btf, isSet);
  }

  /** Where a callback attaches: type and member; as veristat has it, no other program is in the map. `undefined` for one that no map names. */
  #callbackTarget(program: ObjectProgram): { readonly typeID: number; readonly member: number } | undefined {
    const own = this.#object.programs.findIndex(({ name, isSubprogram }) => !isSubprogram && name === program.name);
    for (const map of this.#object.maps) {
      for (const [member, index] of map.callbacks) {
        if (index !== own) continue;
        const { typeID, memberIndexes } = this.#structOps(map, (candidate) => candidate === own);
        const target = memberIndexes.get(member);
        if (target !== undefined) return { typeID, member: target };
      }
    }
    return undefined;
  }

  /** A kernel that does not like a map's types gets it without them. */
  #createOrRetry(scratch: Scratch, attr: DataView, hasTypes: boolean): number {
    const fd = this.#call(scratch, U.BPF_MAP_CREATE, attr);
    if (fd >= 0 || !hasTypes) return fd;
    for (const field of [MAP_CREATE_ATTR.btf_fd, MAP_CREATE_ATTR.btf_key_type_id, MAP_CREATE_ATTR.btf_value_type_id]) writeInt(attr, 0, field, 0);
    return this.#call(scratch, U.BPF_MAP_CREATE, attr);
  }

  #update(scratch: Scratch, fd: number, key: number, value: Uint8Array, flags: bigint, what: string, place: string): void {
    const keyBytes = new DataView(new ArrayBuffer(4));
    keyBytes.setUint32(0, key, true);
    const attr = attrBytes(MAP_ELEM_ATTR.flags);
    writeInt(attr, 0, MAP_ELEM_ATTR.map_fd, fd);
    writeLong(attr, 0, MAP_ELEM_ATTR.key, BigInt(scratch.bytes(new Uint8Array(keyBytes.buffer))));
    writeLong(attr, 0, MAP_ELEM_ATTR.value, BigInt(scratch.bytes(value)));
    writeLong(attr, 0, MAP_ELEM_ATTR.flags, flags);
    const result = this.#call(scratch, U.BPF_MAP_UPDATE_ELEM, attr);
    if (result < 0) this.#fail(place, `${what}: ${errnoName(-result)}`);
  }

  #freeze(scratch: Scratch, fd: number, map: ObjectMap, place: string): void {
    const attr = attrBytes(MAP_ELEM_ATTR.map_fd);
    writeInt(attr, 0, MAP_ELEM_ATTR.map_fd, fd);
    const result = this.#call(scratch, U.BPF_MAP_FREEZE, attr);
    if (result < 0) this.#fail(place, `map '${map.name}': failed to freeze as read-only: ${errnoName(-result)}`);
  }

  /** Relocates a fresh copy of the object for one program and loads it. */
  loadProgram(bytes: Uint8Array, name: string, opened: ObjectProgram): LoadedObjectProgram {
    const { name: programName, sectionName } = opened;
    const common = { name: programName, section: sectionName, log: '', milliseconds: 0, ...shapeOf(opened) };
    const scratch = new Scratch(this.#port);
    try {
      const object = this.#only(openObject(bytes, this.#object.file, name), programName);
      new CoreRelocator(object, this.#options.kernel, () => {}).relocate();
      relocateObject(withoutCore(object), new KernelReferenceWriter(object, this.#options.kernel, this.#mapFDs, (targets) => this.#createJumpTable(scratch, targets)));
      const program = object.programs.find((candidate) => !candidate.isSubprogram && candidate.name === programName);
      if (program === undefined) return { ...common, errno: 2, reason: 'no such program' };
      return { ...common, ...this.#load(scratch, program), ...shapeOf(program) };
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      return { ...common, errno: 22, reason: error.reason };
    } finally {
      scratch.release();
    }
  }

  /** Only this program is loaded, also where its section's name begins with a question mark. */
  #only(object: BPFObject, name: string): BPFObject {
    const programs = object.programs.map((program) => ({ ...program, autoload: program.isSubprogram || program.name === name }));
    return { ...object, programs };
  }

  #load(scratch: Scratch, program: ObjectProgram): Pick<LoadedObjectProgram, 'errno' | 'reason' | 'log' | 'milliseconds'> {
    const attr = this.#programAttr(scratch, program);
    if (typeof attr === 'string') return { errno: 22, reason: attr, log: '', milliseconds: 0 };
    const { log, clock = () => 0 } = this.#options;
    const buffer = log.level === 0 ? 0 : scratch.zeroed(log.size);
    if (buffer > 0) {
      writeInt(attr, 0, PROG_LOAD_ATTR.log_level, log.level);
      writeInt(attr, 0, PROG_LOAD_ATTR.log_size, log.size);
      writeLong(attr, 0, PROG_LOAD_ATTR.log_buf, BigInt(buffer));
    }
    const started = clock();
    const fd = this.#call(scratch, U.BPF_PROG_LOAD, attr);
    const milliseconds = clock() - started;
    if (fd >= 0) {
      this.#options.accepted?.(program.name, fd);
      this.#keepOrClose(program.name, fd);
    }
    return { errno: fd < 0 ? -fd : 0, reason: undefined, log: buffer > 0 ? this.#readLog(buffer, log.size) : '', milliseconds };
  }

  #keepOrClose(name: string, fd: number): void {
    if (this.#kept === undefined) {
      this.#port.close(fd);
      return;
    }
    this.#fds.push(fd);
    this.#kept.set(name, fd);
  }

  #readLog(buffer: number, size: number): string {
    return latin1UpToNUL(this.#port.readUser(buffer, size));
  }

  /** The arguments of the load, or libbpf's reason for not trying. */
  #programAttr(scratch: Scratch, program: ObjectProgram): DataView | string {
    const flags = program.definition?.flags ?? 0;
    if (program.type === U.BPF_PROG_TYPE_UNSPEC) return `missing BPF prog type, check ELF section name '${program.sectionName}'`;
    let attachID = 0;
    if (program.type === U.BPF_PROG_TYPE_STRUCT_OPS) {
      const target = this.#callbackTarget(program);
      if (target === undefined) return 'SEC("struct_ops") program isn\'t referenced anywhere, did you forget to use it?';
      attachID = target.typeID;
      program.expectedAttachType = target.member;
    }
    if ((flags & SEC_USDT) !== 0) program.expectedAttachType = U.BPF_TRACE_UPROBE_MULTI;
    if ((flags & SEC_ATTACH_BTF) !== 0) {
      if (!program.sectionName.includes('/')) return 'no BTF-based attach target is specified, use bpf_program__set_attach_target()';
      if (program.type === U.BPF_PROG_TYPE_EXT) return 'attach program FD is not set';
      attachID = findAttachTarget(program, this.#options.kernel);
      const target = program.sectionName.slice(program.sectionName.indexOf('/') + 1);
      if (attachID < 0) return `failed to find kernel BTF type ID of '${target}': ${attachID}`;
    }
    const attr = attrBytes(PROG_LOAD_ATTR.keyring_id);
    const place = (bytes: Uint8Array): bigint => BigInt(scratch.bytes(bytes));
    writeInt(attr, 0, PROG_LOAD_ATTR.prog_type, program.type);
    writeInt(attr, 0, PROG_LOAD_ATTR.insn_cnt, program.instructions.length / 8);
    writeLong(attr, 0, PROG_LOAD_ATTR.insns, place(program.instructions));
    writeLong(attr, 0, PROG_LOAD_ATTR.license, BigInt(scratch.cString(this.#object.license)));
    writeInt(attr, 0, PROG_LOAD_ATTR.kern_version, KERNEL_VERSION);
    writeInt(attr, 0, PROG_LOAD_ATTR.prog_flags, ((flags & SEC_SLEEPABLE) !== 0 ? BPF_F_SLEEPABLE : 0)
      | (this.#options.flags ?? 0) | (program.type === U.BPF_PROG_TYPE_XDP && (flags & SEC_XDP_FRAGS) !== 0 ? BPF_F_XDP_HAS_FRAGS : 0));
    writeName(attr, 0, PROG_LOAD_ATTR.prog_name, program.name.slice(0, 15));
    writeInt(attr, 0, PROG_LOAD_ATTR.expected_attach_type, program.expectedAttachType);
    writeInt(attr, 0, PROG_LOAD_ATTR.attach_btf_id, attachID);
    if (this.#btfFD > 0) {
      writeInt(attr, 0, PROG_LOAD_ATTR.prog_btf_fd, this.#btfFD);
      writeInt(attr, 0, PROG_LOAD_ATTR.func_info_rec_size, program.functionInfoSize);
      writeLong(attr, 0, PROG_LOAD_ATTR.func_info, place(recordBytes(program.functionInfo, true)));
      writeInt(attr, 0, PROG_LOAD_ATTR.func_info_cnt, recordCount(program.functionInfo, program.functionInfoSize));
      writeInt(attr, 0, PROG_LOAD_ATTR.line_info_rec_size, program.lineInfoSize);
      writeLong(attr, 0, PROG_LOAD_ATTR.line_info, place(recordBytes(program.lineInfo, true)));
      writeInt(attr, 0, PROG_LOAD_ATTR.line_info_cnt, recordCount(program.lineInfo, program.lineInfoSize));
    }
    return attr;
  }
}

/** Maps whose size the process would set get the least that works, as veristat does it; storages have none. */
function defaultEntries(type: number): number {
  if (STORAGES.has(type)) return 0;
  return type === U.BPF_MAP_TYPE_RINGBUF || type === U.BPF_MAP_TYPE_USER_RINGBUF ? PAGE_SIZE : 1;
}

const STORAGES: ReadonlySet<number> = new Set([
  U.BPF_MAP_TYPE_SK_STORAGE, U.BPF_MAP_TYPE_TASK_STORAGE, U.BPF_MAP_TYPE_INODE_STORAGE, U.BPF_MAP_TYPE_CGROUP_STORAGE, U.BPF_MAP_TYPE_CGRP_STORAGE,
  U.BPF_MAP_TYPE_STRUCT_OPS,
]);

/** The relocations were performed here; the kernel gets none. */
function withoutCore(object: BPFObject): BPFObject {
  return object.ext === undefined ? object : { ...object, ext: { ...object.ext, relocations: { recordSize: 0, sections: [] } } };
}

/** A zeroed `union bpf_attr` that ends after `last`. */
function attrBytes(last: Field): DataView {
  return new DataView(new ArrayBuffer(last.offset + last.size));
}
