/**
 * @module kernel/helpers/syscall
 * Helpers of SYSCALL programs: `bpf_sys_bpf`, `bpf_sys_close`, lookups of kernel types and symbols. Reproduces the end of
 * kernel/bpf/syscall.c and `bpf_btf_find_by_name_kind` of kernel/bpf/btf.c.
 */
import { EINVAL, ENOENT } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import type { HelperCall } from '../../vm/types.ts';
import type { KernelState } from '../state.ts';
import { callFromProgram } from '../syscall/dispatch.ts';
import { high, low, pointer, setNumber } from './arguments.ts';
import type { HelperEntry } from './table.ts';

/** A NUL-terminated name of `size` bytes, `undefined` where the last byte is not NUL. */
function nameArgument(kernel: KernelState, at: number, size: number): string | undefined {
  if (size <= 1 || kernel.memory.u8[at + size - 1] !== 0) return undefined;
  let text = '';
  for (let i = 0; i < size - 1; i++) {
    const byte = kernel.memory.u8[at + i] ?? 0;
    if (byte === 0) break;
    text += String.fromCharCode(byte);
  }
  return text;
}

export function syscallHelpers(kernel: KernelState): HelperEntry[] {
  return [
    [U.BPF_FUNC_sys_bpf, (call) => {
      const attr = { lo: call.u32(2), hi: high(call, 2), kernel: true };
      call.setResult(callFromProgram(kernel, low(call, 1), attr, call.u32(3)));
    }],
    [U.BPF_FUNC_sys_close, (call) => call.setResult(kernel.files.close(low(call, 1)))],
    [U.BPF_FUNC_btf_find_by_name_kind, (call) => findType(kernel, call)],
    [U.BPF_FUNC_kallsyms_lookup_name, (call) => {
      const out = pointer(call, 4);
      kernel.memory.u8.fill(0, out, out + 8);
      if (low(call, 3) !== 0) return call.setResult(-EINVAL);
      const name = nameArgument(kernel, pointer(call, 1), call.u32(2));
      if (name === undefined) return call.setResult(-EINVAL);
      const address = kernel.symbols.lookup(name);
      if (address === undefined) return call.setResult(-ENOENT);
      kernel.memory.view.setInt32(out, address[0], true);
      kernel.memory.view.setInt32(out + 4, address[1], true);
      call.setResult(0);
    }],
  ];
}

/** `bpf_btf_find_by_name_kind`: the id, with the descriptor of the module's BTF in the upper half (never: there are no modules). */
function findType(kernel: KernelState, call: HelperCall): void {
  if (low(call, 4) !== 0) return call.setResult(-EINVAL);
  const name = nameArgument(kernel, pointer(call, 1), call.u32(2));
  if (name === undefined) return call.setResult(-EINVAL);
  const id = kernel.kernelBTF()?.findByNameKind(name, call.u32(3)) ?? 0;
  if (id === 0) return call.setResult(-ENOENT);
  setNumber(call, id);
}
