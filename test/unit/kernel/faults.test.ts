/** Every system call, allocation and descriptor of a whole load fails once: nothing may be left behind. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { FaultInjector } from '../../../kernel/api.ts';
import { Kernel } from '../../../kernel/kernel.ts';
import { EMFILE, ENOMEM } from '../../../isa/errno.ts';
import * as U from '../../../isa/uapi.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { destroySkeleton, isLoaded, loadAndRun } from '../../../loader/load-and-run.ts';
import { parseLightSkeleton } from '../../../loader/lskel.ts';
import { Caller, instructions, u32 } from './support.ts';

function skeleton(name: string): ReturnType<typeof parseLightSkeleton> {
  const path = new URL(`../../fixtures/unsigned/${name}.lskel.h`, import.meta.url);
  return parseLightSkeleton(new Uint8Array(readFileSync(path)), name);
}

/** Live allocations but for the machine's own stacks, which outlive runs, and the caller's user memory. */
function live(kernel: Kernel): string[] {
  return kernel.memory.live().map((allocation) => allocation.label).filter((label) => label !== 'program stack').toSorted();
}

/** Performs `body` with the k-th event of a kind failing, for each k until none fails any more; the number of failures. */
function everyFault(body: (kernel: Kernel, fault: () => boolean) => void, kind: 'memory' | 'fd' | 'call', makeKernel: () => Kernel): number {
  for (let k = 1; ; k++) {
    const kernel = makeKernel();
    const before = live(kernel);
    let hit = false;
    const faults: FaultInjector = kind === 'call'
      ? { systemCall: (count) => { hit ||= count === k; return count === k ? -ENOMEM : undefined; } }
      : { allocation: (count, what) => { const isHit = what === kind && count === k; hit ||= isHit; return isHit; } };
    kernel.injectFaults(faults);
    body(kernel, () => hit);
    kernel.injectFaults(undefined);
    const objects = kernel.objects();
    expect([k, objects.files.filter((file) => file.fd > 2), objects.maps, objects.programs, objects.btfs]).toEqual([k, [], [], [], []]);
    expect([k, ...live(kernel)]).toEqual([k, ...before]);
    if (!hit) return k - 1;
  }
}

const bytes = loadKernelBTF();
const kernelBTF = (): Uint8Array => bytes;

describe('a load under faults', () => {
  for (const name of ['maps', 'mapinmap', 'tailcalls']) {
    const loaded = skeleton(name);
    for (const kind of ['memory', 'fd', 'call'] as const) {
      it(`leaves nothing of ${name} when the k-th ${kind} fails`, () => {
        const failures = everyFault((kernel, fault) => {
          const result = loadAndRun(kernel, loaded);
          if (isLoaded(result)) destroySkeleton(kernel, result);
          else expect(fault(), result.message).toBe(true);
        }, kind, () => new Kernel({ kernelBTF }));
        expect(failures).toBeGreaterThan(4);
      });
    }
  }
});

describe('maps under faults', () => {
  const kinds = [
    [U.BPF_MAP_TYPE_HASH, 4, 8, 0], [U.BPF_MAP_TYPE_HASH, 4, 8, U.BPF_F_NO_PREALLOC], [U.BPF_MAP_TYPE_PERCPU_HASH, 4, 8, U.BPF_F_NO_PREALLOC],
    [U.BPF_MAP_TYPE_LRU_HASH, 4, 8, 0], [U.BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 8, 0], [U.BPF_MAP_TYPE_ARRAY, 4, 8, 0],
    [U.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 0], [U.BPF_MAP_TYPE_RINGBUF, 0, 0, 0], [U.BPF_MAP_TYPE_LPM_TRIE, 8, 8, U.BPF_F_NO_PREALLOC],
    [U.BPF_MAP_TYPE_QUEUE, 0, 8, 0], [U.BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 0],
  ] as const;
  it.each(kinds)('leave nothing: type %i', (type, key, value, flags) => {
    everyFault((kernel, fault) => {
      const c = new Caller({}, kernel);
      const fd = c.map(type, key, value, type === U.BPF_MAP_TYPE_RINGBUF ? 4096 : 4, { map_flags: flags });
      if (fd < 0) {
        expect([-ENOMEM, -EMFILE]).toContain(fd);
        expect(fault()).toBe(true);
      } else {
        for (let i = 0; i < 3; i++) c.update(fd, type === U.BPF_MAP_TYPE_LPM_TRIE ? u32(32, i) : u32(i), u32(...Array.from({ length: 2 * 64 }, () => i)));
        c.call('MAP_DELETE_ELEM', { map_fd: fd, key: u32(1, 1) });
        kernel.close(fd);
      }
      c.release();
    }, 'memory', () => new Kernel());
  });

  it('programs leave nothing, with what they refer to', () => {
    const failures = everyFault((kernel) => {
      const c = new Caller({}, kernel);
      const map = c.map(U.BPF_MAP_TYPE_ARRAY, 4, 8, 1);
      const program = c.call('PROG_LOAD', {
        prog_type: U.BPF_PROG_TYPE_SOCKET_FILTER, insn_cnt: 4, license: new TextEncoder().encode('GPL\0'),
        insns: instructions([0x18, 0x11, 0, map], [0, 0, 0, 0], [0xb7, 0, 0, 0], [0x95, 0, 0, 0]),
      });
      if (map >= 0) kernel.close(map);
      if (program >= 0) kernel.close(program);
      c.release();
    }, 'memory', () => new Kernel());
    expect(failures).toBeGreaterThan(1);
  });
});
