/**
 * @module kernel/syscall/kprobe-multi
 * Links to several kernel functions by their names. The instance has no code to instrument: a link exists and is listed, nothing triggers it.
 * Reproduces `bpf_kprobe_multi_link_attach` and `copy_user_syms` of `kernel/trace/bpf_trace.c` and what they ask of ftrace; functions by
 * address are refused by name, since addresses here are made up.
 */
import { LINK_CREATE_ATTR } from '../../isa/attr.ts';
import { E2BIG, EFAULT, EINVAL, EOPNOTSUPP, ESRCH } from '../../isa/errno.ts';
import { latin1 } from '../../isa/latin1.ts';
import * as U from '../../isa/uapi.ts';
import type { MultiTarget } from '../link.ts';
import { userPointer } from '../memory.ts';
import type { BPFProgram } from '../program.ts';
import type { Call } from './call.ts';

const MAX_COUNT = 1 << 20;
/** `KSYM_NAME_LEN` */
const NAME_ROOM = 512;

/** The functions that a link names, or `-errno`. */
export function kprobeMultiTarget(call: Call, program: BPFProgram): MultiTarget | number {
  const { kernel } = call;
  const A = LINK_CREATE_ATTR;
  if (call.u32(A.flags) !== 0) return -EINVAL;
  const attachType = program.expectedAttachType;
  if ((attachType !== U.BPF_TRACE_KPROBE_MULTI && attachType !== U.BPF_TRACE_KPROBE_SESSION) || program.sleepable) return -EINVAL;
  const flags = call.u32(A['kprobe_multi.flags']);
  if ((flags & ~U.BPF_F_KPROBE_MULTI_RETURN) !== 0) return -EINVAL;
  const [hasAddresses, hasNames] = [call.u64(A['kprobe_multi.addrs']) !== 0n, call.u64(A['kprobe_multi.syms']) !== 0n];
  if (hasAddresses === hasNames) return -EINVAL;
  const count = call.u32(A['kprobe_multi.cnt']);
  if (count === 0) return -EINVAL;
  if (count > MAX_COUNT) return -E2BIG;
  const cookies = call.u64(A['kprobe_multi.cookies']) === 0n ? new Uint8Array(8 * count) : kernel.memory.copyFrom(call.userPointer(A['kprobe_multi.cookies']), 8 * count);
  if (cookies === undefined) return -EFAULT;
  const list = kernel.memory.copyFrom(call.userPointer(hasNames ? A['kprobe_multi.syms'] : A['kprobe_multi.addrs']), 8 * count);
  if (list === undefined) return -EFAULT;
  if (hasAddresses) return -EOPNOTSUPP;
  const addresses = addressesOf(call, new DataView(list.buffer, list.byteOffset), count);
  if (typeof addresses === 'number') return addresses;
  const view = new DataView(cookies.buffer, cookies.byteOffset);
  const targets = addresses.map((address, i) => ({ address, cookie: view.getBigUint64(8 * i, true) }));
  return { flags, targets: targets.toSorted((a, b) => (a.address < b.address ? -1 : 1)) };
}

/** A function that is named twice is found once, and then not all are found. */
function addressesOf(call: Call, list: DataView, count: number): bigint[] | number {
  const addresses = new Set<bigint>();
  const names: string[] = [];
  for (let i = 0; i < count; i++) {
    const address = list.getBigUint64(8 * i, true);
    const bytes = address >> 47n === 0n ? call.kernel.memory.readString(userPointer(Number(address)), NAME_ROOM) : undefined;
    if (bytes === undefined) return -EFAULT;
    if (bytes.length >= NAME_ROOM) return -E2BIG;
    names.push(latin1(bytes));
  }
  for (const name of names) {
    const found = (call.kernel.kernelBTF()?.findByNameKind(name, U.BTF_KIND_FUNC) ?? 0) > 0 ? call.kernel.symbols.lookup(name) : undefined;
    if (found === undefined) return -ESRCH;
    addresses.add((BigInt(found[1] >>> 0) << 32n) | BigInt(found[0] >>> 0));
  }
  return addresses.size < count ? -ESRCH : [...addresses];
}
