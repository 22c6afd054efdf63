/**
 * @module vm/ops
 * The dense operations that both engines execute: every form of an eBPF instruction (RFC 9669 section 4 and 5, and the internal
 * opcodes of include/linux/filter.h that Linux's verifier puts into rewritten programs) has one number. Owns the numbering;
 * `vm/program` maps bytes to it.
 *
 * Suffixes: `k` immediate, `x` register; loads and stores end in `f` (inside the memory), `c` (checked against live
 * allocations), `p` (BTF pointer: a fault reads 0), `a` (arena window: a fault reads 0 or is dropped).
 */

const BINARY = ['add', 'sub', 'mul', 'div', 'sdiv', 'mod', 'smod', 'or', 'and', 'lsh', 'rsh', 'arsh', 'xor', 'mov'] as const;
const CONDITIONS = ['jeq', 'jgt', 'jge', 'jset', 'jne', 'jsgt', 'jsge', 'jlt', 'jle', 'jslt', 'jsle'] as const;
const WIDTHS = ['8', '16', '32', '64'] as const;
const SIGNED_WIDTHS = ['s8', 's16', 's32'] as const;

/** Names by number. The order is part of the generated interpreter: a change means generating it anew. */
export const OPS: readonly string[] = [
  // 0: the prefix of the stepping image (exact budget, trace, coverage)
  'step',
  ...BINARY.flatMap((name) => [`${name}64k`, `${name}64x`, `${name}32k`, `${name}32x`]),
  // Shifts by a constant of 32 and more move whole words.
  'lsh64kh', 'rsh64kh', 'arsh64kh',
  'movs8_64', 'movs16_64', 'movs32_64', 'movs8_32', 'movs16_32',
  'neg64', 'neg32', 'bswap16', 'bswap32', 'bswap64', 'zext16', 'lddw', 'nop', 'castuser', 'percpu',
  'ja', ...CONDITIONS.flatMap((name) => [`${name}64k`, `${name}64x`, `${name}32k`, `${name}32x`]),
  'gotox', 'maygoto', 'call', 'helper', 'callx', 'kfunc', 'tailcall', 'exit', 'ldabs', 'ldind',
  ...['f', 'c', 'p', 'a'].flatMap((kind) => [...WIDTHS, ...SIGNED_WIDTHS].map((width) => `ld${width}${kind}`)),
  ...['f', 'c', 'a'].flatMap((kind) => WIDTHS.flatMap((width) => [`st${width}k${kind}`, `st${width}x${kind}`])),
  'ldarg', 'stargk', 'stargx', 'atomic', 'bad', 'badtarget',
];

/** Numbers by name. */
export const OP: Readonly<Record<string, number>> = Object.fromEntries(OPS.map((name, number) => [name, number]));

/** Number of an operation; a name that is none is a bug. */
export function op(name: string): number {
  const number = OP[name];
  if (number === undefined) throw new RangeError(`no operation ${name}`);
  return number;
}
