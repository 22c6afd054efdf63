/**
 * @module kernel/maps/struct-ops
 * Structures of callbacks: maps whose one value is a set of operations, and the registers of the subsystems that take them. The instance
 * runs none of these subsystems: what is registered is listed, keeps its programs and its name, and nothing calls it. Owns the rules of the
 * value, of each subsystem's fields and of registration; links are `kernel/syscall/links.ts`. Reproduces `kernel/bpf/bpf_struct_ops.c`,
 * and the `init_member`, `validate` and `reg` of `net/ipv4/bpf_tcp_ca.c`, `net/sched/bpf_qdisc.c` and `net/bpf/bpf_dummy_struct_ops.c`.
 */
import type { BTF } from '../../btf/btf.ts';
import { E2BIG, EBADF, EBUSY, EEXIST, EINPROGRESS, EINVAL, ENOENT, ENOTSUPP, EOPNOTSUPP } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { BPFMap, type ElementFlags, type MapAttributes, type MapHost, type MapProgram } from './map.ts';

const STRUCT_OPS_SIZE = 832;
/** Wrapper structs that name a registered `struct_ops` begin so; those of the subsystem itself do not wrap operations. */
const STRUCT_OPS_PREFIX = 'bpf_struct_ops_';
/** `struct bpf_struct_ops_common_value`: references, then the state. */
const REFERENCES_AT = 0, STATE_AT = 4;
/** `enum bpf_struct_ops_state` */
const STATE = { initial: 0, inUse: 1, toBeFreed: 2, ready: 3 } as const;
/** `TCP_CONG_MASK` */
const CONGESTION_FLAGS = 0x1f;

/** What a subsystem says to a member that is no callback: an error, 0 for "not mine", 1 for "taken". */
type InitMember = (name: string, bytes: Uint8Array) => number;

/** A subsystem that takes structures of callbacks. */
interface Subsystem {
  readonly initMember: InitMember;
  /** Member with the name under which a structure is known; `""` where there are no names. */
  readonly nameMember: string;
  /** Whether the callbacks that are set will do. */
  readonly validate: (has: (member: string) => boolean) => boolean;
  /** Names that every kernel has taken. */
  readonly taken: readonly string[];
  /** Whether a link can change to another structure (`update`). */
  readonly canUpdate: boolean;
}

/** 1 where the bytes are a name as the kernel copies it (`bpf_obj_name_cpy`). */
function takeName(bytes: Uint8Array): number {
  const end = bytes.indexOf(0);
  return end > 0 && /^[A-Za-z0-9_.]+$/.test(String.fromCharCode(...bytes.subarray(0, end))) ? 1 : -EINVAL;
}

function wordOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

const SUBSYSTEMS: ReadonlyMap<string, Subsystem> = new Map<string, Subsystem>([
  ['tcp_congestion_ops', {
    initMember: (name, bytes) => (name === 'name' ? takeName(bytes) : name !== 'flags' ? 0 : (wordOf(bytes) & ~CONGESTION_FLAGS) !== 0 ? -EINVAL : 1),
    nameMember: 'name', taken: ['reno', 'cubic'], canUpdate: true,
    validate: (has) => has('ssthresh') && has('undo_cwnd') && (has('cong_avoid') || has('cong_control')),
  }],
  ['Qdisc_ops', {
    initMember: (name, bytes) => (name === 'id' ? takeName(bytes) : name !== 'priv_size' ? 0 : wordOf(bytes) !== 0 ? -EINVAL : 1),
    nameMember: 'id', taken: ['pfifo', 'bfifo', 'pfifo_head_drop', 'pfifo_fast', 'mq', 'noqueue'], canUpdate: false,
    validate: (has) => ['enqueue', 'dequeue', 'init', 'reset', 'destroy'].every(has),
  }],
  ['bpf_dummy_ops', { initMember: () => -EOPNOTSUPP, nameMember: '', taken: [], canUpdate: false, validate: () => true }],
]);

/** `bpf_struct_ops_map_alloc_check` */
export function checkStructOps(attr: MapAttributes): number {
  const flags = U.BPF_F_LINK | U.BPF_F_VTYPE_BTF_OBJ_FD;
  const isBad = attr.keySize !== 4 || attr.maxEntries !== 1 || (attr.flags & ~flags) !== 0 || attr.btfVmlinuxValueTypeID === 0;
  return isBad ? -EINVAL : 0;
}

/** True for the value type of a `struct_ops` that the kernel has: a wrapper of `common` and `data`. */
function isStructOpsValue(btf: BTF, id: number): boolean {
  if (btf.kind(id) !== U.BTF_KIND_STRUCT || !btf.typeName(id).startsWith(STRUCT_OPS_PREFIX) || btf.vlen(id) !== 2) return false;
  const data = btf.findMember(id, 'data');
  return data >= 0 && btf.kind(btf.skipModifiers(btf.memberType(id, data))) === U.BTF_KIND_STRUCT;
}

/** Anything but zeros between members, or behind the last one, is refused (`check_zero_holes`). */
function hasDirtyHoles(btf: BTF, struct: number, bytes: Uint8Array): boolean {
  let end = 0;
  const isDirty = (from: number, to: number): boolean => bytes.subarray(from, Math.max(from, to)).some((byte) => byte !== 0);
  for (const { type, bitOffset } of btf.members(struct)) {
    const at = Math.floor(bitOffset / 8);
    if (isDirty(end, at)) return true;
    end = at + (btf.resolveSize(type) ?? 0);
  }
  return isDirty(end, btf.size(struct));
}

/** A set of operations. */
export class StructOpsMap extends BPFMap {
  /** The structure's own type, and where it lies in the value. */
  readonly #struct: number;
  readonly #dataAt: number;
  readonly #btf: BTF;
  #state: number = STATE.initial;
  /** What user space wrote, with ids of programs in the callbacks' places. */
  #value: Uint8Array;
  #programs: MapProgram[] = [];
  #callbacks: ReadonlySet<string> = new Set();

  static create(host: MapHost, attr: MapAttributes): StructOpsMap | number {
    if ((attr.flags & U.BPF_F_VTYPE_BTF_OBJ_FD) !== 0) return host.hasFD(attr.valueTypeBTFObjFD) ? -EINVAL : -EBADF;
    const btf = host.kernelBTF();
    if (btf === undefined || !isStructOpsValue(btf, attr.btfVmlinuxValueTypeID)) return -ENOTSUPP;
    if (attr.valueSize !== btf.size(attr.btfVmlinuxValueTypeID)) return -EINVAL;
    return new StructOpsMap(host, attr, btf);
  }

  constructor(host: MapHost, attr: MapAttributes, btf: BTF) {
    super(host, attr, STRUCT_OPS_SIZE);
    this.#btf = btf;
    const member = btf.findMember(attr.btfVmlinuxValueTypeID, 'data');
    this.#struct = btf.skipModifiers(btf.memberType(attr.btfVmlinuxValueTypeID, member));
    this.#dataAt = btf.memberBitOffset(attr.btfVmlinuxValueTypeID, member) / 8;
    this.#value = new Uint8Array(attr.valueSize);
  }

  get #subsystem(): Subsystem | undefined {
    return SUBSYSTEMS.get(this.#btf.typeName(this.#struct));
  }

  /** Name under which the structure is registered, unique in a kernel. */
  get #registeredName(): string {
    const subsystem = this.#subsystem;
    const member = subsystem === undefined ? -1 : this.#btf.findMember(this.#struct, subsystem.nameMember);
    if (member < 0) return '';
    const at = this.#dataAt + this.#btf.memberBitOffset(this.#struct, member) / 8;
    return String.fromCharCode(...this.#value.subarray(at, this.#value.indexOf(0, at)));
  }

  override get canBeInner(): boolean {
    return false;
  }

  override lookup(): number {
    return -EINVAL;
  }

  override copyValue(key: number, out: number): number {
    if (this.host.memory.view.getUint32(key, true) !== 0) return -ENOENT;
    const { u8, view } = this.host.memory;
    u8.fill(0, out, out + this.valueSize);
    if (this.#state === STATE.initial) return 0;
    u8.set(this.#value, out);
    view.setUint32(out + STATE_AT, this.#state, true);
    view.setUint32(out + REFERENCES_AT, Math.max(this.references - this.userReferences, 0), true);
    return 0;
  }

  override update(key: number, value: number, flags: ElementFlags): number {
    if (flags.lo !== 0 || flags.hi !== 0) return -EINVAL;
    if (this.host.memory.view.getUint32(key, true) !== 0) return -E2BIG;
    const bytes = this.host.memory.u8.slice(value, value + this.valueSize);
    if (hasDirtyHoles(this.#btf, this.btfVmlinuxValueTypeID, bytes) || hasDirtyHoles(this.#btf, this.#struct, bytes.subarray(this.#dataAt))) return -EINVAL;
    if (bytes.subarray(REFERENCES_AT, STATE_AT + 4).some((byte) => byte !== 0)) return -EINVAL;
    if (this.#state !== STATE.initial) return -EBUSY;
    const subsystem = this.#subsystem;
    // Subsystems that the instance knows nothing of are refused by name.
    if (subsystem === undefined) return -EOPNOTSUPP;
    this.#value = bytes;
    const result = this.#install(subsystem, bytes);
    if (result !== undefined) {
      this.#reset();
      return result;
    }
    if ((this.flags & U.BPF_F_LINK) !== 0) {
      this.#state = STATE.ready;
      return 0;
    }
    const registered = this.register();
    if (registered !== 0) {
      this.#reset();
      return registered;
    }
    this.references++;
    this.#state = STATE.inUse;
    return 0;
  }

  /** Takes the members in their order; what the update ends with where one of them will not do. */
  #install(subsystem: Subsystem, bytes: Uint8Array): number | undefined {
    const btf = this.#btf;
    const module = btf.findByNameKind('module', U.BTF_KIND_STRUCT);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const callbacks = new Set<string>();
    // The kernel forgets to set an error where an owner is given: the last member's answer remains.
    let last = 0;
    for (const [index, { name, type, bitOffset }] of btf.members(this.#struct).entries()) {
      const at = this.#dataAt + bitOffset / 8;
      const target = btf.resolvePointer(type);
      if (target !== undefined && target === module) {
        if (view.getBigUint64(at, true) !== 0n) return last;
        continue;
      }
      const member = bytes.subarray(at, at + (btf.resolveSize(type) ?? 0));
      last = subsystem.initMember(name, member);
      if (last < 0) return last;
      if (last > 0) continue;
      if (target === undefined || btf.kind(target) !== U.BTF_KIND_FUNC_PROTO) {
        if (member.some((byte) => byte !== 0)) return -EINVAL;
        continue;
      }
      const fd = view.getInt32(at, true);
      if (fd === 0) continue;
      const program = this.host.programByFD(fd);
      if (typeof program === 'number') return program;
      if (program.type !== U.BPF_PROG_TYPE_STRUCT_OPS || program.attachBTFID !== this.#struct || program.expectedAttachType !== index) return -EINVAL;
      program.get();
      this.#programs.push(program);
      view.setBigUint64(at, BigInt(program.id), true);
      callbacks.add(name);
    }
    this.#callbacks = callbacks;
    return subsystem.validate((member) => callbacks.has(member)) ? undefined : -EINVAL;
  }

  #reset(): void {
    for (const program of this.#programs.splice(0)) program.put();
    this.#value = new Uint8Array(this.valueSize);
    this.#callbacks = new Set();
  }

  /** True for a map that a link may register: it wants one, and has its value (`bpf_struct_ops_valid_to_reg`). */
  get isReady(): boolean {
    return (this.flags & U.BPF_F_LINK) !== 0 && this.#state === STATE.ready;
  }

  get #key(): string {
    return `${this.#btf.typeName(this.#struct)} ${this.#registeredName}`;
  }

  /** Gives the structure to its subsystem: 0, or `-EEXIST` where its name is taken. */
  register(): number {
    const subsystem = this.#subsystem;
    if (subsystem === undefined || !subsystem.validate((member) => this.#callbacks.has(member))) return -EINVAL;
    if (subsystem.taken.includes(this.#registeredName) || this.host.registered.has(this.#key)) return -EEXIST;
    this.host.registered.set(this.#key, this);
    return 0;
  }

  unregister(): void {
    if (this.host.registered.get(this.#key) === this) this.host.registered.delete(this.#key);
  }

  /** Whether a link to this structure's subsystem can change to another one. */
  get canUpdate(): boolean {
    return this.#subsystem?.canUpdate === true;
  }

  /** Puts this structure in the place of a registered one (`bpf_struct_ops_map_link_update`). */
  replace(old: StructOpsMap): number {
    if (old.#struct !== this.#struct || old.#key !== this.#key || this.host.registered.get(this.#key) !== old) return -EINVAL;
    this.host.registered.set(this.#key, this);
    return 0;
  }

  override remove(): number {
    if ((this.flags & U.BPF_F_LINK) !== 0) return -EOPNOTSUPP;
    if (this.#state === STATE.toBeFreed) return -EINPROGRESS;
    if (this.#state !== STATE.inUse) return -ENOENT;
    this.#state = STATE.toBeFreed;
    this.unregister();
    this.host.putMap(this);
    return 0;
  }

  override nextKey(key: number, out: number): number {
    if (key !== 0 && this.host.memory.view.getUint32(key, true) === 0) return -ENOENT;
    this.host.memory.view.setUint32(out, 0, true);
    return 0;
  }

  protected override freeElements(): void {
    this.#reset();
  }
}
