/**
 * @module kernel/helpers/format
 * The format strings of `bpf_trace_printk`, `bpf_snprintf` and their like: which conversions are allowed, and their text.
 * Reproduces `bpf_bprintf_prepare` (kernel/bpf/helpers.c) and the conversions of lib/vsprintf.c that it lets through.
 */
import { EINVAL } from '../../isa/errno.ts';
import { isNull } from '../memory.ts';
import type { KernelState } from '../state.ts';

/** Longest text that one call produces (`MAX_BPRINTF_BUF`) and longest string argument. */
const MAX_TEXT = 1024;
const MAX_STRING = 512;

/** One conversion: flags and width, its letters. */
interface Conversion {
  readonly flags: string;
  readonly width: number;
  /** `d`, `i`, `u`, `x`, `X`, `c`, `s`, `p`, `ps`, `pS`, `pK`, `px`, `pB`, `pks`, `pus`, `pi4`, `pI6` … */
  readonly kind: string;
  /** Bytes of an integer argument. */
  readonly size: 4 | 8;
}

type Piece = string | Conversion;

function isSpace(char: string): boolean {
  return char === ' ' || (char >= '\t' && char <= '\r') || char === '\u00a0';
}

function isPunctuation(char: string): boolean {
  return /[!-/:-@[-`{-~]/.test(char);
}

function endsWord(char: string | undefined): boolean {
  return char === undefined || isSpace(char) || isPunctuation(char);
}

/** The pieces of a format with at most `count` conversions; `-EINVAL` where the kernel refuses it. */
export function parseFormat(format: string, count: number): readonly Piece[] | number {
  const pieces: Piece[] = [];
  let used = 0;
  for (let i = 0; i < format.length; i++) {
    const char = format.charAt(i);
    const code = format.charCodeAt(i);
    if (code < 0x80 && (code < 0x20 || code === 0x7f) && !isSpace(char)) return -EINVAL;
    if (char !== '%') {
      pieces.push(char);
      continue;
    }
    if (format[i + 1] === '%') {
      pieces.push('%');
      i++;
      continue;
    }
    if (used >= count) return -EINVAL;
    const parsed = parseConversion(format, i + 1);
    if (parsed === undefined) return -EINVAL;
    pieces.push(parsed.conversion);
    used++;
    i = parsed.last;
  }
  return pieces;
}

function parseConversion(format: string, start: number): { conversion: Conversion; last: number } | undefined {
  if (format.charCodeAt(start) >= 0x80) return undefined;
  const head = /^[0+\- ]*([1-9][0-9]*)?/.exec(format.slice(start)) ?? [''];
  const flags = head[0].slice(0, head[0].length - (head[1]?.length ?? 0));
  const width = Math.min(Number(head[1] ?? 0), MAX_TEXT);
  const at = start + head[0].length;
  const make = (kind: string, last: number, size: 4 | 8 = 8): { conversion: Conversion; last: number } => ({
    conversion: { flags, width, kind, size }, last,
  });
  const next = format[at + 1];
  switch (format[at]) {
    case 'p':
      if (endsWord(next)) return make('p', at);
      if ((next === 'k' || next === 'u') && format[at + 2] === 's') return endsWord(format[at + 3]) ? make(`p${next}s`, at + 2) : undefined;
      if (next !== undefined && 'KxsSB'.includes(next)) return make(`p${next}`, at + 1);
      if ((next === 'i' || next === 'I') && (format[at + 2] === '4' || format[at + 2] === '6')) return make(`p${next}${format[at + 2]}`, at + 2);
      return undefined;
    case 's':
      return endsWord(next) ? make('s', at) : undefined;
    case 'c':
      return make('c', at);
    default:
      return parseInteger(format, at, make);
  }
}

function parseInteger(
  format: string, start: number, make: (kind: string, last: number, size: 4 | 8) => { conversion: Conversion; last: number },
): { conversion: Conversion; last: number } | undefined {
  let at = start;
  while (at < start + 2 && format[at] === 'l') at++;
  const letter = format[at];
  if (letter === undefined || !'iduxX'.includes(letter)) return undefined;
  return make(letter, at, at > start ? 8 : 4);
}

/** The text of a format with 64-bit arguments; `-EINVAL` where the format is refused. */
export function formatText(kernel: KernelState, format: string, args: readonly bigint[]): string | number {
  const pieces = parseFormat(format, args.length);
  if (typeof pieces === 'number') return pieces;
  let text = '';
  let used = 0;
  for (const piece of pieces) text += typeof piece === 'string' ? piece : convert(kernel, piece, args[used++] ?? 0n);
  return text;
}

function pad(text: string, conversion: Conversion, mayZero: boolean): string {
  if (text.length >= conversion.width) return text;
  if (conversion.flags.includes('-')) return text.padEnd(conversion.width);
  if (mayZero && conversion.flags.includes('0')) {
    const sign = /^[-+ ]/.test(text) ? text.charAt(0) : '';
    return sign + text.slice(sign.length).padStart(conversion.width - sign.length, '0');
  }
  return text.padStart(conversion.width);
}

function convert(kernel: KernelState, conversion: Conversion, value: bigint): string {
  const { kind, size } = conversion;
  const unsigned = BigInt.asUintN(size * 8, value);
  switch (kind) {
    case 'd':
    case 'i': {
      const signed = BigInt.asIntN(size * 8, value);
      const plus = signed >= 0n ? (conversion.flags.includes('+') ? '+' : conversion.flags.includes(' ') ? ' ' : '') : '';
      return pad(plus + signed.toString(), conversion, true);
    }
    case 'u': return pad(unsigned.toString(), conversion, true);
    case 'x': return pad(unsigned.toString(16), conversion, true);
    case 'X': return pad(unsigned.toString(16).toUpperCase(), conversion, true);
    case 'c': return pad(String.fromCharCode(Number(value & 0xffn)), conversion, false);
    case 's':
    case 'pks': return pad(readText(kernel, value, true), conversion, false);
    case 'pus': return pad(readText(kernel, value, false), conversion, false);
    case 'pi4':
    case 'pI4':
    case 'pi6':
    case 'pI6': return pad(addressText(kernel, kind, value), conversion, false);
    default:
      // Pointers: %px as it is, the others hashed in the kernel; 16 digits either way.
      return pad(unsigned.toString(16).padStart(16, '0'), conversion, false);
  }
}

function words(value: bigint): { lo: number; hi: number } {
  return { lo: Number(value & 0xffffffffn), hi: Number(BigInt.asIntN(32, value >> 32n)) };
}

function readText(kernel: KernelState, value: bigint, isKernel: boolean): string {
  const pointer = { ...words(value), kernel: isKernel };
  const bytes = isNull(pointer) ? undefined : kernel.memory.readString(pointer, MAX_STRING - 1);
  return bytes === undefined ? '' : Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
}

function addressText(kernel: KernelState, kind: string, value: bigint): string {
  const size = kind.endsWith('4') ? 4 : 16;
  const bytes = kernel.memory.copyFrom({ ...words(value), kernel: true }, size) ?? new Uint8Array(size);
  if (kind === 'pI4') return Array.from(bytes).join('.');
  if (kind === 'pi4') return Array.from(bytes, (byte) => String(byte).padStart(3, '0')).join('.');
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16).padStart(4, '0'));
  return groups.join(kind === 'pI6' ? ':' : '');
}
