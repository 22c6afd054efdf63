/**
 * @module isa/opcodes
 * Operation codes that loaders need: they look at few instructions and do without the table of all.
 */

/** `code` of the two-slot load of a 64-bit immediate. */
export const LD_IMM64 = 0x18;
