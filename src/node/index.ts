/**
 * @module src/node/index
 * What the library adds under Node: the kernel's types that come with the package, the platform's cryptography and its
 * optimising compiler.
 *
 * @example
 * import { Kernel } from 'bpftwin';
 * import { installNodeCrypto, loadKernelBTF, nodeEngine } from 'bpftwin/node';
 * installNodeCrypto();
 * const kernel = new Kernel({ kernelBTF: () => loadKernelBTF(), engine: nodeEngine() });
 */
export { compileOptimised, nodeEngine } from './engine.ts';
export { reproduce } from './fuzz-environment.ts';
export { loadKernelBTF } from './kernel-btf.ts';
export { createNodeProvider, installNodeCrypto } from './native-crypto.ts';
