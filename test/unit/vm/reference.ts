/**
 * @module test/unit/vm/reference
 * What single instructions mean, written once more from RFC 9669 section 4 and 5 in BigInt, independently of the engines.
 */
const M64 = (1n << 64n) - 1n;
const M32 = (1n << 32n) - 1n;
const s64 = (value: bigint): bigint => BigInt.asIntN(64, value);
const s32 = (value: bigint): bigint => BigInt.asIntN(32, value);

/** `dst OP src` for both widths; values are unsigned 64-bit. */
export function arithmetic(operation: string, width: number, dst: bigint, src: bigint): bigint {
  if (width === 64) return BigInt.asUintN(64, wide(operation, dst, src));
  return BigInt.asUintN(32, narrow(operation, dst & M32, src & M32));
}

function wide(operation: string, a: bigint, b: bigint): bigint {
  switch (operation) {
    case 'add': return a + b;
    case 'sub': return a - b;
    case 'mul': return a * b;
    case 'div': return b === 0n ? 0n : a / b;
    case 'mod': return b === 0n ? a : a % b;
    case 'sdiv': return b === 0n ? 0n : s64(a) / s64(b);
    case 'smod': return b === 0n ? a : s64(a) % s64(b);
    case 'or': return a | b;
    case 'and': return a & b;
    case 'xor': return a ^ b;
    case 'mov': return b;
    case 'lsh': return a << (b & 63n);
    case 'rsh': return a >> (b & 63n);
    case 'arsh': return s64(a) >> (b & 63n);
    default: throw new Error(operation);
  }
}

function narrow(operation: string, a: bigint, b: bigint): bigint {
  switch (operation) {
    case 'sdiv': return b === 0n ? 0n : s32(a) / s32(b);
    case 'smod': return b === 0n ? a : s32(a) % s32(b);
    case 'lsh': return a << (b & 31n);
    case 'rsh': return a >> (b & 31n);
    case 'arsh': return s32(a) >> (b & 31n);
    default: return wide(operation, a, b);
  }
}

/** Is the jump taken? */
export function condition(operation: string, width: number, dst: bigint, src: bigint): boolean {
  const a = width === 64 ? dst : dst & M32;
  const b = width === 64 ? src : src & M32;
  const sa = BigInt.asIntN(width, a);
  const sb = BigInt.asIntN(width, b);
  switch (operation) {
    case 'jeq': return a === b;
    case 'jne': return a !== b;
    case 'jset': return (a & b) !== 0n;
    case 'jgt': return a > b;
    case 'jge': return a >= b;
    case 'jlt': return a < b;
    case 'jle': return a <= b;
    case 'jsgt': return sa > sb;
    case 'jsge': return sa >= sb;
    case 'jslt': return sa < sb;
    case 'jsle': return sa <= sb;
    default: throw new Error(operation);
  }
}

/** Bytes of the low `width` bits in the other order. */
export function swapped(value: bigint, width: number): bigint {
  let result = 0n;
  for (let byte = 0; byte < width / 8; byte++) result = (result << 8n) | ((value >> BigInt(8 * byte)) & 0xffn);
  return result;
}

export function truncated(value: bigint, width: number): bigint {
  return BigInt.asUintN(width, value);
}

/** The low `from` bits with their sign spread over `width` bits, zero above. */
export function signExtended(value: bigint, from: number, width: number): bigint {
  return BigInt.asUintN(width, BigInt.asIntN(from, value)) & M64;
}

/** New memory value and value fetched of an atomic operation on `width` bits. */
export function atomicResult(operation: string, width: number, memory: bigint, src: bigint, r0: bigint): bigint {
  const operand = truncated(src, width);
  switch (operation.replace('fetch_', '')) {
    case 'add': return truncated(memory + operand, width);
    case 'or': return memory | operand;
    case 'and': return memory & operand;
    case 'xor': return memory ^ operand;
    case 'xchg': return operand;
    case 'cmpxchg': return memory === truncated(r0, width) ? operand : memory;
    default: throw new Error(operation);
  }
}
