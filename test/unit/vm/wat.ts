/**
 * @module test/unit/vm/wat
 * Prints function bodies of a module as text, near to WebAssembly's text format: one instruction a line, indented by nesting. Reads
 * only what the compiler writes.
 */
import { W } from '../../../vm/wasm/bytes.ts';

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(W).map(([name, opcode]) => [opcode, name.replace(/^(local|global|i32|i64)_/, '$1.')] as const),
);
const IMPORTS = ['helper', 'kfunc', 'tail', 'packet', 'slow', 'fault', 'resume', 'arena', 'perCPU', 'region'];
const PARAMETERS = ['r1', 'r2', 'r3', 'r4', 'r5', 'sp', 'base'];

class Reader {
  readonly bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  byte(): number {
    return this.bytes[this.at++]!;
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  signed(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return (byte & 0x40) === 0 ? value : value - (1n << (shift + 7n));
    }
  }
}

/** The functions of the code section, without the wrappers for JavaScript. */
export function printFunctions(bytes: Uint8Array, count: number): string {
  const reader = new Reader(bytes, 8);
  for (;;) {
    const id = reader.byte();
    const size = reader.u32();
    if (id === 10) break;
    reader.at += size;
  }
  reader.u32();
  const functions: string[] = [];
  for (let index = 0; index < count; index++) {
    const size = reader.u32();
    functions.push(printBody(new Reader(bytes, reader.at), reader.at + size, index));
    reader.at += size;
  }
  return functions.join('\n');
}

function printBody(reader: Reader, end: number, index: number): string {
  const locals: string[] = [...PARAMETERS];
  for (let groups = reader.u32(); groups > 0; groups--) {
    const count = reader.u32();
    const type = reader.byte() === 0x7f ? 'i32' : 'i64';
    for (let one = 0; one < count; one++) locals.push(`${type === 'i32' ? 'n' : 'w'}${locals.length}`);
  }
  const lines: string[] = [`(func $f${index}`];
  let depth = 1;
  while (reader.at < end) {
    const opcode = reader.byte();
    if (opcode === W.end || opcode === W.else) depth--;
    const text = printInstruction(reader, opcode, locals);
    lines.push(`${'  '.repeat(Math.max(depth, 0))}${text}`);
    if (opcode === W.block || opcode === W.loop || opcode === W.if || opcode === W.else) depth++;
  }
  lines.pop();
  return `${lines.join('\n')})\n`;
}

function printInstruction(reader: Reader, opcode: number, locals: readonly string[]): string {
  const name = NAMES.get(opcode) ?? (opcode === 0x3f ? 'memory.size' : `0x${opcode.toString(16)}`);
  switch (opcode) {
    case W.block: case W.loop: case W.if: {
      const type = reader.byte();
      return type === 0x40 ? name : `${name} (result ${type === 0x7f ? 'i32' : 'i64'})`;
    }
    case W.br: case W.br_if:
      return `${name} ${reader.u32()}`;
    case W.br_table:
      return `${name} ${Array.from({ length: reader.u32() + 1 }, () => reader.u32()).join(' ')}`;
    case W.call: {
      const target = reader.u32();
      return `call $${IMPORTS[target] ?? `f${target - IMPORTS.length}`}`;
    }
    case W.local_get: case W.local_set: case W.local_tee:
      return `${name} $${locals[reader.u32()]}`;
    case W.global_get: case W.global_set:
      return `${name} $count${reader.u32()}`;
    case W.i32_const: case W.i64_const:
      return `${name} ${reader.signed()}`;
    case 0x3f:
      reader.byte();
      return name;
    default:
      if (opcode < 0x28 || opcode > 0x3e) return name;
      reader.byte();
      return `${name} offset=${reader.u32()}`;
  }
}
