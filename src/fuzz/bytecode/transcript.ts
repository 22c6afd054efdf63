/**
 * @module src/fuzz/bytecode/transcript
 * A program of the target `bytecode` as a transcript: maps made and filled, program loaded, run. Its answers play no part: who writes a finding
 * fills them in.
 */
import { ATTR_SIZE, MAP_CREATE_ATTR, MAP_ELEM_ATTR, PROG_LOAD_ATTR, TEST_RUN_ATTR, writeInt } from '../../../isa/attr.ts';
import * as U from '../../../isa/uapi.ts';
import { BPF_F_SLEEPABLE } from '../../../verifier/env.ts';
import { BPF_LOG_LEVEL2, BPF_LOG_STATS } from '../../../verifier/log_levels.ts';
import { bytesToHex } from '@noble/hashes/utils.js';
import type { BytecodeInput } from './input.ts';
import { CONTEXT_SIZE, KIND_RAW_TRACEPOINT, KIND_UNPRIVILEGED } from './grammar.ts';
import { CONSTANT, contextOf, fillValue, KEYS, MAPS, MAP_SHAPES } from './world.ts';

const LOG_SIZE = 65536;
const PROGRAM_SLOT = 20;
const LD_IMM64 = U.BPF_LD | U.BPF_IMM | U.BPF_DW;

function attr(write: (view: DataView) => void): string {
  const bytes = new Uint8Array(ATTR_SIZE);
  write(new DataView(bytes.buffer));
  return bytesToHex(bytes);
}

/** JSON lines that `bpftwin replay` performs. */
export function toTranscript({ kind, flags, data, instructions }: BytecodeInput): string {
  const any = { ret: 'fd', errno: 0 }, done = { ret: 0, errno: 0 };
  const lines: object[] = [{ case: 'fuzz', suite: 'fuzz-bytecode', mode: kind === KIND_UNPRIVILEGED ? 'unpriv' : 'priv' }];
  for (const [slot, [type, key, value, entries, mapFlags]] of MAP_SHAPES.entries()) {
    lines.push({
      op: 'bpf', cmd: 'MAP_CREATE', save: slot, want: any,
      attr: attr((view) => {
        writeInt(view, 0, MAP_CREATE_ATTR.map_type, type);
        writeInt(view, 0, MAP_CREATE_ATTR.key_size, key);
        writeInt(view, 0, MAP_CREATE_ATTR.value_size, value);
        writeInt(view, 0, MAP_CREATE_ATTR.max_entries, entries);
        writeInt(view, 0, MAP_CREATE_ATTR.map_flags, mapFlags);
      }),
    });
  }
  for (const { slot, key, value } of contents(data)) {
    lines.push({ op: 'bpf', cmd: 'MAP_UPDATE_ELEM', in: { [MAP_ELEM_ATTR.key.offset]: bytesToHex(key), [MAP_ELEM_ATTR.value.offset]: bytesToHex(value) }, fd: { 0: slot }, want: done, attr: attr(() => undefined) });
  }
  lines.push({ op: 'bpf', cmd: 'MAP_FREEZE', fd: { 0: MAPS.constant - MAPS.value }, want: done, attr: attr(() => undefined) });
  if (kind === KIND_UNPRIVILEGED) lines.push({ op: 'caps', effective: '0', want: done });
  lines.push({
    op: 'bpf', cmd: 'PROG_LOAD', save: PROGRAM_SLOT, in: { 8: bytesToHex(instructions), 16: '47504c00' }, out: { 32: LOG_SIZE }, infd: references(instructions), want: any,
    attr: attr((view) => {
      const type = kind === KIND_RAW_TRACEPOINT ? U.BPF_PROG_TYPE_RAW_TRACEPOINT : kind === KIND_UNPRIVILEGED ? U.BPF_PROG_TYPE_SOCKET_FILTER : U.BPF_PROG_TYPE_SYSCALL;
      writeInt(view, 0, PROG_LOAD_ATTR.prog_type, type);
      writeInt(view, 0, PROG_LOAD_ATTR.insn_cnt, instructions.length >> 3);
      // Every second input with the states of every instruction: a longer log than there is room for is no verdict.
      writeInt(view, 0, PROG_LOAD_ATTR.log_level, data % 2 === 0 ? BPF_LOG_LEVEL2 : BPF_LOG_STATS);
      writeInt(view, 0, PROG_LOAD_ATTR.log_size, LOG_SIZE);
      writeInt(view, 0, PROG_LOAD_ATTR.prog_flags, flags | (type === U.BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0));
    }),
  });
  if (kind !== KIND_UNPRIVILEGED) {
    lines.push({
      op: 'bpf', cmd: 'PROG_TEST_RUN', in: { 48: bytesToHex(contextOf(data)) }, fd: { 0: PROGRAM_SLOT }, want: done,
      attr: attr((view) => writeInt(view, 0, TEST_RUN_ATTR.ctx_size_in, CONTEXT_SIZE)),
    });
  }
  return `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`;
}

/** What maps hold before a run from `seed`. */
function contents(seed: number): readonly { readonly slot: number; readonly key: Uint8Array; readonly value: Uint8Array }[] {
  const of = (fd: number, count: number): { slot: number; key: Uint8Array; value: Uint8Array }[] => {
    const slot = fd - MAPS.value, [type = 0, keySize = 0, valueSize = 0] = MAP_SHAPES[slot] ?? [];
    const all = new Uint8Array(valueSize * count);
    // The values of an array lie one behind the other and are filled as one; those of a hash table each for itself.
    fillValue(all, seed);
    return Array.from({ length: count }, (_, index) => {
      const key = new Uint8Array(keySize).fill(index, 0, 1), at = type === U.BPF_MAP_TYPE_HASH ? 0 : index * valueSize;
      return { slot, key, value: fd === MAPS.constant ? CONSTANT : all.slice(at, at + valueSize) };
    });
  };
  return [...of(MAPS.value, 1), ...of(MAPS.four, 4), ...of(MAPS.hash, KEYS), ...of(MAPS.constant, 1)];
}

/** Where instructions name maps by descriptor, and the slots that these are in. */
function references(instructions: Uint8Array): readonly (readonly [number, number, number])[] {
  const out: (readonly [number, number, number])[] = [];
  const view = new DataView(instructions.buffer, instructions.byteOffset, instructions.length);
  for (let at = 0; at + 8 < instructions.length; at += 8) {
    if (instructions[at] !== LD_IMM64) continue;
    const pseudo = instructions[at + 1]! >> 4;
    const slot = view.getInt32(at + 4, true) - MAPS.value;
    if ((pseudo === U.BPF_PSEUDO_MAP_FD || pseudo === U.BPF_PSEUDO_MAP_VALUE) && slot >= 0 && slot < MAP_SHAPES.length) out.push([8, at + 4, slot]);
    at += 8;
  }
  return out;
}
