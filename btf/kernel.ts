/**
 * @module btf/kernel
 * The kernel's own types, parsed once: everybody who is given the same bytes shares one type graph.
 */
import { BTF } from './btf.ts';

const PARSED: WeakMap<Uint8Array, BTF> = new WeakMap();

/**
 * The type graph of the kernel's raw BTF.
 *
 * @throws InputError where the bytes are no BTF
 *
 * @example
 * parseKernelBTF(bytes) === parseKernelBTF(bytes); // true
 */
export function parseKernelBTF(bytes: Uint8Array): BTF {
  let btf = PARSED.get(bytes);
  if (btf === undefined) {
    btf = BTF.parse(bytes, { name: 'vmlinux', isKernel: true });
    PARSED.set(bytes, btf);
  }
  return btf;
}
