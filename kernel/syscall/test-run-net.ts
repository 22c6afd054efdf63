/**
 * @module kernel/syscall/test-run-net
 * Test runs of programs on packets: socket filters, classifiers, cgroup and LWT programs on an `sk_buff`, XDP on an `xdp_buff`, flow
 * dissectors, netfilter and socket lookup programs. The structures are built as the kernel's BTF lays them out. Reproduces
 * `bpf_prog_test_run_skb`, `_xdp`, `_flow_dissector`, `_sk_lookup`, `_nf` (net/bpf/test_run.c).
 */
import { type Field, TEST_RUN_ATTR as A } from '../../isa/attr.ts';
import { E2BIG, EAFNOSUPPORT, EFAULT, EINVAL, ENODEV, ENOMEM, ENOSPC, EPROTO, ERANGE } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { BPF_F_TEST_SKB_CHECKSUM_COMPLETE, BPF_F_TEST_XDP_LIVE_FRAMES } from '../flags.ts';
import { CgroupStorageMap } from '../maps/storage.ts';
import { isNull, type KernelMemory } from '../memory.ts';
import type { BPFProgram } from '../program.ts';
import type { PacketBuffer } from '../run.ts';
import type { Call } from './call.ts';
import { checkTail } from './info.ts';
import { runnerOf } from './runner.ts';

const PAGE = 4096;
const ETH_HLEN = 14;
/** `NET_SKB_PAD + NET_IP_ALIGN` and `SKB_DATA_ALIGN(sizeof(struct skb_shared_info))` on x86-64. */
const SKB_HEADROOM = 64;
const SHARED_INFO = 320;
const XDP_HEADROOM = 256;
const XDP_FRAME = 40;
const MAX_FRAGMENTS = 17;
const SKB_CTX = 192;
const XDP_CTX = 24;
const FLOW_KEYS = 56;
const SK_LOOKUP_CTX = 72;
const NF_CTX = 64;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const LOOPBACK = 1;
/** `NO_QUEUE_MAPPING` */
const NO_QUEUE = 0xffff;

/** Offsets of `struct __sk_buff` that a caller may set, and the fields' names in `struct sk_buff`. */
const CTX = { mark: 8, priority: 32, ingress: 36, ifindex: 40, cb: 48, data: 76, dataEnd: 80, dataMeta: 140, tstamp: 152, wireLength: 160, segments: 164, size: 176, hwtstamp: 184 } as const;
const CTX_ALLOWED: readonly (readonly [start: number, end: number])[] = [[8, 12], [32, 44], [48, 68], [80, 84], [152, 168], [176, 180], [184, 192]];

function isZero(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if ((bytes[i] ?? 0) !== 0) return false;
  return true;
}

/** `bpf_ctx_init`: the caller's context zero-filled to `size`, `undefined` where none is given, or `-errno`. */
function openContext(call: Call, size: number): Uint8Array | undefined | number {
  const input = call.userPointer(A.ctx_in);
  if (isNull(input) && isNull(call.userPointer(A.ctx_out))) return undefined;
  const bytes = new Uint8Array(size);
  if (isNull(input)) return bytes;
  const asked = call.u32(A.ctx_size_in);
  const bad = checkTail(call.kernel, input, size, asked);
  if (bad !== 0) return bad;
  const given = call.kernel.memory.copyFrom(input, Math.min(size, asked));
  if (given === undefined) return -EFAULT;
  bytes.set(given);
  return bytes;
}

/** `bpf_ctx_finish` */
function closeContext(call: Call, bytes: Uint8Array | undefined): number {
  const target = call.userPointer(A.ctx_out);
  if (bytes === undefined || isNull(target)) return 0;
  const room = call.u32(A.ctx_size_out);
  if (!call.kernel.memory.copyTo(target, bytes.subarray(0, Math.min(room, bytes.length)))) return -EFAULT;
  if (!call.put(A.ctx_size_out, bytes.length)) return -EFAULT;
  return bytes.length > room ? -ENOSPC : 0;
}

/** `bpf_test_finish`: data and results. */
function finish(call: Call, data: Uint8Array | undefined, size: number, retval: number): number {
  const hint = call.u32(A.data_size_out);
  const isCut = hint !== 0 && size > hint;
  const target = call.userPointer(A.data_out);
  if (!isNull(target) && data !== undefined && !call.kernel.memory.copyTo(target, data.subarray(0, isCut ? hint : size))) return -EFAULT;
  const isCopied = call.put(A.data_size_out, size) && call.put(A.retval, retval) && call.put(A.duration, 1);
  if (!isCopied) return -EFAULT;
  return isCut ? -ENOSPC : 0;
}

/** Runs `repeat` times; the last result. Cgroup storages live for the command. */
function runTimes(call: Call, program: BPFProgram, ctx: number, packet: PacketBuffer | undefined): number {
  const runner = runnerOf(call);
  const times = Math.max(1, call.u32(A.repeat));
  try {
    return runner.repeat(program, times, ctx, packet).retval;
  } finally {
    for (const map of program.usedMaps) if (map instanceof CgroupStorageMap) map.endRun();
  }
}

/** Memory that lives for one command: what was had goes back also where the next block cannot be had. */
class Blocks {
  readonly #memory: KernelMemory;
  readonly #list: Set<number> = new Set();

  constructor(memory: KernelMemory) {
    this.#memory = memory;
  }

  own(block: number): number {
    this.#list.add(block);
    return block;
  }

  release(block: number): void {
    this.#list.delete(block);
    this.#memory.free(block);
  }

  free(): void {
    for (const block of this.#list) this.#memory.free(block);
    this.#list.clear();
  }
}

// ---------------------------------------------------------------- sk_buff

const L2_TYPES: ReadonlySet<number> = new Set([U.BPF_PROG_TYPE_SCHED_CLS, U.BPF_PROG_TYPE_SCHED_ACT]);
const LWT_TYPES: ReadonlySet<number> = new Set([U.BPF_PROG_TYPE_LWT_IN, U.BPF_PROG_TYPE_LWT_OUT, U.BPF_PROG_TYPE_LWT_XMIT]);

export function runSKB(call: Call, program: BPFProgram): number {
  if ((call.u32(A.flags) & ~BPF_F_TEST_SKB_CHECKSUM_COMPLETE) !== 0 || call.u32(A.cpu) !== 0 || call.u32(A.batch_size) !== 0) return -EINVAL;
  const size = call.u32(A.data_size_in);
  if (size < ETH_HLEN) return -EINVAL;
  const ctx = openContext(call, SKB_CTX);
  if (typeof ctx === 'number') return ctx;
  let linear = size;
  if (ctx !== undefined) {
    const view = new DataView(ctx.buffer);
    const end = view.getUint32(CTX.dataEnd, true);
    if (end > size || view.getUint32(CTX.data, true) !== 0 || view.getUint32(CTX.dataMeta, true) !== 0) return -EINVAL;
    if (end !== 0) {
      if (LWT_TYPES.has(program.type)) return -EINVAL;
      linear = Math.max(ETH_HLEN, end);
    }
  }
  linear = Math.min(linear, PAGE - SKB_HEADROOM - SHARED_INFO);
  if (Math.ceil((size - linear) / PAGE) > MAX_FRAGMENTS) return -ENOMEM;
  const input = call.kernel.memory.copyFrom(call.userPointer(A.data_in), size);
  if (input === undefined) return -EFAULT;
  const blocks = new Blocks(call.kernel.memory);
  try {
    const skb = new SocketBuffer(call, blocks, input, linear);
    const bad = skb.prepare(program, ctx);
    if (bad !== 0) return bad;
    const retval = runTimes(call, program, skb.address, skb.packet);
    return skb.complete(program, ctx, retval);
  } finally {
    blocks.free();
  }
}

/** An `sk_buff` with its data, its device and its socket. Bytes behind the linear part lie right behind it. */
class SocketBuffer {
  readonly address: number;
  readonly packet: PacketBuffer;
  private readonly call: Call;
  private head: number;
  /** Bytes of the block at `head`. */
  private room: number;
  private readonly device: number;
  private readonly socket: number;
  private readonly blocks: Blocks;

  constructor(call: Call, blocks: Blocks, input: Uint8Array, linear: number) {
    const { memory, structs } = call.kernel;
    this.call = call;
    this.blocks = blocks;
    this.room = SKB_HEADROOM + input.length + SHARED_INFO;
    this.head = blocks.own(memory.alloc(this.room, 'packet', 64));
    memory.space.setBytes(this.head + SKB_HEADROOM, input);
    this.address = blocks.own(structs.allocate('sk_buff', 256));
    this.device = blocks.own(structs.allocate('net_device', 64));
    this.socket = blocks.own(structs.allocate('sock', 64));
    this.packet = {
      kind: 'skb', data: this.head + SKB_HEADROOM, length: input.length, linear, network: ETH_HLEN, link: 0, address: this.address,
      reserve: (front, back) => this.reserve(front, back), sync: () => this.writeData(),
    };
  }

  /** `pskb_expand_head`: headers are offsets from the head. */
  private reserve(front: number, back: number): boolean {
    const { memory, structs } = this.call.kernel;
    const { packet } = this;
    const before = packet.data - this.head;
    const behind = this.room - before - packet.length - SHARED_INFO;
    if (front <= before && back <= behind) return true;
    const shift = Math.ceil(Math.max(0, front - before) / 64) * 64;
    const room = this.room + shift + Math.max(0, back - behind);
    const head = memory.tryAlloc(room, 'packet', 64);
    if (head === 0) return false;
    memory.u8.copyWithin(head + shift, this.head, this.head + before + packet.length);
    this.blocks.release(this.head);
    this.head = this.blocks.own(head);
    this.room = room;
    packet.data = head + shift + before;
    structs.point('sk_buff', this.address, 'head', head);
    this.set('end', room - SHARED_INFO);
    for (const header of ['mac_header', 'network_header']) this.set(header, Number(structs.get('sk_buff', this.address, header)) + shift);
    return true;
  }

  private set(member: string, value: number | bigint): void {
    this.call.kernel.structs.set('sk_buff', this.address, member, value);
  }

  /** Ethernet header, device, socket addresses, the caller's fields; `-errno` where they do not fit. */
  prepare(program: BPFProgram, ctx: Uint8Array | undefined): number {
    const { memory, structs } = this.call.kernel;
    const view = memory.view;
    if (ctx !== undefined && new DataView(ctx.buffer).getUint32(CTX.ifindex, true) > LOOPBACK) return -ENODEV;
    const frame = this.packet.data;
    const protocol = view.getUint16(frame + 12);
    const type = protocol >= 0x600 ? protocol : 4;
    this.moveStart(ETH_HLEN);
    const bad = this.addressSocket(type, this.packet.linear);
    if (bad !== 0) return bad;
    structs.set('net_device', this.device, 'ifindex', LOOPBACK);
    structs.point('sk_buff', this.address, 'dev', this.device);
    structs.point('sk_buff', this.address, 'sk', this.socket);
    structs.point('sk_buff', this.address, 'head', this.head);
    this.set('protocol', ((type & 0xff) << 8) | (type >> 8));
    this.set('mac_header', SKB_HEADROOM);
    this.set('network_header', SKB_HEADROOM + ETH_HLEN);
    this.set('transport_header', 0xffff);
    this.set('pkt_type', packetType(memory.space.getBytes(frame, 6)));
    this.set('mac_len', ETH_HLEN);
    this.set('end', this.room - SHARED_INFO);
    for (const queue of ['sk_rx_queue_mapping', 'sk_tx_queue_mapping']) structs.set('sock', this.socket, queue, NO_QUEUE);
    if (L2_TYPES.has(program.type)) this.moveStart(-ETH_HLEN);
    this.writeData();
    return this.takeContext(ctx);
  }

  /** `skb_pull`, `skb_push` */
  private moveStart(by: number): void {
    const { packet } = this;
    packet.data += by;
    packet.length -= by;
    packet.linear -= by;
    packet.network -= by;
    packet.link -= by;
  }

  /** `data`, `tail`, `len` and the end pointers in the control block. */
  private writeData(): void {
    const { structs, memory } = this.call.kernel;
    const end = this.packet.data + this.packet.linear;
    structs.point('sk_buff', this.address, 'data', this.packet.data);
    this.set('tail', end - this.head);
    this.set('len', this.packet.length);
    this.set('data_len', this.packet.length - this.packet.linear);
    const cb = structs.offset('sk_buff', 'cb');
    const dataEnd = structs.offset('bpf_skb_data_end', 'data_end');
    const dataMeta = structs.offset('bpf_skb_data_end', 'data_meta');
    if (cb < 0 || dataEnd < 0) return;
    memory.space.setPointer(this.address + cb + dataEnd, end);
    memory.space.setPointer(this.address + cb + dataMeta, this.packet.data);
  }

  private addressSocket(type: number, length: number): number {
    const { memory, structs } = this.call.kernel;
    const at = this.packet.data;
    if (type === IPV4) {
      if (length < 20) return -EINVAL;
      structs.set('sock_common', this.socket, 'skc_family', 2);
      structs.set('sock_common', this.socket, 'skc_rcv_saddr', memory.view.getUint32(at + 12, true));
      structs.set('sock_common', this.socket, 'skc_daddr', memory.view.getUint32(at + 16, true));
    } else if (type === IPV6) {
      if (length < 40) return -EINVAL;
      structs.set('sock_common', this.socket, 'skc_family', 10);
      for (const [member, from] of [['skc_v6_rcv_saddr', 8], ['skc_v6_daddr', 24]] as const) {
        const offset = structs.offset('sock_common', member);
        if (offset >= 0) memory.u8.copyWithin(this.socket + offset, at + from, at + from + 16);
      }
    }
    return 0;
  }

  /** `convert___skb_to_skb` */
  private takeContext(ctx: Uint8Array | undefined): number {
    const { structs, memory } = this.call.kernel;
    const cb = structs.offset('sk_buff', 'cb') + Math.max(structs.offset('qdisc_skb_cb', 'data'), 0);
    if (ctx === undefined) return 0;
    let at = 0;
    for (const [start, end] of CTX_ALLOWED) {
      if (!isZero(ctx, at, start)) return -EINVAL;
      at = end;
    }
    if (!isZero(ctx, at, SKB_CTX)) return -EINVAL;
    const view = new DataView(ctx.buffer);
    this.set('mark', view.getUint32(CTX.mark, true));
    this.set('priority', view.getUint32(CTX.priority, true));
    this.set('skb_iif', view.getUint32(CTX.ingress, true));
    this.set('tstamp', view.getBigUint64(CTX.tstamp, true));
    if (cb >= 0) memory.space.setBytes(this.address + cb, ctx.slice(CTX.cb, CTX.cb + 20));
    const wire = view.getUint32(CTX.wireLength, true);
    if (wire !== 0 && (wire < this.packet.length || wire > 65536)) return -EINVAL;
    if (view.getUint32(CTX.segments, true) > 65535) return -EINVAL;
    return 0;
  }

  /** Results after the run: the packet with a (zeroed) Ethernet header in front where the program saw none. */
  complete(program: BPFProgram, ctx: Uint8Array | undefined, retval: number): number {
    const { memory, structs } = this.call.kernel;
    let data = memory.space.getBytes(this.packet.data, this.packet.length);
    if (!L2_TYPES.has(program.type)) {
      const whole = new Uint8Array(data.length + ETH_HLEN);
      whole.set(data, ETH_HLEN);
      data = whole;
    }
    if (ctx !== undefined) {
      const view = new DataView(ctx.buffer);
      const read = (member: string): number => Number(structs.get('sk_buff', this.address, member) & 0xffffffffn);
      view.setUint32(CTX.mark, read('mark'), true);
      view.setUint32(CTX.priority, read('priority'), true);
      view.setUint32(CTX.ingress, read('skb_iif'), true);
      view.setUint32(CTX.ifindex, LOOPBACK, true);
      view.setBigUint64(CTX.tstamp, structs.get('sk_buff', this.address, 'tstamp'), true);
      const cb = structs.offset('sk_buff', 'cb') + Math.max(structs.offset('qdisc_skb_cb', 'data'), 0);
      if (cb >= 0) ctx.set(memory.space.getBytes(this.address + cb, 20), CTX.cb);
      if (view.getUint32(CTX.wireLength, true) === 0) view.setUint32(CTX.wireLength, this.packet.length, true);
    }
    const result = finish(this.call, data, data.length, retval);
    return result !== 0 ? result : closeContext(this.call, ctx);
  }
}

/** `eth_type_trans`: broadcast 1, multicast 2, to the loopback device's own address (zeros) 0, to others 3. */
function packetType(destination: Uint8Array): number {
  if (destination.every((byte) => byte === 0xff)) return 1;
  if (((destination[0] ?? 0) & 1) !== 0) return 2;
  return destination.every((byte) => byte === 0) ? 0 : 3;
}

// ---------------------------------------------------------------- XDP

export function runXDP(call: Call, program: BPFProgram): number {
  const flags = call.u32(A.flags);
  if (program.expectedAttachType === U.BPF_XDP_DEVMAP || program.expectedAttachType === U.BPF_XDP_CPUMAP) return -EINVAL;
  if ((flags & ~BPF_F_TEST_XDP_LIVE_FRAMES) !== 0 || program.isDeviceBound) return -EINVAL;
  const isLive = (flags & BPF_F_TEST_XDP_LIVE_FRAMES) !== 0;
  const batch = call.u32(A.batch_size);
  if (isLive && batch > 256) return -E2BIG;
  if (!isLive && batch !== 0) return -EINVAL;
  const ctx = openContext(call, XDP_CTX);
  if (typeof ctx === 'number') return ctx;
  const size = call.u32(A.data_size_in);
  let headroom = XDP_HEADROOM;
  let linear = size;
  let meta = 0;
  const view = ctx === undefined ? undefined : new DataView(ctx.buffer);
  if (view !== undefined) {
    const data = view.getUint32(0, true);
    const end = view.getUint32(4, true);
    if (view.getUint32(8, true) !== 0 || end > size || data > end) return -EINVAL;
    if (isLive && (!isNull(call.userPointer(A.data_out)) || !isNull(call.userPointer(A.ctx_out)))) return -EINVAL;
    meta = data;
    if ((meta & 3) !== 0 || meta > 252 || meta > headroom - XDP_FRAME) return -EINVAL;
    headroom -= meta;
    linear = end;
  }
  linear = Math.min(linear, PAGE - headroom - SHARED_INFO);
  if ((size - meta) >>> 0 < ETH_HLEN) return -EINVAL;
  if (Math.ceil((size - linear) / PAGE) > MAX_FRAGMENTS) return -ENOMEM;
  const { memory, structs } = call.kernel;
  const input = memory.copyFrom(call.userPointer(A.data_in), size);
  if (input === undefined) return -EFAULT;
  if (view !== undefined) {
    if (view.getUint32(20, true) !== 0) return -EINVAL;
    const ifindex = view.getUint32(12, true);
    if (ifindex === 0 && view.getUint32(16, true) !== 0) return -EINVAL;
    if (ifindex > LOOPBACK) return -ENODEV;
    if (view.getUint32(16, true) !== 0) return -EINVAL;
  }
  const blocks = new Blocks(memory);
  try {
    const hard = blocks.own(memory.alloc(Math.max(PAGE, headroom + size + SHARED_INFO), 'packet', 64));
    memory.space.setBytes(hard + headroom, input);
    const device = blocks.own(structs.allocate('net_device', 64));
    const queue = blocks.own(structs.allocate('xdp_rxq_info', 64));
    const buffer = blocks.own(structs.allocate('xdp_buff', 64));
    structs.set('net_device', device, 'ifindex', LOOPBACK);
    structs.point('xdp_rxq_info', queue, 'dev', device);
    const point = (member: string, target: number): void => structs.point('xdp_buff', buffer, member, target);
    point('data_hard_start', hard);
    point('data_meta', hard + headroom);
    point('data', hard + headroom + meta);
    point('data_end', hard + headroom + linear);
    point('rxq', queue);
    structs.set('xdp_buff', buffer, 'frame_sz', PAGE);
    const packet: PacketBuffer = {
      kind: 'xdp', data: hard + headroom + meta, length: size - meta, linear: linear - meta, network: ETH_HLEN, link: 0, address: buffer,
      // A frame is one page: `bpf_xdp_adjust_*` stay inside it or refuse.
      reserve: () => false, sync: () => undefined,
    };
    const retval = runTimes(call, program, buffer, packet);
    const start = Number(structs.get('xdp_buff', buffer, 'data_meta') & 0xffffffffn);
    const data = Number(structs.get('xdp_buff', buffer, 'data') & 0xffffffffn);
    const end = Number(structs.get('xdp_buff', buffer, 'data_end') & 0xffffffffn);
    if (view !== undefined) {
      view.setUint32(0, data - start, true);
      view.setUint32(4, end - start, true);
    }
    const rest = size - linear;
    const out = new Uint8Array(end - start + rest);
    out.set(memory.space.getBytes(start, end - start));
    if (rest > 0) out.set(input.subarray(linear), end - start);
    const result = finish(call, out, out.length, isLive ? 0 : retval);
    return result !== 0 ? result : closeContext(call, ctx);
  } finally {
    blocks.free();
  }
}

// ---------------------------------------------------------------- others

/** A packet that programs only read. */
function fixedPacket(data: number, size: number, address: number): PacketBuffer {
  return { kind: 'other', data, length: size, linear: size, network: 0, link: 0, address, reserve: () => false, sync: () => undefined };
}

function takesNoTarget(call: Call): boolean {
  return call.u32(A.flags) === 0 && call.u32(A.cpu) === 0 && call.u32(A.batch_size) === 0;
}

export function runFlowDissector(call: Call, program: BPFProgram): number {
  if (!takesNoTarget(call)) return -EINVAL;
  const size = call.u32(A.data_size_in);
  if (size < ETH_HLEN || size > PAGE) return -EINVAL;
  const { memory, structs } = call.kernel;
  const input = memory.copyFrom(call.userPointer(A.data_in), size);
  if (input === undefined) return -EFAULT;
  const ctx = openContext(call, FLOW_KEYS);
  if (typeof ctx === 'number') return ctx;
  const flagsAt = 48;
  if (ctx !== undefined && (!isZero(ctx, 0, flagsAt) || !isZero(ctx, flagsAt + 4, FLOW_KEYS))) return -EINVAL;
  const blocks = new Blocks(memory);
  try {
    const data = blocks.own(memory.alloc(size, 'packet'));
    const keys = blocks.own(memory.alloc(FLOW_KEYS, 'flow keys'));
    const block = blocks.own(structs.allocate('bpf_flow_dissector', 48));
    memory.space.setBytes(data, input);
    const view = memory.view;
    view.setUint16(keys, ETH_HLEN, true);
    view.setUint16(keys + 2, ETH_HLEN, true);
    view.setUint16(keys + 8, view.getUint16(data + 12, true), true);
    if (ctx !== undefined) view.setUint32(keys + flagsAt, new DataView(ctx.buffer).getUint32(flagsAt, true), true);
    structs.point('bpf_flow_dissector', block, 'flow_keys', keys);
    structs.point('bpf_flow_dissector', block, 'data', data);
    structs.point('bpf_flow_dissector', block, 'data_end', data + size);
    const retval = runTimes(call, program, block, fixedPacket(data, size, block));
    // bpf_flow_dissect keeps the offsets inside the packet.
    const clamp = (offset: number, least: number): number => Math.min(Math.max(offset, least), size);
    view.setUint16(keys, clamp(view.getUint16(keys, true), ETH_HLEN), true);
    view.setUint16(keys + 2, clamp(view.getUint16(keys + 2, true), view.getUint16(keys, true)), true);
    const result = finish(call, memory.space.getBytes(keys, FLOW_KEYS), FLOW_KEYS, retval);
    return result !== 0 ? result : closeContext(call, ctx);
  } finally {
    blocks.free();
  }
}

export function runSKLookup(call: Call, program: BPFProgram): number {
  if (!takesNoTarget(call)) return -EINVAL;
  const isSet = (field: Field): boolean => call.attr.getUint32(field.offset, true) !== 0 || (field.size === 8 && call.attr.getUint32(field.offset + 4, true) !== 0);
  if ([A.data_in, A.data_size_in, A.data_out, A.data_size_out].some(isSet)) return -EINVAL;
  const ctx = openContext(call, SK_LOOKUP_CTX);
  if (typeof ctx === 'number') return ctx;
  if (ctx === undefined) return -EINVAL;
  const view = new DataView(ctx.buffer);
  if (view.getBigUint64(0, true) !== 0n || !isZero(ctx, 64, SK_LOOKUP_CTX)) return -EINVAL;
  if (view.getUint32(60, true) > 0xffff) return -ERANGE;
  const family = view.getUint16(8, true);
  if (family !== 2 && family !== 10) return -EAFNOSUPPORT;
  const { memory, structs } = call.kernel;
  const blocks = new Blocks(memory);
  try {
    const block = blocks.own(structs.allocate('bpf_sk_lookup_kern', 64));
    const addresses = blocks.own(memory.alloc(32, 'addresses'));
    structs.set('bpf_sk_lookup_kern', block, 'family', family);
    structs.set('bpf_sk_lookup_kern', block, 'protocol', view.getUint16(12, true));
    structs.set('bpf_sk_lookup_kern', block, 'dport', view.getUint16(60, true));
    structs.set('bpf_sk_lookup_kern', block, 'sport', view.getUint16(36, true));
    memory.space.setBytes(addresses, ctx.slice(20, 36));
    memory.space.setBytes(addresses + 16, ctx.slice(44, 60));
    const retval = runTimes(call, program, block, undefined);
    const result = finish(call, undefined, 0, retval);
    return result !== 0 ? result : closeContext(call, ctx);
  } finally {
    blocks.free();
  }
}

export function runNetfilter(call: Call, program: BPFProgram): number {
  if (!takesNoTarget(call)) return -EINVAL;
  const size = call.u32(A.data_size_in);
  if (size < 20 || size > PAGE - SKB_HEADROOM - SHARED_INFO) return -EINVAL;
  const { memory, structs } = call.kernel;
  const input = memory.copyFrom(call.userPointer(A.data_in), size);
  if (input === undefined) return -EFAULT;
  const ctx = openContext(call, NF_CTX);
  if (typeof ctx === 'number') return ctx;
  let family = 2;
  let hook = 3;
  if (ctx !== undefined) {
    hook = ctx[0] ?? 0;
    family = ctx[1] ?? 0;
    if (!isZero(ctx, 8, 48) || (family !== 2 && family !== 10)) return -EINVAL;
  }
  let start = 0;
  if (hook !== 3) {
    if (size < ETH_HLEN + 20) return -EINVAL;
    const type = ((input[12] ?? 0) << 8) | (input[13] ?? 0);
    if (type !== IPV4 && type !== IPV6) return -EPROTO;
    if (type === IPV6 && size < ETH_HLEN + 40) return -EINVAL;
    if ((type === IPV4) !== (family === 2)) return -EINVAL;
    start = ETH_HLEN;
  }
  const blocks = new Blocks(memory);
  try {
    const head = blocks.own(memory.alloc(SKB_HEADROOM + size + SHARED_INFO, 'packet', 64));
    const skb = blocks.own(structs.allocate('sk_buff', 256)), state = blocks.own(structs.allocate('nf_hook_state', 64));
    const block = blocks.own(structs.allocate('bpf_nf_ctx', 16)), device = blocks.own(structs.allocate('net_device', 64));
    memory.space.setBytes(head + SKB_HEADROOM, input);
    structs.point('sk_buff', skb, 'head', head);
    structs.point('sk_buff', skb, 'data', head + SKB_HEADROOM + start);
    structs.set('sk_buff', skb, 'len', size - start);
    structs.set('sk_buff', skb, 'protocol', family === 2 ? 0x0008 : 0xdd86);
    structs.set('nf_hook_state', state, 'hook', hook);
    structs.set('nf_hook_state', state, 'pf', family);
    structs.set('net_device', device, 'ifindex', LOOPBACK);
    if (hook === 0 || hook === 1 || hook === 2) structs.point('nf_hook_state', state, 'in', device);
    if (hook === 2 || hook === 4 || (hook === 3 && ctx !== undefined)) structs.point('nf_hook_state', state, 'out', device);
    structs.point('bpf_nf_ctx', block, 'state', state);
    structs.point('bpf_nf_ctx', block, 'skb', skb);
    return finish(call, undefined, 0, runTimes(call, program, block, fixedPacket(head + SKB_HEADROOM + start, size - start, block)));
  } finally {
    blocks.free();
  }
}
