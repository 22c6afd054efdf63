/**
 * @module test/conformance/vector
 * Reads the vectors of `vectors/`: the file format and the suite's assembly syntax (that of uBPF's assembler). Gives bytecode,
 * memory and the expected R0; running them is the engines' tests' part.
 */
import { readdirSync, readFileSync } from 'node:fs';
import {
  alu32, alu64, atomic, byteSwap, callHelper, callLocal, encode, exit, goto, gotol, jump, jump32, label, ldImm64, ldx, movsx32, movsx64, neg32,
  neg64, raw, registerNumber, st, stx, toBytes,
  type AtomicOperation, type BinaryOperation, type Item, type JumpCondition, type MemorySize, type Operand, type Register, type SignedMemorySize,
} from '../../isa/encode.ts';

/** One vector. */
export interface Vector {
  /** File name without `.data`. */
  readonly name: string;
  /** 8 bytes a slot, assembled from the text. */
  readonly bytecode: Uint8Array;
  /** The `-- raw` section, where there is one. */
  readonly rawBytecode: Uint8Array | undefined;
  /** What R1 points at and R2 counts; empty where the vector has none (R1 and R2 are then 0). */
  readonly memory: Uint8Array;
  /** Expected R0, unsigned 64-bit. */
  readonly result: bigint;
  /**
   * Numbers of the suite's own helpers that the program calls. The suite's runner has five of uBPF's; the vectors use only 5,
   * `unwind`, which gives its first argument back and ends the program if that is zero.
   */
  readonly helpers: readonly number[];
  /** True for a program that calls through a register: not in RFC 9669 as adopted, refused by Linux (`unknown opcode 8d`). */
  readonly callsRegister: boolean;
}

const SIZES: Readonly<Record<string, MemorySize>> = { b: 'u8', h: 'u16', w: 'u32', dw: 'u64' };
const SIGNED_SIZES: Readonly<Record<string, SignedMemorySize>> = { sb: 's8', sh: 's16', sw: 's32' };
const BINARY: ReadonlySet<string> = new Set(['add', 'sub', 'mul', 'div', 'sdiv', 'or', 'and', 'lsh', 'rsh', 'mod', 'smod', 'xor', 'arsh', 'mov']);
const CONDITIONS: ReadonlySet<string> = new Set(['jeq', 'jgt', 'jge', 'jset', 'jne', 'jsgt', 'jsge', 'jlt', 'jle', 'jslt', 'jsle']);

function register(text: string | undefined): Register {
  const match = /^%(r(?:10|[0-9]))$/.exec(text ?? '');
  if (match === null) throw new Error(`not a register: ${text}`);
  return match[1] as Register;
}

function number(text: string | undefined): number {
  if (!/^-?(0x[0-9a-f]+|\d+)$/i.test(text ?? '')) throw new Error(`not a number: ${text}`);
  const digits = (text ?? '').replace('-', '');
  return text?.startsWith('-') ? -Number(digits) : Number(digits);
}

function operand(text: string | undefined): Operand {
  return text?.startsWith('%') ? register(text) : number(text);
}

function target(text: string | undefined): string | number {
  return /^[+-]\d/.test(text ?? '') ? number((text ?? '').replace('+', '')) : (text ?? '');
}

function memory(text: string | undefined): readonly [Register, number] {
  const match = /^\[(%r\d+)(?:([+-])(\w+))?\]$/.exec((text ?? '').replaceAll(' ', ''));
  if (match === null) throw new Error(`not a memory operand: ${text}`);
  const offset = match[3] === undefined ? 0 : number(match[3]);
  return [register(match[1]), match[2] === '-' ? -offset : offset];
}

function parseLock(rest: string): Item {
  const match = /^(fetch )?(\w+?)(32)? (\[.*\]), (%r\d+)$/.exec(rest);
  if (match === null) throw new Error(`not an atomic operation: ${rest}`);
  const [base, offset] = memory(match[4]);
  return atomic(`${match[1] === undefined ? '' : 'fetch_'}${match[2]}` as AtomicOperation, match[3] === undefined ? 'u64' : 'u32', base, offset, register(match[5]));
}

function parseCall(rest: string): Item {
  if (rest.startsWith('local ')) return callLocal(rest.slice(6).trim());
  return rest.startsWith('%') ? raw(0x8d, registerNumber(register(rest))) : callHelper(number(rest));
}

function parseInstruction(line: string): Item {
  const [, mnemonic = '', rest = ''] = /^(\S+)\s*(.*)$/.exec(line) ?? [];
  if (mnemonic === 'lock') return parseLock(rest);
  if (mnemonic === 'call') return parseCall(rest);
  if (mnemonic === 'exit') return exit();
  const [first, second, third] = rest.split(',').map((part) => part.trim());
  if (mnemonic === 'ja') return goto(target(first));
  if (mnemonic === 'ja32') return gotol(target(first));
  if (mnemonic === 'lddw') return ldImm64(register(first), BigInt.asUintN(64, second?.startsWith('-') ? -BigInt(second.slice(1)) : BigInt(second ?? '')));
  if (mnemonic === 'neg') return neg64(register(first));
  if (mnemonic === 'neg32') return neg32(register(first));
  const swap = /^(le|be|bswap|swap)(16|32|64)$/.exec(mnemonic);
  if (swap !== null) return byteSwap(swap[1] === 'swap' ? 'bswap' : (swap[1] as 'le'), Number(swap[2]) as 16, register(first));
  const extension = /^movsx(8|16|32)(32|64)$/.exec(mnemonic);
  if (extension !== null) {
    return extension[2] === '64'
      ? movsx64(Number(extension[1]) as 8, register(first), register(second))
      : movsx32(Number(extension[1]) as 8, register(first), register(second));
  }
  const load = /^ldx(s?[bhw]|dw)$/.exec(mnemonic);
  if (load !== null) {
    const [base, offset] = memory(second);
    return ldx(SIZES[load[1] ?? ''] ?? SIGNED_SIZES[load[1] ?? ''] ?? 'u64', register(first), base, offset);
  }
  const store = /^(stx?)(b|h|w|dw)$/.exec(mnemonic);
  if (store !== null) {
    const [base, offset] = memory(first);
    const size = SIZES[store[2] ?? ''] ?? 'u64';
    return store[1] === 'stx' ? stx(size, base, offset, register(second)) : st(size, base, offset, number(second));
  }
  const narrow = mnemonic.endsWith('32');
  const stem = narrow ? mnemonic.slice(0, -2) : mnemonic;
  if (BINARY.has(stem)) return (narrow ? alu32 : alu64)(stem as BinaryOperation, register(first), operand(second));
  if (CONDITIONS.has(stem)) return (narrow ? jump32 : jump)(stem as JumpCondition, register(first), operand(second), target(third));
  throw new Error(`unknown mnemonic ${mnemonic}`);
}

/** Assembles the suite's syntax. A jump to `exit` without such a label goes to the last `exit` instruction. */
export function assembleVector(text: string): Uint8Array {
  const items: Item[] = [];
  let lastExit = -1;
  let hasExitLabel = false;
  for (const source of text.split('\n')) {
    const line = source.replace(/#.*$/, '').trim();
    if (line === '') continue;
    const named = /^(\w+):$/.exec(line);
    if (named !== null) {
      hasExitLabel ||= named[1] === 'exit';
      items.push(label(named[1] ?? ''));
      continue;
    }
    if (line === 'exit') lastExit = items.length;
    items.push(parseInstruction(line));
  }
  if (!hasExitLabel && lastExit >= 0) items.splice(lastExit, 0, label('exit'));
  return toBytes(encode(items));
}

function sections(text: string): ReadonlyMap<string, string> {
  const parts = new Map<string, string[]>();
  let current: string[] | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('-- ')) {
      current = [];
      parts.set(line.slice(3).trim(), current);
    } else current?.push(line);
  }
  return new Map([...parts].map(([name, lines]) => [name, lines.join('\n')]));
}

function words(text: string): Uint8Array {
  const values = text.split(/\s+/).filter((word) => word !== '');
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setBigUint64(index * 8, BigInt(value), true);
  return bytes;
}

function hexBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(/\s+/).filter((byte) => byte !== ''), (byte) => Number.parseInt(byte, 16));
}

/** Reads one vector. */
export function parseVector(name: string, text: string): Vector {
  const parts = sections(text);
  const rawSection = parts.get('raw');
  const asm = parts.get('asm');
  const result = parts.get('result')?.split('\n').find((line) => line.trim() !== '');
  if (asm === undefined || result === undefined) throw new Error(`${name}: no asm or no result`);
  const lines = asm.split('\n').map((line) => line.replace(/#.*$/, '').trim());
  return {
    name,
    bytecode: assembleVector(asm),
    rawBytecode: rawSection === undefined ? undefined : words(rawSection),
    memory: hexBytes(parts.get('mem') ?? ''),
    result: BigInt.asUintN(64, BigInt(result.trim())),
    helpers: lines.flatMap((line) => (/^call \d+$/.test(line) ? [Number(line.slice(5))] : [])),
    callsRegister: lines.some((line) => line.startsWith('call %')),
  };
}

/** All vectors of the folder, by name. */
export function readVectors(): readonly Vector[] {
  const folder = new URL('vectors/', import.meta.url);
  return readdirSync(folder).filter((file) => file.endsWith('.data')).toSorted()
    .map((file) => parseVector(file.slice(0, -5), readFileSync(new URL(file, folder), 'utf8')));
}
