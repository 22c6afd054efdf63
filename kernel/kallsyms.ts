/**
 * @module kernel/kallsyms
 * Addresses of kernel symbols. Names are those of the functions and variables in the kernel's BTF; addresses are made up, fixed
 * by the position in it: text from `0xffffffff81000000`, data from `0xffffffff83000000`, 64 bytes apart. Nothing lies at them:
 * reading one faults as reading unmapped memory does.
 */
import type { BTF } from '../btf/btf.ts';
import { BTF_KIND_FUNC, BTF_KIND_VAR } from '../isa/uapi.ts';

const TEXT_LO = 0x81000000 | 0;
const DATA_LO = 0x83000000 | 0;
const HIGH = -1;
const STEP = 64;
/**
 * Functions in the kernel's BTF alone: twins with all arguments that the build adds for functions with `KF_IMPLICIT_ARGS`
 * (tools/bpf/resolve_btfids). Other `_impl` functions are real ones.
 */
const WITHOUT_SYMBOL: ReadonlySet<string> = new Set([
  'bpf_list_add_impl', 'bpf_stream_print_stack_impl', 'bpf_stream_vprintk_impl', 'bpf_task_work_schedule_resume_impl',
  'bpf_task_work_schedule_signal_impl', 'bpf_wq_set_callback_impl',
]);

export class KernelSymbols {
  private readonly btf: () => BTF | undefined;

  constructor(btf: () => BTF | undefined) {
    this.btf = btf;
  }

  /** Address halves of a symbol (int32), `undefined` for an unknown name. */
  lookup(name: string): readonly [lo: number, hi: number] | undefined {
    const btf = this.btf();
    if (btf === undefined || WITHOUT_SYMBOL.has(name)) return undefined;
    const func = btf.findByNameKind(name, BTF_KIND_FUNC);
    if (func > 0) return [(TEXT_LO + func * STEP) | 0, HIGH];
    const variable = btf.findByNameKind(name, BTF_KIND_VAR);
    return variable > 0 ? [(DATA_LO + variable * STEP) | 0, HIGH] : undefined;
  }
}
