/**
 * @module kernel/lsm
 * Programs that are attached to LSM hooks: which hook, in which order, what they are given and what they answered. Owns their calls; the
 * hooks themselves are asked where the system call comes to them (`state.ts`, `syscall/`). Reproduces the trampolines of `bpf_lsm_*`
 * functions (kernel/bpf/bpf_lsm.c, trampoline.c): arguments as 64-bit words, the first answer that is not 0 decides.
 */
import { EFAULT } from '../isa/errno.ts';
import { ATTR_SIZE } from '../isa/attr.ts';
import type { KernelMemory } from './memory.ts';
import type { BPFProgram } from './program.ts';
import type { RunOutcome } from './run.ts';

/** Functions that hooks call begin so; what follows is the hook's name. */
const HOOK_PREFIX = 'bpf_lsm_';
/** No hook of the system call has more than four arguments. */
const ARGUMENT_BYTES = 64;

/** An argument of a hook: a number, something in kernel memory (0 for null), or a copy of the attributes of the system call. */
export type HookArgument = number | { readonly at: number } | { readonly attr: Uint8Array };

/** One attached program, and what it did since. */
export interface AttachedLSMProgram {
  readonly program: BPFProgram;
  readonly hook: string;
  readonly runs: number;
  /** Runs whose answer refused what was asked. */
  readonly refusals: number;
  /** Why a run ended early: what the machine does not have. Such a run refuses with `-EFAULT`. */
  readonly fault: string | undefined;
}

interface Entry extends AttachedLSMProgram {
  runs: number;
  refusals: number;
  fault: string | undefined;
  /** Memory of the arguments and of a copy of the attributes. */
  readonly scratch: number;
  isRunning: boolean;
}

/** What performs a program with `r1` = the address of `ctx`. */
export interface ProgramRunner {
  run(program: BPFProgram, ctx: number): RunOutcome;
}

export class LSMPrograms {
  private readonly memory: KernelMemory;
  private readonly runner: () => ProgramRunner | undefined;
  private readonly notes: () => readonly string[];
  private readonly entries: Entry[] = [];

  constructor(memory: KernelMemory, runner: () => ProgramRunner | undefined, notes: () => readonly string[]) {
    this.memory = memory;
    this.runner = runner;
    this.notes = notes;
  }

  /** A link to the program came to be; the result ends it. `undefined` where there is no memory for what the program is given. */
  attach(program: BPFProgram): (() => void) | undefined {
    const name = program.attachBTF?.btf.typeName(program.attachBTFID) ?? '', scratch = this.memory.tryAlloc(ARGUMENT_BYTES + ATTR_SIZE, 'LSM arguments');
    if (scratch === 0) return undefined;
    const entry: Entry = {
      program, hook: name.startsWith(HOOK_PREFIX) ? name.slice(HOOK_PREFIX.length) : name, runs: 0, refusals: 0, fault: undefined, scratch, isRunning: false,
    };
    this.entries.push(entry);
    return () => {
      this.entries.splice(this.entries.indexOf(entry), 1);
      this.memory.free(scratch);
    };
  }

  /** In the order of attachment. */
  get attached(): readonly AttachedLSMProgram[] {
    return this.entries;
  }

  /** Asks the programs of a hook one after the other: 0, or the first other answer. */
  ask(hook: string, args: readonly HookArgument[]): number {
    if (this.entries.length === 0) return 0;
    for (const entry of this.entries.filter((candidate) => candidate.hook === hook)) {
      const answer = this.run(entry, args);
      if (answer !== 0) return answer;
    }
    return 0;
  }

  private run(entry: Entry, args: readonly HookArgument[]): number {
    const { scratch } = entry, attr = scratch + ARGUMENT_BYTES, { space, view, u8 } = this.memory;
    // A program does not interrupt itself (`__bpf_prog_enter_recur`). The word behind the arguments is the answer so far, which is 0.
    if (entry.isRunning) return 0;
    u8.fill(0, scratch, attr + ATTR_SIZE);
    for (const [i, argument] of args.entries()) {
      if (typeof argument === 'number') view.setBigInt64(scratch + 8 * i, BigInt(argument), true);
      else if ('at' in argument) space.setPointer(scratch + 8 * i, argument.at);
      else {
        space.setBytes(attr, argument.attr.subarray(0, ATTR_SIZE));
        space.setPointer(scratch + 8 * i, attr);
      }
    }
    entry.isRunning = true;
    try {
      const outcome = this.runner()?.run(entry.program, scratch);
      entry.runs++;
      if (outcome?.fault !== undefined) entry.fault = this.notes().at(-1) ?? outcome.fault.kind;
      const answer = outcome === undefined ? 0 : outcome.fault === undefined ? outcome.retval | 0 : -EFAULT;
      if (answer !== 0) entry.refusals++;
      return answer;
    } finally {
      entry.isRunning = false;
    }
  }
}
