/**
 * @module src/node/index
 * What the library adds under Node: the kernel's types that come with the package, and the platform's cryptography.
 *
 * @example
 * import { Kernel } from 'bpftwin';
 * import { installNodeCrypto, loadKernelBTF } from 'bpftwin/node';
 * installNodeCrypto();
 * const kernel = new Kernel({ kernelBTF: () => loadKernelBTF() });
 */
export { loadKernelBTF } from './kernel-btf.ts';
export { createNodeProvider, installNodeCrypto } from './native-crypto.ts';
