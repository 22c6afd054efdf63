/** `BPF_BTF_LOAD` on the kernel's own BTF tests and mutations of them, against what Linux 7.3.4 answered: errno and whole log. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { BTF } from '../../btf/btf.ts';
import { checkBTF } from '../../btf/check.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';

interface Recorded {
  readonly name: string;
  readonly btf: string;
  readonly errno: number;
  readonly log: string;
}

const records = gunzipSync(readFileSync(new URL('data/btf-load.jsonl.gz', import.meta.url))).toString('utf8').trim().split('\n')
  .map((line) => JSON.parse(line) as Recorded);

describe('BTF that a real kernel judged', () => {
  it('gets the same errno and log', () => {
    const kernel = BTF.parse(loadKernelBTF(), { name: 'vmlinux', isKernel: true });
    const different: { name: string; got: unknown; want: unknown }[] = [];
    for (const { name, btf, errno, log } of records) {
      let text = '';
      const got = checkBTF(Uint8Array.from(Buffer.from(btf, 'hex')), { log: { write: (part) => { text += part; } }, kernelBTF: () => kernel });
      if (got.errno !== errno || text !== log) different.push({ name, got: { errno: got.errno, log: text }, want: { errno, log } });
    }
    expect(records.length).toBeGreaterThan(1000);
    expect(different).toEqual([]);
  });
});
