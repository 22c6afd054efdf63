/** CO-RE relocations that `BPF_PROG_LOAD` applied on Linux 7.3.4: errno and the log of every step, candidate caches included. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { BTF } from '../../btf/btf.ts';
import { applyCoreRelocation, CoreCandidateCache } from '../../btf/core_apply.ts';
import { readCoreRelocation } from '../../btf/ext.ts';
import { loadKernelBTF } from '../../src/node/kernel-btf.ts';

interface Recorded {
  readonly name: string;
  readonly instructions: string;
  readonly relocations: string;
  readonly errno: number;
  readonly log: string;
}

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const [first, ...lines] = gunzipSync(readFileSync(new URL('data/core-relo.jsonl.gz', import.meta.url))).toString('utf8').trim().split('\n');

describe('CO-RE relocations that a real kernel applied', () => {
  it('end in the same errno and log', () => {
    const kernelBTF = BTF.parse(loadKernelBTF(), { name: 'vmlinux', isKernel: true });
    const btf = BTF.parse(bytesOf((JSON.parse(first ?? '') as { btf: string }).btf));
    // One cache for all of them, as in the one kernel that recorded them.
    const cache = new CoreCandidateCache();
    expect(lines.length).toBeGreaterThan(45);
    for (const line of lines) {
      const { name, instructions, relocations, errno, log } = JSON.parse(line) as Recorded;
      const program = bytesOf(instructions);
      const records = bytesOf(relocations);
      let text = '';
      let result = 0;
      for (let i = 0; i < records.length / 16 && result === 0; i++) {
        const relo = readCoreRelocation(new DataView(records.buffer), i * 16);
        const context = { btf, kernelBTF, cache, log: { write: (part: string) => { text += part; } }, isVerbose: true };
        result = applyCoreRelocation(context, relo, i, program);
      }
      expect({ name, errno: Math.abs(result), log: text }).toEqual({ name, errno, log });
    }
  });
});
