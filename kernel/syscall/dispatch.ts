/**
 * @module kernel/syscall/dispatch
 * The border of `bpf(2)`: sizes and tails, the copy of `union bpf_attr`, common attributes, the LSM's say, then the command.
 * Reproduces `__sys_bpf` and `bpf_sys_bpf` (kernel/bpf/syscall.c).
 */
import { ATTR_SIZE, COMMON_ATTR_END, COMMON_ATTR_SIZE, commandName, decodeArguments, type FieldValue } from '../../isa/attr.ts';
import { EFAULT, EINVAL, ENOMEM } from '../../isa/errno.ts';
import { within, type Phase } from '../../isa/phases.ts';
import * as U from '../../isa/uapi.ts';
import { OutOfMemoryError } from '../../vm/address-space.ts';
import { KernelOutOfMemory, type BPFPtr } from '../memory.ts';
import type { KernelState } from '../state.ts';
import { batch } from './batch.ts';
import { loadBTF } from './btf-load.ts';
import { Call, type CommonAttributes, leaveBlock, takeBlock } from './call.ts';
import { deleteElement, freezeMap, lookupAndDeleteElement, lookupElement, nextKey, updateElement } from './elements.ts';
import {
  assocStructOps, bindMap, btfFDByID, createToken, enableStats, linkFDByID, mapFDByID, nextID, programFDByID, queryTaskFD, readStream,
} from './ids.ts';
import { checkTail, objectInfo } from './info.ts';
import {
  attachProgram, createIterator, createLink, detachLink, detachProgram, getObject, openRawTracepoint, pinObject, queryPrograms, updateLink,
} from './links.ts';
import { createMap } from './map-create.ts';
import { loadProgram } from './prog-load.ts';
import { testRun } from './test-run.ts';

const COMMANDS: ReadonlyMap<number, (call: Call) => number> = new Map<number, (call: Call) => number>([
  [U.BPF_MAP_CREATE, createMap], [U.BPF_MAP_LOOKUP_ELEM, lookupElement], [U.BPF_MAP_UPDATE_ELEM, updateElement],
  [U.BPF_MAP_DELETE_ELEM, deleteElement], [U.BPF_MAP_GET_NEXT_KEY, nextKey], [U.BPF_MAP_FREEZE, freezeMap],
  [U.BPF_MAP_LOOKUP_AND_DELETE_ELEM, lookupAndDeleteElement], [U.BPF_MAP_LOOKUP_BATCH, batch],
  [U.BPF_MAP_LOOKUP_AND_DELETE_BATCH, batch], [U.BPF_MAP_UPDATE_BATCH, batch], [U.BPF_MAP_DELETE_BATCH, batch],
  [U.BPF_PROG_LOAD, loadProgram], [U.BPF_PROG_TEST_RUN, testRun], [U.BPF_BTF_LOAD, loadBTF], [U.BPF_OBJ_GET_INFO_BY_FD, objectInfo],
  [U.BPF_PROG_GET_NEXT_ID, (call) => nextID(call, call.kernel.programs)], [U.BPF_MAP_GET_NEXT_ID, (call) => nextID(call, call.kernel.maps)],
  [U.BPF_BTF_GET_NEXT_ID, (call) => nextID(call, call.kernel.btfs)], [U.BPF_LINK_GET_NEXT_ID, (call) => nextID(call, call.kernel.links)],
  [U.BPF_PROG_GET_FD_BY_ID, programFDByID], [U.BPF_MAP_GET_FD_BY_ID, mapFDByID], [U.BPF_BTF_GET_FD_BY_ID, btfFDByID],
  [U.BPF_LINK_GET_FD_BY_ID, linkFDByID], [U.BPF_PROG_BIND_MAP, bindMap], [U.BPF_ENABLE_STATS, enableStats],
  [U.BPF_PROG_STREAM_READ_BY_FD, readStream], [U.BPF_PROG_ASSOC_STRUCT_OPS, assocStructOps], [U.BPF_TOKEN_CREATE, createToken],
  [U.BPF_TASK_FD_QUERY, queryTaskFD], [U.BPF_RAW_TRACEPOINT_OPEN, openRawTracepoint], [U.BPF_LINK_CREATE, createLink],
  [U.BPF_LINK_UPDATE, updateLink], [U.BPF_LINK_DETACH, detachLink], [U.BPF_ITER_CREATE, createIterator], [U.BPF_PROG_ATTACH, attachProgram],
  [U.BPF_PROG_DETACH, detachProgram], [U.BPF_PROG_QUERY, queryPrograms], [U.BPF_OBJ_PIN, pinObject], [U.BPF_OBJ_GET, getObject],
]);

/** Commands that a program may issue. */
const FROM_PROGRAM: ReadonlySet<number> = new Set([
  U.BPF_MAP_CREATE, U.BPF_MAP_DELETE_ELEM, U.BPF_MAP_UPDATE_ELEM, U.BPF_MAP_FREEZE, U.BPF_MAP_GET_FD_BY_ID, U.BPF_PROG_LOAD, U.BPF_BTF_LOAD,
  U.BPF_LINK_CREATE, U.BPF_RAW_TRACEPOINT_OPEN,
]);

/** Common attributes of a call without: zeros that nobody writes. */
const NO_POINTER: BPFPtr = { lo: 0, hi: 0, kernel: false };
const NO_COMMON: CommonAttributes = { view: new DataView(new ArrayBuffer(COMMON_ATTR_SIZE)), pointer: NO_POINTER, size: 0 };
const FROM_KERNEL: BPFPtr = { lo: 0, hi: 0, kernel: true };

/** `bpf_sys_bpf` */
export function callFromProgram(kernel: KernelState, cmd: number, attr: BPFPtr, size: number): number {
  if (!FROM_PROGRAM.has(cmd)) return -EINVAL;
  return systemCall(kernel, cmd, attr, size, FROM_KERNEL, 0);
}

/** `__sys_bpf`: `>= 0` or `-errno`. */
export function systemCall(kernel: KernelState, cmd: number, attr: BPFPtr, size: number, common: BPFPtr, commonSize: number): number {
  kernel.systemCalls++;
  const injected = kernel.faults?.systemCall?.(kernel.systemCalls, cmd & ~U.BPF_COMMON_ATTRS, attr.kernel);
  const { phases } = kernel;
  if (phases === undefined) return enter(kernel, cmd, attr, size, common, commonSize, injected);
  const work = (): number => within(phases, phaseOf(cmd & ~U.BPF_COMMON_ATTRS), () => enter(kernel, cmd, attr, size, common, commonSize, injected));
  return attr.kernel ? within(phases, 'payload admission', work) : work();
}

function enter(
  kernel: KernelState, cmd: number, attr: BPFPtr, size: number, common: BPFPtr, commonSize: number, injected: number | undefined,
): number {
  const call = injected === undefined ? openCall(kernel, cmd, attr, size, common, commonSize) : injected;
  const result = typeof call === 'number' ? call : perform(call);
  if (kernel.observer !== undefined) report(kernel, cmd, attr, size, call, result);
  if (typeof call !== 'number') leaveBlock(call.block);
  return result;
}

function phaseOf(cmd: number): Phase {
  if (cmd === U.BPF_PROG_LOAD) return 'attr';
  return cmd === U.BPF_PROG_TEST_RUN ? 'loader run' : 'maps';
}

function openCall(kernel: KernelState, cmd: number, attr: BPFPtr, size: number, common: BPFPtr, commonSize: number): Call | number {
  const bad = checkTail(kernel, attr, ATTR_SIZE, size);
  if (bad !== 0) return bad;
  const copied = Math.min(size, ATTR_SIZE);
  const block = takeBlock();
  if (!kernel.memory.copyToBytes(block.bytes, attr, copied)) return -EFAULT;
  block.bytes.fill(0, copied);
  if ((cmd & U.BPF_COMMON_ATTRS) === 0) return new Call(kernel, cmd, block, attr, copied, NO_COMMON);
  const badCommon = checkTail(kernel, common, COMMON_ATTR_END, commonSize);
  if (badCommon !== 0) return badCommon;
  const commonBytes = new Uint8Array(COMMON_ATTR_SIZE);
  const commonCopied = Math.min(commonSize, COMMON_ATTR_SIZE);
  if (!kernel.memory.copyToBytes(commonBytes, common, commonCopied)) return -EFAULT;
  return new Call(kernel, cmd & ~U.BPF_COMMON_ATTRS, block, attr, copied, {
    view: new DataView(commonBytes.buffer), pointer: common, size: commonCopied,
  });
}

function perform(call: Call): number {
  const verdict = call.kernel.hookBPF(call.cmd, call.bytes, call.size, call.isFromProgram);
  if (verdict < 0) return verdict;
  const command = COMMANDS.get(call.cmd);
  if (command === undefined) return -EINVAL;
  try {
    return command(call);
  } catch (error) {
    if (error instanceof KernelOutOfMemory || error instanceof OutOfMemoryError) return -ENOMEM;
    throw error;
  }
}

function report(kernel: KernelState, cmd: number, attr: BPFPtr, size: number, call: Call | number, result: number): void {
  const bytes = typeof call === 'number' ? new Uint8Array(0) : call.bytes.slice();
  const args: Record<string, number | bigint | string> = {};
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const { field, value } of bytes.length === 0 ? [] : decodeArguments(cmd, view, 0, Math.min(size, ATTR_SIZE))) {
    args[field.name] = plain(value);
  }
  kernel.observer?.({
    cmd: cmd & ~U.BPF_COMMON_ATTRS, name: commandName(cmd), size, attr: bytes, args, result, fromProgram: attr.kernel,
    log: typeof call === 'number' ? '' : call.log,
  });
}

function plain(value: FieldValue): number | bigint | string {
  return value instanceof Uint8Array ? Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('') : value;
}
