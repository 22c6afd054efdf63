/**
 * @module kernel/helpers/packet
 * Helpers on packets: reads and writes of bytes, room at both ends, VLAN tags, checksums, XDP adjustments, events, redirection,
 * socket look-ups. The instance has a loopback device and no sockets besides the one of a test run: look-ups find nothing.
 * Reproduces net/core/filter.c and the VLAN part of net/core/skbuff.c.
 */
import { E2BIG, EACCES, EFAULT, EINVAL, ENOENT, ENOMEM } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import type { HelperCall, HelperFunction } from '../../vm/types.ts';
import type { PacketBuffer, RunContext } from '../run.ts';
import type { KernelState } from '../state.ts';
import { high, low, pointer, setNumber, setWords } from './arguments.ts';
import type { HelperEntry } from './table.ts';

const ETH_HLEN = 14;
const VLAN_HLEN = 4;
const ADDRESSES = 12;
/** `SKB_MAX_ALLOC` on x86-64. */
const MAX_LENGTH = 16064;
const XDP_FRAME = 40;
const SHARED_INFO = 320;
const ETH_P_8021Q = 0x8100;
const ETH_P_8021AD = 0x88a8;
const PACKET_OTHERHOST = 3;
const TC_ACT_SHOT = 2;
const TC_ACT_REDIRECT = 7;
const XDP_REDIRECT = 4;

/** The run's packet; the verifier admits these helpers only where there is one. */
function packetOf(call: HelperCall): PacketBuffer {
  const { packet } = call.context as RunContext;
  return packet ?? call.fault('helper');
}

/** `offset > INT_MAX` for an unsigned 32-bit argument. */
function isHuge(call: HelperCall, n: number): boolean {
  return low(call, n) < 0;
}

/** Makes the first `length` bytes linear (`bpf_try_make_writable`); false where the packet is shorter. */
function pull(packet: PacketBuffer, length: number): boolean {
  if (length > packet.length) return false;
  if (length > packet.linear) packet.linear = length;
  packet.sync();
  return true;
}

// ---------------------------------------------------------------- bytes

function loadBytes(kernel: KernelState): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const to = pointer(call, 3);
    const size = call.u32(4);
    const offset = call.u32(2);
    const { u8 } = kernel.memory;
    if (isHuge(call, 2) || offset + size > packet.length) {
      u8.fill(0, to, to + size);
      return call.setResult(-EFAULT);
    }
    u8.copyWithin(to, packet.data + offset, packet.data + offset + size);
    call.setResult(0);
  };
}

function loadRelative(kernel: KernelState): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const to = pointer(call, 3);
    const size = call.u32(4);
    const start = low(call, 5) === 0 ? packet.link : packet.network;
    const from = packet.data + start + call.u32(2);
    const { u8 } = kernel.memory;
    if (call.u32(2) > 0xffff || low(call, 5) < 0 || low(call, 5) > 1 || from + size > packet.data + packet.linear) {
      u8.fill(0, to, to + size);
      return call.setResult(-EFAULT);
    }
    u8.copyWithin(to, from, from + size);
    call.setResult(0);
  };
}

function storeBytes(kernel: KernelState): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const offset = call.u32(2);
    const size = call.u32(4);
    if ((low(call, 5) & ~3) !== 0 || high(call, 5) !== 0) return call.setResult(-EINVAL);
    if (isHuge(call, 2) || !pull(packet, offset + size)) return call.setResult(-EFAULT);
    const from = pointer(call, 3);
    kernel.memory.u8.copyWithin(packet.data + offset, from, from + size);
    call.setResult(0);
  };
}

// ---------------------------------------------------------------- room

function changeTail(kernel: KernelState): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const length = call.u32(2);
    if (low(call, 3) !== 0 || high(call, 3) !== 0 || length > MAX_LENGTH || length < Math.max(packet.network, 0)) return call.setResult(-EINVAL);
    const before = packet.length;
    if (length > before) {
      if (!packet.reserve(0, length - before)) return call.setResult(-ENOMEM);
      kernel.memory.u8.fill(0, packet.data + before, packet.data + length);
    }
    packet.length = length;
    packet.linear = length;
    packet.sync();
    call.setResult(0);
  };
}

/** `skb_push` with room, zeroed. */
function push(kernel: KernelState, packet: PacketBuffer, count: number): boolean {
  if (!packet.reserve(count, 0)) return false;
  packet.data -= count;
  packet.length += count;
  packet.linear += count;
  packet.network += count;
  packet.link += count;
  kernel.memory.u8.fill(0, packet.data, packet.data + count);
  return true;
}

/** The link-layer header begins where the data does. */
function resetLink(kernel: KernelState, packet: PacketBuffer): void {
  const { structs } = kernel;
  const head = Number(structs.get('sk_buff', packet.address, 'head') & 0xffffffffn);
  packet.link = 0;
  structs.set('sk_buff', packet.address, 'mac_header', packet.data - head);
  structs.set('sk_buff', packet.address, 'mac_len', packet.network);
}

function changeHead(kernel: KernelState): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const room = low(call, 2);
    if (low(call, 3) !== 0 || high(call, 3) !== 0 || room < 0 || packet.length + room > MAX_LENGTH) return call.setResult(-EINVAL);
    if (!push(kernel, packet, room)) return call.setResult(-ENOMEM);
    resetLink(kernel, packet);
    packet.sync();
    call.setResult(0);
  };
}

// ---------------------------------------------------------------- VLAN

function swap16(value: number): number {
  return ((value & 0xff) << 8) | ((value >> 8) & 0xff);
}

function isVLAN(protocol: number): boolean {
  return protocol === ETH_P_8021Q || protocol === ETH_P_8021AD;
}

function readSKB(kernel: KernelState, packet: PacketBuffer, member: string): number {
  return Number(kernel.structs.get('sk_buff', packet.address, member));
}

/** Keeps a tag beside the packet (`__vlan_hwaccel_put_tag`); protocols in host order. */
function putTag(kernel: KernelState, packet: PacketBuffer, protocol: number, tci: number): void {
  kernel.structs.set('sk_buff', packet.address, 'vlan_proto', swap16(protocol));
  kernel.structs.set('sk_buff', packet.address, 'vlan_tci', tci);
}

function vlanPush(kernel: KernelState): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const asked = swap16(call.u32(2));
    const protocol = isVLAN(asked) ? asked : ETH_P_8021Q;
    if (readSKB(kernel, packet, 'vlan_all') !== 0) {
      if (packet.link !== 0) return call.setResult(-EINVAL);
      const inner = swap16(readSKB(kernel, packet, 'vlan_proto'));
      if (!push(kernel, packet, VLAN_HLEN)) return call.setResult(-ENOMEM);
      const { u8, view } = kernel.memory;
      u8.copyWithin(packet.data, packet.data + VLAN_HLEN, packet.data + VLAN_HLEN + ADDRESSES);
      view.setUint16(packet.data + ADDRESSES, inner);
      view.setUint16(packet.data + ADDRESSES + 2, readSKB(kernel, packet, 'vlan_tci'));
      kernel.structs.set('sk_buff', packet.address, 'protocol', swap16(inner));
      resetLink(kernel, packet);
    }
    putTag(kernel, packet, protocol, call.u32(3) & 0xffff);
    packet.sync();
    call.setResult(0);
  };
}

/** Takes the outer tag out of the data (`__skb_vlan_pop`): its control word, or `undefined` where the packet is too short. */
function takeTag(kernel: KernelState, packet: PacketBuffer): number | undefined {
  if (!pull(packet, ETH_HLEN + VLAN_HLEN)) return undefined;
  const { u8, view } = kernel.memory;
  const tci = view.getUint16(packet.data + ETH_HLEN);
  const inner = view.getUint16(packet.data + ETH_HLEN + 2);
  kernel.structs.set('sk_buff', packet.address, 'protocol', swap16(inner >= 0x600 ? inner : 4));
  u8.copyWithin(packet.data + VLAN_HLEN, packet.data, packet.data + ADDRESSES);
  packet.data += VLAN_HLEN;
  packet.length -= VLAN_HLEN;
  packet.linear -= VLAN_HLEN;
  packet.network = Math.max(packet.network - VLAN_HLEN, ETH_HLEN);
  resetLink(kernel, packet);
  return tci;
}

function vlanPop(kernel: KernelState): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const protocol = (): number => swap16(readSKB(kernel, packet, 'protocol'));
    if (readSKB(kernel, packet, 'vlan_all') !== 0) kernel.structs.set('sk_buff', packet.address, 'vlan_all', 0);
    else {
      if (!isVLAN(protocol())) return call.setResult(0);
      if (takeTag(kernel, packet) === undefined) return call.setResult(-ENOMEM);
    }
    const next = protocol();
    if (isVLAN(next)) {
      const tci = takeTag(kernel, packet);
      if (tci === undefined) return call.setResult(-ENOMEM);
      putTag(kernel, packet, next, tci);
    }
    packet.sync();
    call.setResult(0);
  };
}

// ---------------------------------------------------------------- checksums

/** One's complement sum of little-endian 32-bit words and what is left, folded to 32 bits. */
function sum(kernel: KernelState, at: number, size: number, seed: number): number {
  const { view, u8 } = kernel.memory;
  let total = seed >>> 0;
  let i = 0;
  for (; i + 4 <= size; i += 4) total += view.getUint32(at + i, true);
  for (let shift = 0; i < size; i++, shift += 8) total += ((u8[at + i] ?? 0) << shift) >>> 0;
  while (total >= 0x100000000) total = (total % 0x100000000) + Math.floor(total / 0x100000000);
  return total;
}

function fold(value: number): number {
  let folded = value >>> 0;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

function checksumDifference(kernel: KernelState): HelperFunction {
  return (call) => {
    const fromSize = call.u32(2);
    const toSize = call.u32(4);
    const seed = call.u32(5);
    const from = (start: number): number => sum(kernel, pointer(call, 1), fromSize, start);
    let result = seed;
    if (fromSize !== 0 && toSize !== 0) {
      const total = sum(kernel, pointer(call, 3), toSize, seed) + ((~from(0)) >>> 0);
      result = (total % 0x100000000) + Math.floor(total / 0x100000000);
    } else if (toSize !== 0) result = sum(kernel, pointer(call, 3), toSize, seed);
    else if (fromSize !== 0) result = (~from((~seed) >>> 0)) >>> 0;
    setNumber(call, fold(result));
  };
}

// ---------------------------------------------------------------- XDP

/** A pointer member of the run's `xdp_buff`, as offset. */
function xdp(kernel: KernelState, packet: PacketBuffer, member: string): number {
  return Number(kernel.structs.get('xdp_buff', packet.address, member) & 0xffffffffn);
}

function xdpSet(kernel: KernelState, packet: PacketBuffer, member: string, value: number): void {
  kernel.structs.point('xdp_buff', packet.address, member, value);
}

function adjustHead(kernel: KernelState): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const by = low(call, 2);
    const meta = xdp(kernel, packet, 'data_meta');
    const data = xdp(kernel, packet, 'data');
    // data_meta above data says that the driver has no metadata.
    const metaLength = meta > data ? 0 : data - meta;
    const target = data + by;
    const least = xdp(kernel, packet, 'data_hard_start') + XDP_FRAME + metaLength;
    if (target < least || target > xdp(kernel, packet, 'data_end') - ETH_HLEN) return call.setResult(-EINVAL);
    if (metaLength > 0) kernel.memory.u8.copyWithin(meta + by, meta, meta + metaLength);
    xdpSet(kernel, packet, 'data_meta', meta + by);
    xdpSet(kernel, packet, 'data', target);
    packet.data = target;
    packet.length -= by;
    packet.linear -= by;
    call.setResult(0);
  };
}

function adjustTail(kernel: KernelState): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const by = low(call, 2);
    const end = xdp(kernel, packet, 'data_end');
    if (packet.length !== packet.linear) {
      (call.context as RunContext).notes.push('bpf_xdp_adjust_tail on a packet in fragments is not available');
      return call.fault('helper');
    }
    const frame = readFrameSize(kernel, packet);
    const hardEnd = xdp(kernel, packet, 'data_hard_start') + frame - SHARED_INFO;
    if (end + by > hardEnd || end + by < packet.data + ETH_HLEN) return call.setResult(-EINVAL);
    if (by > 0) kernel.memory.u8.fill(0, end, end + by);
    xdpSet(kernel, packet, 'data_end', end + by);
    packet.length += by;
    packet.linear += by;
    call.setResult(0);
  };
}

function readFrameSize(kernel: KernelState, packet: PacketBuffer): number {
  return Number(kernel.structs.get('xdp_buff', packet.address, 'frame_sz'));
}

function adjustMeta(kernel: KernelState): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const meta = xdp(kernel, packet, 'data_meta') + low(call, 2);
    if (meta < xdp(kernel, packet, 'data_hard_start') + XDP_FRAME || meta > packet.data) return call.setResult(-EINVAL);
    const length = packet.data - meta;
    if ((length & 3) !== 0 || length > 252) return call.setResult(-EACCES);
    xdpSet(kernel, packet, 'data_meta', meta);
    call.setResult(0);
  };
}

/** `bpf_xdp_load_bytes`, `bpf_xdp_store_bytes`: offset, buffer, length. */
function xdpBytes(kernel: KernelState, isStore: boolean): HelperFunction {
  return (call) => {
    const packet = packetOf(call);
    const offset = call.u32(2);
    const size = call.u32(4);
    if (offset > 0xffff || size > 0xffff) return call.setResult(-EFAULT);
    if (offset + size > packet.length) return call.setResult(-EINVAL);
    const buffer = pointer(call, 3);
    const at = packet.data + offset;
    if (isStore) kernel.memory.u8.copyWithin(at, buffer, buffer + size);
    else kernel.memory.u8.copyWithin(buffer, at, at + size);
    call.setResult(0);
  };
}

// ---------------------------------------------------------------- events, redirection, sockets

/** The instance has no perf events that an array could hold: what is in range is empty. */
function eventOutput(kernel: KernelState): HelperFunction {
  return (call) => {
    const { packet } = call.context as RunContext;
    const isPacket = packet !== undefined && packet.kind !== 'other';
    const contextSize = high(call, 3) >>> 0;
    if (isPacket ? contextSize > 0xfffff : contextSize !== 0) return call.setResult(-EINVAL);
    if (isPacket && contextSize > packet.length) return call.setResult(-EFAULT);
    const asked = call.u32(3);
    const index = asked === 0xffffffff ? kernel.currentCPU : asked;
    const map = kernel.mapAt(pointer(call, 2));
    call.setResult(map === undefined || index >= map.maxEntries ? -E2BIG : -ENOENT);
  };
}

function redirect(call: HelperCall): void {
  const { packet } = call.context as RunContext;
  if (packet?.kind === 'xdp') return setNumber(call, low(call, 2) !== 0 || high(call, 2) !== 0 ? 0 : XDP_REDIRECT);
  setNumber(call, (low(call, 2) & ~1) !== 0 || high(call, 2) !== 0 ? TC_ACT_SHOT : TC_ACT_REDIRECT);
}

const nothing: HelperFunction = (call) => call.setPointer(0);

export function packetHelpers(kernel: KernelState): HelperEntry[] {
  const packetType: HelperFunction = (call) => {
    const packet = packetOf(call);
    const type = call.u32(2);
    if (readSKB(kernel, packet, 'pkt_type') > PACKET_OTHERHOST || type > PACKET_OTHERHOST) return call.setResult(-EINVAL);
    kernel.structs.set('sk_buff', packet.address, 'pkt_type', type);
    call.setResult(0);
  };
  const pullData: HelperFunction = (call) => {
    const packet = packetOf(call);
    call.setResult(pull(packet, call.u32(2) === 0 ? packet.linear : call.u32(2)) ? 0 : -ENOMEM);
  };
  return [
    [U.BPF_FUNC_skb_load_bytes, loadBytes(kernel)], [U.BPF_FUNC_skb_load_bytes_relative, loadRelative(kernel)],
    [U.BPF_FUNC_skb_store_bytes, storeBytes(kernel)], [U.BPF_FUNC_skb_pull_data, pullData],
    [U.BPF_FUNC_skb_change_tail, changeTail(kernel)], [U.BPF_FUNC_skb_change_head, changeHead(kernel)],
    [U.BPF_FUNC_skb_change_type, packetType],
    [U.BPF_FUNC_skb_vlan_push, vlanPush(kernel)], [U.BPF_FUNC_skb_vlan_pop, vlanPop(kernel)],
    [U.BPF_FUNC_csum_diff, checksumDifference(kernel)],
    [U.BPF_FUNC_xdp_adjust_head, adjustHead(kernel)], [U.BPF_FUNC_xdp_adjust_tail, adjustTail(kernel)],
    [U.BPF_FUNC_xdp_adjust_meta, adjustMeta(kernel)],
    [U.BPF_FUNC_xdp_load_bytes, xdpBytes(kernel, false)], [U.BPF_FUNC_xdp_store_bytes, xdpBytes(kernel, true)],
    [U.BPF_FUNC_xdp_get_buff_len, (call) => setNumber(call, packetOf(call).length)],
    [U.BPF_FUNC_perf_event_output, eventOutput(kernel)], [U.BPF_FUNC_skb_output, eventOutput(kernel)],
    [U.BPF_FUNC_xdp_output, eventOutput(kernel)],
    [U.BPF_FUNC_redirect, redirect],
    [U.BPF_FUNC_sk_lookup_tcp, nothing], [U.BPF_FUNC_sk_lookup_udp, nothing], [U.BPF_FUNC_skc_lookup_tcp, nothing],
    [U.BPF_FUNC_get_listener_sock, nothing], [U.BPF_FUNC_tcp_sock, nothing],
    [U.BPF_FUNC_skc_to_tcp_sock, nothing], [U.BPF_FUNC_skc_to_tcp6_sock, nothing], [U.BPF_FUNC_skc_to_udp6_sock, nothing],
    [U.BPF_FUNC_skc_to_tcp_timewait_sock, nothing], [U.BPF_FUNC_skc_to_tcp_request_sock, nothing],
    [U.BPF_FUNC_sk_fullsock, (call) => setWords(call, low(call, 1), high(call, 1))],
    [U.BPF_FUNC_sk_release, (call) => call.setResult(0)],
  ];
}
