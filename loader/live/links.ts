/**
 * @module loader/live/links
 * Attaching: a link for every program and every map of callbacks, made as libbpf makes it, with `bpf(2)` where that is enough and with
 * performance events where the port has a {@link Machine}. Owns the calls; what a section's name asks for is `attach-spec.ts`. Kernels
 * without links for performance events (before 5.15) are not catered for. Reproduces the `bpf_program__attach_*` and
 * `bpf_map__attach_struct_ops` functions of `tools/lib/bpf/libbpf.c`.
 */
import type { BTF } from '../../btf/btf.ts';
import { LINK_CREATE_ATTR, MAP_ELEM_ATTR, RAW_TRACEPOINT_ATTR, writeInt, writeLong } from '../../isa/attr.ts';
import { EBUSY, EINVAL, ENOENT, ESRCH } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import type { AttachKind } from '../object/attach-spec.ts';
import { Scratch, type Machine, type Port } from '../port.ts';
import { functionOffset, functionOffsets, matchesPattern, type Offsets } from './elf-functions.ts';
import { attrBytes, perform, placed, SkeletonError, type Descriptor } from './handles.ts';

/** `struct perf_event_attr` as far as probes use it (`PERF_ATTR_SIZE_VER1`). */
const PERF_ATTR = { size: 72, type: 0, sizeAt: 4, config: 8, config1: 56, config2: 64 } as const;
const PERF_TYPE_TRACEPOINT = 2;
const PERF_FLAG_FD_CLOEXEC = 8;
const PERF_EVENT_IOC_ENABLE = 0x2400;
const PERF_EVENT_IOC_DISABLE = 0x2401;
const TRACING_FOLDERS = ['/sys/kernel/debug/tracing', '/sys/kernel/tracing'] as const;
const PROBE_DEVICES = '/sys/bus/event_source/devices';
/** Prefix of the functions behind system calls. */
const SYSTEM_CALL_PREFIX: Readonly<Partial<Record<string, string>>> = { x64: '__x64_sys_', arm64: '__arm64_sys_' };
const MAX_FUNCTION_ARGUMENTS = 12;
const MAX_ARGUMENT_SIZE = 16;

/** A structure of callbacks that can be registered. */
export interface StructOpsValue {
  /** The map's value, with descriptors of programs in the callbacks' places. */
  readonly value: Uint8Array;
  /** Whether the map wants a link (`BPF_F_LINK`); without one writing the value registers it. */
  readonly hasLink: boolean;
}

/** What attaching needs besides a descriptor. */
export interface AttachContext {
  /** The kernel's types, where the load was told them. */
  readonly types?: BTF | undefined;
  /** Values of maps of callbacks, by name. */
  readonly structOps?: ReadonlyMap<string, StructOpsValue> | undefined;
}

/** Something attached. */
interface Attachment {
  readonly fd: number;
  close(): void;
}

/** A link of the skeleton: one for every program and every map of callbacks. */
export class LinkHandle {
  readonly name: string;
  readonly #attach: AttachKind;
  readonly #target: Descriptor;
  readonly #context: () => AttachContext;
  #open: Attachment | undefined;

  constructor(name: string, attach: AttachKind, target: Descriptor, context: () => AttachContext) {
    this.name = name;
    this.#attach = attach;
    this.#target = target;
    this.#context = context;
  }

  /** False for programs that nothing attaches by itself: somebody must say what to. */
  get isAutomatic(): boolean {
    return this.#attach.kind !== 'none';
  }

  /** The link's descriptor, `undefined` where nothing is attached; that of the map for callbacks without a link. */
  get fd(): number | undefined {
    return this.#open?.fd;
  }

  /**
   * Attaches the program or the callbacks; no second time where they are attached already.
   * @throws SkeletonError where the kernel refuses, or where they cannot be attached this way
   */
  attach(): void {
    if (this.#open !== undefined) return;
    const attach = this.#attach;
    if (attach.kind === 'none') throw new SkeletonError(`'${this.name}': auto-attach not supported`, 0);
    if (attach.kind === 'unsupported') throw new SkeletonError(`'${this.name}': ${attach.reason}`, 0);
    if (attach.kind === 'invalid') throw new SkeletonError(`'${this.name}': ${attach.reason}`, EINVAL);
    const { port, fd } = this.#target();
    const scratch = new Scratch(port);
    try {
      this.#open = new Attacher(this.name, port, scratch, fd, this.#context()).attach(attach);
    } finally {
      scratch.release();
    }
  }

  /** Closes the link; nothing where there is none. */
  detach(): void {
    this.#open?.close();
    this.#open = undefined;
  }
}

type Performed = Exclude<AttachKind, { readonly kind: 'none' | 'unsupported' | 'invalid' }>;

class Attacher {
  readonly #name: string;
  readonly #port: Port;
  readonly #scratch: Scratch;
  readonly #fd: number;
  readonly #context: AttachContext;

  constructor(name: string, port: Port, scratch: Scratch, fd: number, context: AttachContext) {
    this.#name = name;
    this.#port = port;
    this.#scratch = scratch;
    this.#fd = fd;
    this.#context = context;
  }

  attach(attach: Performed): Attachment {
    switch (attach.kind) {
      case 'raw_tracepoint': return this.#closing(this.#rawTracepoint(attach.name));
      case 'iter': return this.#closing(this.#link(U.BPF_TRACE_ITER, this.#attr()));
      case 'trace': return this.#closing(this.#trace(attach.attachType));
      case 'kprobe_multi': return this.#closing(this.#kprobeMulti(attach));
      case 'uprobe_multi': return this.#closing(this.#uprobeMulti(attach));
      case 'tracing_multi': return this.#closing(this.#tracingMulti(attach.attachType, attach.pattern));
      case 'kprobe': return this.#kprobe(attach);
      case 'uprobe': return this.#uprobe(attach);
      case 'tracepoint': return this.#tracepoint(attach.category, attach.name);
      case 'struct_ops': return this.#structOps();
    }
  }

  #fail(reason: string, errno = 0): never {
    throw new SkeletonError(`'${this.#name}': ${reason}`, errno);
  }

  #closing(fd: number): Attachment {
    if (fd < 0) this.#fail('attach', -fd);
    return { fd, close: () => void this.#port.close(fd) };
  }

  // --- with bpf(2) alone ---------------------------------------------------------------------------------------------

  #attr(): DataView {
    return attrBytes(LINK_CREATE_ATTR['uprobe_multi.path_fd']);
  }

  /** `BPF_LINK_CREATE` for this program, or this map. */
  #link(attachType: number, attr: DataView, target = 0): number {
    writeInt(attr, 0, LINK_CREATE_ATTR.prog_fd, this.#fd);
    writeInt(attr, 0, LINK_CREATE_ATTR.target_fd, target);
    writeInt(attr, 0, LINK_CREATE_ATTR.attach_type, attachType);
    return perform(this.#port, this.#scratch, U.BPF_LINK_CREATE, attr);
  }

  #rawTracepoint(name: string | undefined): number {
    const attr = attrBytes(RAW_TRACEPOINT_ATTR.prog_fd);
    if (name !== undefined) writeLong(attr, 0, RAW_TRACEPOINT_ATTR.name, this.#text(name));
    writeInt(attr, 0, RAW_TRACEPOINT_ATTR.prog_fd, this.#fd);
    return perform(this.#port, this.#scratch, U.BPF_RAW_TRACEPOINT_OPEN, attr);
  }

  /** Kernels before 5.18 know these programs from the older call only, and say that the newer one is malformed. */
  #trace(attachType: number): number {
    const fd = this.#link(attachType, this.#attr());
    return fd === -EINVAL && attachType !== 0 && attachType !== U.BPF_TRACE_FSESSION ? this.#rawTracepoint(undefined) : fd;
  }

  #kprobeMulti({ attachType, pattern, isReturn }: Extract<AttachKind, { readonly kind: 'kprobe_multi' }>): number {
    const A = LINK_CREATE_ATTR;
    const attr = this.#attr();
    writeInt(attr, 0, A['kprobe_multi.flags'], isReturn ? U.BPF_F_KPROBE_MULTI_RETURN : 0);
    if (/[*?]/.test(pattern)) {
      const addresses = this.#functionAddresses(pattern);
      writeInt(attr, 0, A['kprobe_multi.cnt'], addresses.length);
      writeLong(attr, 0, A['kprobe_multi.addrs'], this.#longs(addresses));
    } else {
      writeInt(attr, 0, A['kprobe_multi.cnt'], 1);
      writeLong(attr, 0, A['kprobe_multi.syms'], this.#longs([this.#text(pattern)]));
    }
    const fd = this.#link(attachType, attr);
    return fd === -ESRCH ? -ENOENT : fd;
  }

  /** Addresses of the kernel's functions that can be traced, as tracefs lists them. */
  #functionAddresses(pattern: string): bigint[] {
    const machine = this.#machine(`the functions that '${pattern}' names`);
    const addresses = this.#tracingFile(machine, 'available_filter_functions_addrs').split('\n').flatMap((line) => {
      const [, address = '', name = ''] = /^([0-9a-f]+) (\S+)/.exec(line) ?? [];
      return name !== '' && matchesPattern(name, pattern) ? [BigInt(`0x${address}`)] : [];
    });
    return addresses.length === 0 ? this.#fail(`no function matches '${pattern}'`, ENOENT) : addresses;
  }

  #uprobeMulti({ attachType, path, pattern, isReturn }: Extract<AttachKind, { readonly kind: 'uprobe_multi' }>): number {
    const A = LINK_CREATE_ATTR;
    const { fullPath, offsets } = this.#binary(path, (bytes) => functionOffsets(bytes, pattern));
    const attr = this.#attr();
    writeLong(attr, 0, A['uprobe_multi.path'], this.#text(fullPath));
    writeLong(attr, 0, A['uprobe_multi.offsets'], this.#longs(offsets.map(BigInt)));
    writeInt(attr, 0, A['uprobe_multi.cnt'], offsets.length);
    writeInt(attr, 0, A['uprobe_multi.flags'], isReturn ? U.BPF_F_UPROBE_MULTI_RETURN : 0);
    return this.#link(attachType, attr);
  }

  #tracingMulti(attachType: number, pattern: string): number {
    const { types } = this.#context;
    if (types === undefined) return this.#fail(`the functions that '${pattern}' names are looked up in the kernel's types: give load() kernelBTF`);
    if (pattern.includes(':')) return this.#fail(`functions of modules ('${pattern}') are not looked up`);
    const ids = Array.from({ length: types.endID - 1 }, (_, i) => i + 1).filter((id) => types.kind(id) === U.BTF_KIND_FUNC && matchesPattern(types.typeName(id), pattern) && isTraceable(types, id));
    if (ids.length === 0) return -EINVAL;
    const attr = this.#attr();
    const bytes = new DataView(new ArrayBuffer(4 * ids.length));
    for (const [i, id] of ids.entries()) bytes.setUint32(4 * i, id, true);
    writeLong(attr, 0, LINK_CREATE_ATTR['tracing_multi.ids'], placed(this.#scratch, new Uint8Array(bytes.buffer)));
    writeInt(attr, 0, LINK_CREATE_ATTR['tracing_multi.cnt'], ids.length);
    return this.#link(attachType, attr);
  }

  /** Writes the value; what has a link of its own is registered by that. */
  #structOps(): Attachment {
    const structure = this.#context.structOps?.get(this.#name);
    if (structure === undefined) return this.#fail('the map was not created with its callbacks');
    const [port, fd] = [this.#port, this.#fd];
    const written = this.#element(U.BPF_MAP_UPDATE_ELEM, structure.value);
    // A map that had a link before keeps its value.
    if (written < 0 && !(structure.hasLink && written === -EBUSY)) this.#fail('attach', -written);
    if (structure.hasLink) return this.#closing(this.#link(U.BPF_STRUCT_OPS, this.#attr()));
    const remove = (): void => {
      const scratch = new Scratch(port);
      try {
        new Attacher(this.#name, port, scratch, fd, {}).#element(U.BPF_MAP_DELETE_ELEM, undefined);
      } finally {
        scratch.release();
      }
    };
    return { fd, close: remove };
  }

  /** The one element of a map of callbacks. */
  #element(command: number, value: Uint8Array | undefined): number {
    const attr = attrBytes(MAP_ELEM_ATTR.flags);
    writeInt(attr, 0, MAP_ELEM_ATTR.map_fd, this.#fd);
    writeLong(attr, 0, MAP_ELEM_ATTR.key, placed(this.#scratch, new Uint8Array(4)));
    if (value !== undefined) writeLong(attr, 0, MAP_ELEM_ATTR.value, placed(this.#scratch, value));
    return perform(this.#port, this.#scratch, command, attr);
  }

  // --- with performance events ---------------------------------------------------------------------------------------

  #machine(what: string): Machine {
    const { machine } = this.#port;
    return machine ?? this.#fail(`${what}: this needs perf_event_open(2) and the machine's files, which the port does not offer`);
  }

  #kprobe({ function: target, offset, isReturn, isSystemCall }: Extract<AttachKind, { readonly kind: 'kprobe' }>): Attachment {
    const machine = this.#machine(`${isReturn ? 'kretprobe' : 'kprobe'} '${target}'`);
    const name = isSystemCall ? this.#systemCall(machine, target) : target;
    const event = this.#probe(machine, 'kprobe', name, offset, isReturn);
    return this.#event(machine, event, `${isReturn ? 'kretprobe' : 'kprobe'} '${name}+0x${offset.toString(16)}'`);
  }

  /** The function behind a system call, which depends on whether the kernel wraps its arguments. */
  #systemCall(machine: Machine, name: string): string {
    const prefix = SYSTEM_CALL_PREFIX[machine.architecture];
    if (prefix === undefined) return this.#fail(`the names of system calls on ${machine.architecture} are not known`);
    const probe = this.#probe(machine, 'kprobe', `${prefix}bpf`, 0, false);
    if (probe >= 0) this.#port.close(probe);
    return probe >= 0 ? prefix + name : `__se_sys_${name}`;
  }

  #uprobe({ path, function: target, offset, isReturn }: Extract<AttachKind, { readonly kind: 'uprobe' }>): Attachment {
    const machine = this.#machine(`${isReturn ? 'uretprobe' : 'uprobe'} '${path}:${target}'`);
    const { fullPath, offsets } = this.#binary(path, (bytes) => functionOffset(bytes, target));
    const at = (offsets[0] ?? 0) + offset;
    return this.#event(machine, this.#probe(machine, 'uprobe', fullPath, at, isReturn), `${isReturn ? 'uretprobe' : 'uprobe'} '${fullPath}:0x${at.toString(16)}'`);
  }

  #tracepoint(category: string, name: string): Attachment {
    const machine = this.#machine(`tracepoint '${category}/${name}'`);
    const id = Number.parseInt(this.#tracingFile(machine, `events/${category}/${name}/id`), 10);
    if (!(id >= 0)) this.#fail(`failed to determine tracepoint '${category}/${name}' perf event ID`, ENOENT);
    return this.#event(machine, this.#open(machine, PERF_TYPE_TRACEPOINT, BigInt(id), 0n, 0n), `tracepoint '${category}/${name}'`);
  }

  /** A performance event of the kind that sysfs describes for probes. */
  #probe(machine: Machine, kind: 'kprobe' | 'uprobe', target: string, offset: number, isReturn: boolean): number {
    const type = this.#number(machine, `${PROBE_DEVICES}/${kind}/type`, '');
    const bit = isReturn ? this.#number(machine, `${PROBE_DEVICES}/${kind}/format/retprobe`, 'config:') : undefined;
    return this.#open(machine, type, bit === undefined ? 0n : 1n << BigInt(bit), this.#text(target), BigInt(offset));
  }

  #number(machine: Machine, path: string, prefix: string): number {
    const file = machine.readFile(path);
    if (typeof file === 'number') return this.#fail(path, -file);
    const text = new TextDecoder('latin1').decode(file);
    const value = text.startsWith(prefix) ? Number.parseInt(text.slice(prefix.length), 10) : Number.NaN;
    return value >= 0 && value < 2 ** 31 ? value : this.#fail(`${path}: no number`);
  }

  #open(machine: Machine, type: number, config: bigint, config1: bigint, config2: bigint): number {
    const attr = new DataView(new ArrayBuffer(PERF_ATTR.size));
    attr.setUint32(PERF_ATTR.type, type, true);
    attr.setUint32(PERF_ATTR.sizeAt, PERF_ATTR.size, true);
    attr.setBigUint64(PERF_ATTR.config, config, true);
    attr.setBigUint64(PERF_ATTR.config1, config1, true);
    attr.setBigUint64(PERF_ATTR.config2, config2, true);
    return machine.perfEventOpen(Number(placed(this.#scratch, new Uint8Array(attr.buffer))), -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
  }

  /** Ties the program to an event and switches it on. */
  #event(machine: Machine, event: number, what: string): Attachment {
    if (event < 0) return this.#fail(`failed to create ${what} perf event`, -event);
    const fd = this.#link(U.BPF_PERF_EVENT, this.#attr(), event);
    const enabled = fd < 0 ? fd : machine.ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
    if (enabled < 0) {
      if (fd >= 0) this.#port.close(fd);
      this.#port.close(event);
      return this.#fail(`failed to attach to ${what}`, -enabled);
    }
    const close = (): void => {
      machine.ioctl(event, PERF_EVENT_IOC_DISABLE, 0);
      this.#port.close(event);
      this.#port.close(fd);
    };
    return { fd, close };
  }

  // --- files ----------------------------------------------------------------------------------------------------------

  #tracingFile(machine: Machine, name: string): string {
    let errno = ENOENT;
    for (const folder of TRACING_FOLDERS) {
      const file = machine.readFile(`${folder}/${name}`);
      if (typeof file !== 'number') return new TextDecoder('latin1').decode(file);
      errno = -file;
    }
    return this.#fail(`tracefs has no ${name}`, errno);
  }

  #binary(path: string, find: (bytes: Uint8Array) => Offsets): { readonly fullPath: string; readonly offsets: readonly number[] } {
    const machine = this.#machine(`functions of '${path}'`);
    if (path.includes('!/')) return this.#fail(`'${path}': archives are not read`);
    const fullPath = path.includes('/') ? path : machine.findBinary(path);
    if (typeof fullPath === 'number') return this.#fail(`failed to resolve full path for '${path}'`, -fullPath);
    const bytes = machine.readFile(fullPath);
    if (typeof bytes === 'number') return this.#fail(`failed to open ${fullPath}`, -bytes);
    const found = find(bytes);
    return 'reason' in found ? this.#fail(`elf: '${fullPath}': ${found.reason}`, ENOENT) : { fullPath, offsets: found.offsets };
  }

  // --- memory ---------------------------------------------------------------------------------------------------------

  #text(text: string): bigint {
    const address = this.#scratch.cString(text);
    return address < 0 ? this.#fail('no memory for an argument', -address) : BigInt(address);
  }

  #longs(values: readonly bigint[]): bigint {
    const bytes = new DataView(new ArrayBuffer(8 * values.length));
    for (const [i, value] of values.entries()) bytes.setBigUint64(8 * i, value, true);
    return placed(this.#scratch, new Uint8Array(bytes.buffer));
  }
}

/** True for functions whose arguments a trampoline can save (`btf_type_is_traceable_func`). */
function isTraceable(types: BTF, id: number): boolean {
  const prototype = types.type(id);
  if (types.kind(prototype) !== U.BTF_KIND_FUNC_PROTO) return false;
  const parameters = types.params(prototype);
  if (parameters.length > MAX_FUNCTION_ARGUMENTS) return false;
  const result = valueSize(types, types.type(prototype));
  const returned = types.skipModifiers(types.type(prototype));
  if (result < 0 || types.kind(returned) === U.BTF_KIND_STRUCT || types.kind(returned) === U.BTF_KIND_UNION) return false;
  return parameters.every(({ type }) => {
    const size = valueSize(types, type);
    return size > 0 && size <= MAX_ARGUMENT_SIZE;
  });
}

/** Bytes of a value; 0 for void, -1 where it has none. */
function valueSize(types: BTF, id: number): number {
  if (id === 0) return 0;
  const type = types.skipModifiers(id);
  if (type === 0) return -1;
  switch (types.kind(type)) {
    case U.BTF_KIND_PTR: return 8;
    case U.BTF_KIND_INT: case U.BTF_KIND_ENUM: case U.BTF_KIND_ENUM64: case U.BTF_KIND_STRUCT: case U.BTF_KIND_UNION: return types.size(type);
    default: return -1;
  }
}
