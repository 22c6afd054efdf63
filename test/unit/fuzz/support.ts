/** What targets need in tests. */
import { readFileSync } from 'node:fs';
import { Coverage } from '../../../src/fuzz/coverage.ts';
import type { TargetEnvironment } from '../../../src/fuzz/types.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';

const root = new URL('../../../', import.meta.url);

export function file(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(name, root)));
}

/** An environment of its own; with the kernel's BTF where asked for. */
export function environment(withBTF = false): TargetEnvironment {
  const bytes = withBTF ? loadKernelBTF() : undefined;
  return { coverage: new Coverage(), file, ...(bytes === undefined ? {} : { kernelBTF: () => bytes }) };
}
