/**
 * @module kernel/helpers/direct
 * The second form of helpers that programs call often and that need nothing of their call but its arguments. Each does what the helper of
 * the same id in the other files does for a verified program; where the arguments are not what such a program has, it declines.
 */
import * as U from '../../isa/uapi.ts';
import { DECLINED, type DirectHelper, type DirectHelpers, type MemoryHelper, type ParameterHelper } from '../../vm/direct.ts';
import type { KernelState } from '../state.ts';

const WORD = 0x100000000;

/** Direct forms by `BPF_FUNC_*`. */
export function directHelpers(kernel: KernelState): DirectHelpers {
  let made: DirectHelpers | undefined;
  // Only compiled code asks: many kernels compile nothing.
  return { get: (id) => (made ??= new Map<number, DirectHelper>([...mapHelpers(kernel), ...timeAndTask(kernel)])).get(id) };
}

function mapHelpers(kernel: KernelState): (readonly [number, ParameterHelper])[] {
  return [
    [U.BPF_FUNC_map_lookup_elem, {
      parameters: ['low', 'low'], result: 'pointer',
      call: (map, key) => {
        const found = kernel.mapAt(map);
        return found === undefined ? DECLINED : Math.max(found.lookup(key), 0);
      },
    }],
    [U.BPF_FUNC_map_update_elem, {
      parameters: ['low', 'low', 'low', 'pair'], result: 'signed',
      call: (map, key, value, lo, hi) => kernel.mapAt(map)?.update(key, value, { lo, hi }) ?? DECLINED,
    }],
    [U.BPF_FUNC_map_delete_elem, { parameters: ['low', 'low'], result: 'signed', call: (map, key) => kernel.mapAt(map)?.remove(key) ?? DECLINED }],
    [U.BPF_FUNC_map_push_elem, {
      parameters: ['low', 'low', 'pair'], result: 'signed', call: (map, value, lo, hi) => kernel.mapAt(map)?.push(value, { lo, hi }) ?? DECLINED,
    }],
    [U.BPF_FUNC_map_pop_elem, { parameters: ['low', 'low'], result: 'signed', call: (map, value) => kernel.mapAt(map)?.pop(value) ?? DECLINED }],
    [U.BPF_FUNC_map_peek_elem, { parameters: ['low', 'low'], result: 'signed', call: (map, value) => kernel.mapAt(map)?.peek(value) ?? DECLINED }],
    [U.BPF_FUNC_map_lookup_percpu_elem, {
      parameters: ['low', 'low', 'low'], result: 'pointer',
      call: (map, key, cpu) => {
        const found = kernel.mapAt(map);
        return found === undefined ? DECLINED : Math.max(found.lookupPerCPU(key, cpu >>> 0), 0);
      },
    }],
  ];
}

function timeAndTask(kernel: KernelState): (readonly [number, DirectHelper])[] {
  const { sources } = kernel;
  const now: MemoryHelper = {
    arguments: 0,
    bind: (registers) => () => {
      const { i32 } = registers;
      const time = sources.now();
      i32[0] = time % WORD;
      i32[1] = Math.floor(time / WORD);
    },
  };
  return [
    [U.BPF_FUNC_ktime_get_ns, now], [U.BPF_FUNC_ktime_get_boot_ns, now], [U.BPF_FUNC_ktime_get_coarse_ns, now],
    [U.BPF_FUNC_get_prandom_u32, { parameters: [], result: 'unsigned', call: () => kernel.random() | 0 }],
    [U.BPF_FUNC_get_smp_processor_id, { parameters: [], result: 'unsigned', call: () => kernel.currentCPU }],
  ];
}
