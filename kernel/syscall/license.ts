/**
 * @module kernel/syscall/license
 * Which licence strings let a program use GPL-only helpers. Source: include/linux/license.h.
 */

const COMPATIBLE: ReadonlySet<string> = new Set([
  'GPL', 'GPL v2', 'GPL and additional rights', 'Dual BSD/GPL', 'Dual MIT/GPL', 'Dual MPL/GPL',
]);

/** `license_is_gpl_compatible` */
export function isGPLCompatible(license: string): boolean {
  return COMPATIBLE.has(license);
}
