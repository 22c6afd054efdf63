/**
 * @module src/fuzz/mutators/calls
 * Sequences of system calls: made from the layouts of `union bpf_attr`, nearly right, and changed. A sequence is a list of
 * transcript operations, so that what is found can be replayed on another kernel.
 */
import { ATTR_SIZE, COMMANDS, commandByName, type CommandSpec, type Field } from '../../../isa/attr.ts';
import { assemble, exit, ldMapFD, mov64 } from '../../../isa/encode.ts';
import * as U from '../../../isa/uapi.ts';
import type { BPFCall, Operation } from '../../replay/transcript.ts';
import { mutateInstructions } from './instructions.ts';
import { buildTypes } from './object-file.ts';
import { havoc } from './bytes.ts';
import type { Random } from '../random.ts';

/** Answers play no part in inputs. */
export const NO_ANSWER = { ret: 0, errno: 0 } as const;
/** Slots that sequences use. */
export const SLOTS = 12;
/** Longest sequence. */
export const MOST_OPERATIONS = 48;
const MOST_REPEATS = 64;
const LOG_BYTES = 4096;

type Values = Readonly<Record<string, number | bigint | string | Uint8Array>>;

/** What of a call is not in its fields. */
interface Extras {
  /** Slots by field name. */
  readonly fds?: Readonly<Record<string, number>>;
  readonly infds?: readonly (readonly [field: string, at: number, slot: number])[];
  /** Zeroed buffers by field name. */
  readonly outs?: Readonly<Record<string, number>>;
  readonly save?: number;
}

function fieldNamed(spec: CommandSpec, name: string): Field {
  const field = spec.fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new RangeError(`${spec.name} has no field ${name}`);
  return field;
}

/**
 * One call from named fields; bytes become input buffers.
 * @example makeCall('MAP_FREEZE', {}, { fds: { map_fd: 0 } })
 */
export function makeCall(command: string, values: Values, extras: Extras = {}): BPFCall {
  const spec = commandByName(command);
  if (spec === undefined) throw new RangeError(`no command ${command}`);
  const attr = new Uint8Array(spec.end);
  const view = new DataView(attr.buffer);
  const inputs: { offset: number; bytes: Uint8Array; answered: boolean }[] = [];
  for (const [name, value] of Object.entries(values)) {
    const { offset, size } = fieldNamed(spec, name);
    if (value instanceof Uint8Array) inputs.push({ offset, bytes: value, answered: false });
    else if (typeof value === 'string') for (let i = 0; i < value.length && i < size - 1; i++) attr[offset + i] = value.charCodeAt(i);
    else if (size === 8) view.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), true);
    else view.setInt32(offset, Number(value), true);
  }
  const { fds = {}, infds = [], outs = {}, save } = extras;
  return {
    op: 'bpf', cmd: spec.cmd, name: spec.name, attr, inputs, nested: [], taken: [], ignored: new Map(), save, want: NO_ANSWER,
    outputs: Object.entries(outs).map(([name, size]) => ({ offset: fieldNamed(spec, name).offset, size })),
    fds: Object.entries(fds).map(([name, slot]) => ({ offset: fieldNamed(spec, name).offset, slot })),
    nestedFDs: infds.map(([name, at, slot]) => ({ offset: fieldNamed(spec, name).offset, at, slot })),
  };
}

/** Bytes of a text with a NUL behind them. */
export const cString = (text: string): Uint8Array => Uint8Array.from(`${text}\0`, (char) => char.charCodeAt(0));

/** Kinds of map with sizes that the kernel takes. */
const MAPS: readonly (readonly [type: number, key: number, value: number, entries: number, flags: number])[] = [
  [U.BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0], [U.BPF_MAP_TYPE_ARRAY, 4, 16, 1, 0], [U.BPF_MAP_TYPE_ARRAY, 4, 8, 2, U.BPF_F_MMAPABLE], [U.BPF_MAP_TYPE_HASH, 4, 8, 4, 0],
  [U.BPF_MAP_TYPE_HASH, 8, 8, 4, U.BPF_F_NO_PREALLOC], [U.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4, 0], [U.BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 4, 0],
  [U.BPF_MAP_TYPE_LRU_HASH, 4, 8, 4, 0], [U.BPF_MAP_TYPE_LPM_TRIE, 8, 8, 4, U.BPF_F_NO_PREALLOC], [U.BPF_MAP_TYPE_QUEUE, 0, 8, 4, 0],
  [U.BPF_MAP_TYPE_STACK, 0, 8, 4, 0], [U.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0], [U.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0],
  [U.BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 4, 0], [U.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0], [U.BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, 2, 0],
  [U.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, 0], [U.BPF_MAP_TYPE_DEVMAP, 4, 4, 2, 0], [U.BPF_MAP_TYPE_CPUMAP, 4, 4, 2, 0], [U.BPF_MAP_TYPE_ARENA, 0, 0, 1, U.BPF_F_MMAPABLE],
];

const RETURN: Uint8Array = assemble([mov64('r0', 0), exit()]);
const WITH_MAP: Uint8Array = assemble([ldMapFD('r1', 0), mov64('r0', 0), exit()]);
const BTF: Uint8Array = buildTypes({ maps: [], data: [], license: '', programs: [{ section: '', name: 'f', instructions: RETURN, references: [] }] });

const PROGRAM_TYPES = [
  U.BPF_PROG_TYPE_SOCKET_FILTER, U.BPF_PROG_TYPE_XDP, U.BPF_PROG_TYPE_SCHED_CLS, U.BPF_PROG_TYPE_SYSCALL, U.BPF_PROG_TYPE_KPROBE, U.BPF_PROG_TYPE_RAW_TRACEPOINT,
  U.BPF_PROG_TYPE_CGROUP_SKB, U.BPF_PROG_TYPE_SK_LOOKUP, U.BPF_PROG_TYPE_FLOW_DISSECTOR, U.BPF_PROG_TYPE_TRACING,
] as const;
const SLEEPABLE = 1 << 4;

function slot(random: Random): number {
  return random.oneIn(24) ? -1 : random.below(SLOTS);
}

function createMap(random: Random): BPFCall {
  const [map_type, key_size, value_size, max_entries, map_flags] = random.pick(MAPS);
  const isOuter = map_type === U.BPF_MAP_TYPE_ARRAY_OF_MAPS || map_type === U.BPF_MAP_TYPE_HASH_OF_MAPS;
  return makeCall('MAP_CREATE', { map_type, key_size, value_size, max_entries, map_flags, map_name: 'm' },
    { save: random.below(SLOTS), ...(isOuter ? { fds: { inner_map_fd: slot(random) } } : {}) });
}

function loadProgram(random: Random): BPFCall {
  const withMap = random.oneIn(2);
  const prog_type = random.pick(PROGRAM_TYPES);
  let insns = withMap ? WITH_MAP : RETURN;
  while (random.oneIn(3)) insns = mutateInstructions(insns, random, undefined);
  const values = {
    prog_type, insns, insn_cnt: insns.length / 8, license: cString('GPL'), prog_name: 'p', prog_flags: prog_type === U.BPF_PROG_TYPE_SYSCALL ? SLEEPABLE : 0,
    ...(random.oneIn(3) ? { log_level: 1 + random.below(3), log_size: LOG_BYTES } : {}),
  };
  return makeCall('PROG_LOAD', values, {
    save: random.below(SLOTS), ...(withMap && insns.length >= 8 ? { infds: [['insns', 4, slot(random)]] } : {}),
    ...('log_size' in values ? { outs: { log_buf: LOG_BYTES } } : {}),
  });
}

function element(random: Random): BPFCall {
  const key = random.oneIn(3) ? random.bytes(16) : Uint8Array.of(random.below(5), 0, 0, 0, 0, 0, 0, 0);
  const flags = random.oneIn(4) ? random.below(9) : 0;
  const fds = { map_fd: slot(random) };
  switch (random.below(6)) {
    case 0: return makeCall('MAP_LOOKUP_ELEM', { key, flags }, { fds, outs: { value: 64 } });
    case 1: return makeCall('MAP_DELETE_ELEM', { key }, { fds });
    case 2: return makeCall('MAP_GET_NEXT_KEY', { key }, { fds, outs: { next_key: 16 } });
    case 3: return makeCall('MAP_LOOKUP_AND_DELETE_ELEM', { key, flags }, { fds, outs: { value: 64 } });
    default: {
      const value = random.bytes(random.pick([4, 8, 16, 32]));
      const call = makeCall('MAP_UPDATE_ELEM', { key, value, flags }, { fds, ...(random.oneIn(4) ? { infds: [['value', 0, slot(random)]] } : {}) });
      return call;
    }
  }
}

function batchCall(random: Random): BPFCall {
  const command = random.pick(['MAP_LOOKUP_BATCH', 'MAP_LOOKUP_AND_DELETE_BATCH', 'MAP_UPDATE_BATCH', 'MAP_DELETE_BATCH']);
  const values = { count: random.below(6), keys: random.bytes(64), values: random.bytes(128), elem_flags: random.oneIn(5) ? random.below(9) : 0 };
  return command.includes('LOOKUP')
    ? makeCall(command, { count: values.count, elem_flags: values.elem_flags }, { fds: { map_fd: slot(random) }, outs: { keys: 64, values: 128, out_batch: 16 } })
    : makeCall(command, values, { fds: { map_fd: slot(random) } });
}

function testRun(random: Random): BPFCall {
  const data = random.bytes(random.pick([0, 14, 40, 64]));
  const isSyscall = random.oneIn(3);
  return makeCall('PROG_TEST_RUN', isSyscall
    ? { ctx_in: random.bytes(64), ctx_size_in: 64 }
    : { data_in: data, data_size_in: data.length, repeat: random.below(3), data_size_out: 64 },
  { fds: { prog_fd: slot(random) }, ...(isSyscall ? {} : { outs: { data_out: 64 } }) });
}

/** Any command with fields of any value: mostly refused. */
function anyCall(random: Random): BPFCall {
  const spec = random.pick(COMMANDS);
  const values: Record<string, number | Uint8Array> = {}, fds: Record<string, number> = {}, outs: Record<string, number> = {};
  for (const field of spec.fields) {
    if (random.oneIn(3)) continue;
    if (field.kind === 'fd') fds[field.name] = slot(random);
    else if (field.kind === 'ptr') {
      if (random.oneIn(2)) values[field.name] = random.bytes(random.below(64));
      else outs[field.name] = 8 + random.below(256);
    } else if (field.kind !== 'name' && field.kind !== 'bytes') values[field.name] = random.oneIn(2) ? random.below(5) : random.int32();
  }
  return makeCall(spec.name, values, { fds, outs, ...(random.oneIn(2) ? { save: random.below(SLOTS) } : {}) });
}

function aboutObjects(random: Random): BPFCall {
  const id = 1 + random.below(4);
  switch (random.below(12)) {
    case 0: return makeCall('OBJ_GET_INFO_BY_FD', { info_len: random.pick([8, 80, 104, 232, 256]) }, { fds: { bpf_fd: slot(random) }, outs: { info: 256 } });
    case 1: return makeCall('PROG_GET_FD_BY_ID', { prog_id: id }, { save: random.below(SLOTS) });
    case 2: return makeCall('MAP_GET_FD_BY_ID', { map_id: id, open_flags: random.pick([0, 0, U.BPF_F_RDONLY, U.BPF_F_WRONLY]) }, { save: random.below(SLOTS) });
    case 3: return makeCall('BTF_GET_FD_BY_ID', { btf_id: id }, { save: random.below(SLOTS) });
    case 4: return makeCall(random.pick(['PROG_GET_NEXT_ID', 'MAP_GET_NEXT_ID', 'BTF_GET_NEXT_ID', 'LINK_GET_NEXT_ID']), { start_id: random.below(4) });
    case 5: return makeCall('MAP_FREEZE', {}, { fds: { map_fd: slot(random) } });
    case 6: return makeCall('PROG_BIND_MAP', {}, { fds: { prog_fd: slot(random), map_fd: slot(random) } });
    case 7: return makeCall('BTF_LOAD', { btf: BTF, btf_size: BTF.length }, { save: random.below(SLOTS) });
    case 8: return makeCall('RAW_TRACEPOINT_OPEN', { name: cString('sys_enter') }, { fds: { prog_fd: slot(random) }, save: random.below(SLOTS) });
    case 9: return makeCall('ENABLE_STATS', { type: random.below(2) }, { save: random.below(SLOTS) });
    case 10: return makeCall('LINK_CREATE', { attach_type: random.below(60) }, { fds: { prog_fd: slot(random), target_fd: slot(random) }, save: random.below(SLOTS) });
    default: return makeCall('LINK_UPDATE', { flags: random.below(8) }, { fds: { link_fd: slot(random), new_prog_fd: slot(random) } });
  }
}

/** A new operation, mostly one that means something to the ones before it. */
export function randomOperation(random: Random): Operation {
  switch (random.below(16)) {
    case 0: case 1: case 2: return createMap(random);
    case 3: case 4: case 5: return loadProgram(random);
    case 6: case 7: case 8: return element(random);
    case 9: return batchCall(random);
    case 10: return testRun(random);
    case 11: case 12: return aboutObjects(random);
    case 13: return anyCall(random);
    case 14: return { op: 'close', slot: random.below(SLOTS), want: NO_ANSWER };
    default: return random.oneIn(8)
      ? { op: 'caps', effective: random.oneIn(2) ? 0x1ffffffffffn : BigInt(random.next()) << 8n, want: NO_ANSWER }
      : random.oneIn(3)
        ? { op: 'mmap', slot: random.below(SLOTS), size: 4096 * (1 + random.below(2)), prot: 1 + random.below(3), want: NO_ANSWER }
        : { op: 'dup', slot: random.below(SLOTS), save: random.below(SLOTS), want: NO_ANSWER };
  }
}

/** Bounds what a mutated field could make expensive (runs asked for), and keeps the descriptor that no transcript closes by itself. */
export function bounded(operation: Operation): Operation {
  if (operation.op === 'bpf' && operation.cmd === U.BPF_ENABLE_STATS && operation.save === undefined) return { ...operation, save: 0 };
  if (operation.op !== 'bpf' || operation.cmd !== U.BPF_PROG_TEST_RUN || operation.attr.length < 36) return operation;
  const view = new DataView(operation.attr.buffer, operation.attr.byteOffset, operation.attr.byteLength);
  if (view.getUint32(32, true) <= MOST_REPEATS) return operation;
  const attr = operation.attr.slice();
  new DataView(attr.buffer).setUint32(32, view.getUint32(32, true) % (MOST_REPEATS + 1), true);
  return { ...operation, attr };
}

function changeField(call: BPFCall, random: Random): BPFCall {
  const fields = COMMANDS[call.cmd]?.fields.filter(({ offset, size }) => offset + size <= call.attr.length) ?? [];
  if (fields.length === 0) return { ...call, attr: havoc(call.attr, random, undefined, ATTR_SIZE) };
  const field = random.pick(fields);
  const attr = call.attr.slice();
  const view = new DataView(attr.buffer);
  if (field.kind === 'fd') {
    const rest = call.fds.filter(({ offset }) => offset !== field.offset);
    if (random.oneIn(4)) view.setInt32(field.offset, random.int32(), true);
    else return { ...call, fds: [...rest, { offset: field.offset, slot: slot(random) }] };
    return { ...call, attr, fds: rest };
  }
  if (field.kind === 'ptr') {
    const inputs = call.inputs.filter(({ offset }) => offset !== field.offset), outputs = call.outputs.filter(({ offset }) => offset !== field.offset);
    const nestedFDs = call.nestedFDs.filter(({ offset }) => offset !== field.offset);
    const without = { ...call, inputs, outputs, nestedFDs };
    switch (random.below(4)) {
      case 0: return without;
      case 1: return { ...without, inputs: [...inputs, { offset: field.offset, bytes: random.bytes(random.below(64)), answered: false }] };
      case 2: return { ...without, outputs: [...outputs, { offset: field.offset, size: random.below(4096) }] };
      default: {
        view.setBigUint64(field.offset, BigInt(random.next()) << BigInt(random.below(33)), true);
        return { ...without, attr };
      }
    }
  }
  if (field.kind === 'name' || field.kind === 'bytes') attr.set(random.bytes(field.size), field.offset);
  else if (field.size === 8) view.setBigInt64(field.offset, BigInt(random.int32()), true);
  else view.setInt32(field.offset, random.oneIn(2) ? view.getInt32(field.offset, true) + random.between(-2, 2) : random.int32(), true);
  return { ...call, attr };
}

function changeBuffer(call: BPFCall, random: Random): BPFCall {
  if (call.inputs.length === 0) return changeField(call, random);
  const index = random.below(call.inputs.length);
  const input = call.inputs[index]!;
  const isProgram = call.cmd === U.BPF_PROG_LOAD && input.offset === 8;
  const bytes = isProgram ? mutateInstructions(input.bytes, random, undefined) : havoc(input.bytes, random, undefined, 4096);
  const inputs = call.inputs.with(index, { ...input, bytes });
  const nestedFDs = call.nestedFDs.filter(({ offset, at }) => offset !== input.offset || at + 4 <= Math.max(8, bytes.length));
  if (!isProgram) return { ...call, inputs, nestedFDs };
  const attr = call.attr.slice();
  if (attr.length >= 8) new DataView(attr.buffer).setUint32(4, bytes.length / 8, true);
  return { ...call, attr, inputs, nestedFDs };
}

/** A copy of the call with its buffers and descriptors within the attribute block. */
function resized(call: BPFCall, size: number): BPFCall {
  const attr = new Uint8Array(size);
  attr.set(call.attr.subarray(0, size));
  return { ...call, attr };
}

function changeOperation(operation: Operation, random: Random): Operation {
  if (operation.op === 'bpf') {
    switch (random.below(8)) {
      case 0: return { ...operation, save: random.oneIn(4) ? undefined : random.below(SLOTS) };
      case 1: return resized(operation, random.below(ATTR_SIZE + 16));
      case 2: case 3: return changeBuffer(operation, random);
      default: return changeField(operation, random);
    }
  }
  if (operation.op === 'close') return { ...operation, slot: random.below(SLOTS) };
  if (operation.op === 'dup') return { ...operation, slot: slot(random), save: random.below(SLOTS) };
  if (operation.op === 'caps') return { ...operation, effective: operation.effective ^ (1n << BigInt(random.below(41))) };
  if (operation.op === 'mmap') return { ...operation, slot: slot(random), prot: random.below(8) };
  return randomOperation(random);
}

/** A changed sequence: operations put in, left out, doubled, exchanged, changed, or a piece of another sequence put in. */
export function mutateOperations(list: readonly Operation[], random: Random, other: readonly Operation[] | undefined): readonly Operation[] {
  if (list.length === 0) return [randomOperation(random)];
  const at = random.below(list.length);
  const changed = ((): readonly Operation[] => {
    switch (random.below(10)) {
      case 0: case 1: return list.toSpliced(at, 0, randomOperation(random));
      case 2: return list.length > 1 ? list.toSpliced(at, 1) : list;
      case 3: return list.toSpliced(at, 0, list[random.below(list.length)]!);
      case 4: {
        const second = random.below(list.length);
        return list.with(at, list[second]!).with(second, list[at]!);
      }
      case 5: {
        if (other === undefined || other.length === 0) return list.with(at, randomOperation(random));
        const from = random.below(other.length);
        return list.toSpliced(at, 0, ...other.slice(from, from + 1 + random.below(6)));
      }
      default: return list.with(at, changeOperation(list[at]!, random));
    }
  })();
  return changed.slice(0, MOST_OPERATIONS).map(bounded);
}
