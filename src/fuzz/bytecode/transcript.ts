/**
 * @module src/fuzz/bytecode/transcript
 * A program of the target `bytecode` as a transcript: maps made, program loaded, run. Answers are not filled in: `ret` says what our kernel gave.
 */
import { ATTR_SIZE, MAP_CREATE_ATTR, PROG_LOAD_ATTR, TEST_RUN_ATTR, writeInt } from '../../../isa/attr.ts';
import * as U from '../../../isa/uapi.ts';
import { bytesToHex } from '@noble/hashes/utils.js';
import type { BytecodeInput } from './input.ts';
import { CONTEXT_SIZE, KIND_RAW_TRACEPOINT, KIND_UNPRIVILEGED } from './grammar.ts';
import { contextOf, MAPS, MAP_SHAPES } from './world.ts';

const LOG_SIZE = 65536;
const PROGRAM_SLOT = 20;
const LD_IMM64 = U.BPF_LD | U.BPF_IMM | U.BPF_DW;
const BPF_F_SLEEPABLE = 0x10;

function attr(write: (view: DataView) => void): string {
  const bytes = new Uint8Array(ATTR_SIZE);
  write(new DataView(bytes.buffer));
  return bytesToHex(bytes);
}

/** JSON lines that `bpftwin replay` performs. */
export function toTranscript({ kind, flags, data, instructions }: BytecodeInput): string {
  const any = { ret: 'fd', errno: 0 };
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
  if (kind === KIND_UNPRIVILEGED) lines.push({ op: 'caps', effective: '0', want: { ret: 0, errno: 0 } });
  lines.push({
    op: 'bpf', cmd: 'PROG_LOAD', save: PROGRAM_SLOT, in: { 8: bytesToHex(instructions), 16: '47504c00' }, out: { 32: LOG_SIZE }, infd: references(instructions), want: any,
    attr: attr((view) => {
      const type = kind === KIND_RAW_TRACEPOINT ? U.BPF_PROG_TYPE_RAW_TRACEPOINT : kind === KIND_UNPRIVILEGED ? U.BPF_PROG_TYPE_SOCKET_FILTER : U.BPF_PROG_TYPE_SYSCALL;
      writeInt(view, 0, PROG_LOAD_ATTR.prog_type, type);
      writeInt(view, 0, PROG_LOAD_ATTR.insn_cnt, instructions.length >> 3);
      writeInt(view, 0, PROG_LOAD_ATTR.log_level, 2);
      writeInt(view, 0, PROG_LOAD_ATTR.log_size, LOG_SIZE);
      writeInt(view, 0, PROG_LOAD_ATTR.prog_flags, flags | (type === U.BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0));
    }),
  });
  if (kind !== KIND_UNPRIVILEGED) {
    lines.push({
      op: 'bpf', cmd: 'PROG_TEST_RUN', in: { 48: bytesToHex(contextOf(data)) }, fd: { 0: PROGRAM_SLOT }, want: { ret: 0, errno: 0 },
      attr: attr((view) => writeInt(view, 0, TEST_RUN_ATTR.ctx_size_in, CONTEXT_SIZE)),
    });
  }
  return `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`;
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
