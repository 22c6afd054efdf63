/**
 * @module kernel/run
 * Runs programs of a kernel instance on the machine: helpers, kfuncs, tail calls, packets are wired here. Owns the machine; what a
 * helper does is in `helpers/`.
 */
import { within } from '../isa/phases.ts';
import { BPF_MAP_TYPE_PROG_ARRAY } from '../isa/uapi.ts';
import { KERNEL_HI } from '../vm/address-space.ts';
import { Machine } from '../vm/machine.ts';
import type { Fault, HelperCall, Program, ProgramImage, Tier } from '../vm/types.ts';
import { high } from './helpers/arguments.ts';
import { directHelpers } from './helpers/direct.ts';
import { inModuleHelpers } from './helpers/in-module.ts';
import { type HelperTable, lateHelpers } from './helpers/table.ts';
import { callKfunc } from './helpers/kfuncs.ts';
import { ArenaMap } from './maps/arena.ts';
import { ProgArrayMap } from './maps/fd-array.ts';
import { InsnArrayMap } from './maps/special.ts';
import { BPFProgram, type OwnedImage } from './program.ts';
import { CLOCK_STEP } from './sources.ts';
import type { KernelState } from './state.ts';

/** What a run is about; helpers find it in `HelperCall.context`. */
export interface RunContext {
  readonly kernel: KernelState;
  readonly program: BPFProgram;
  /** Packet of the run, for kinds that have one. */
  readonly packet?: PacketBuffer;
  /** Records that the run cannot go on and why, for the report of an unsupported helper. */
  readonly notes: string[];
}

/** Packet data in kernel memory; what lies behind the linear part follows it directly. */
export interface PacketBuffer {
  readonly kind: 'skb' | 'xdp' | 'other';
  /** Offset of the first byte now. */
  data: number;
  /** Bytes from there on, of which `linear` may be accessed directly. */
  length: number;
  linear: number;
  /** Bytes from `data` to the network header and to the link layer's, for relative loads. */
  network: number;
  link: number;
  /** Makes room before and behind the packet, which may move; false where there is no memory. */
  reserve(front: number, back: number): boolean;
  /** Writes `data`, `length` and `linear` into the structure that programs see. */
  sync(): void;
  /** The structure that programs see. */
  readonly address: number;
}

/** A program that was not verified is one function. */
const ENTRY_ONLY: readonly number[] = [0];

/** What a run gave back. */
export interface RunOutcome {
  readonly retval: number;
  readonly fault: Fault | undefined;
  readonly instructions: number;
}

export class Runner {
  private readonly kernel: KernelState;
  private readonly tier: Tier;
  private made: Machine | undefined = undefined;
  /** What the machine calls; its entries change, see {@link lateHelpers}. */
  helpers: HelperTable = [];
  private memoryBytes = 0;

  constructor(kernel: KernelState) {
    this.kernel = kernel;
    this.tier = kernel.options.engine?.tier ?? 'auto';
  }

  /** Made when it is first asked for: many kernels run nothing. */
  get machine(): Machine {
    return this.made ??= this.makeMachine();
  }

  private makeMachine(): Machine {
    const { kernel } = this;
    const { engine } = kernel.options;
    return new Machine({
      space: kernel.memory.space,
      helpers: (this.helpers = lateHelpers(kernel)),
      directHelpers: directHelpers(kernel),
      ...(kernel.phases === undefined ? {} : { phases: kernel.phases }),
      ...(engine?.compileOptimised === undefined ? {} : { compileOptimised: engine.compileOptimised }),
      ...(engine?.clock === undefined ? {} : { clock: engine.clock }),
      ...(engine?.inModule === false ? {} : { inlineHelpers: inModuleHelpers(kernel.sources) }),
      kfunc: (call, btfID, offset) => callKfunc(kernel, call, btfID, offset),
      tailCall: (call, mapLo, index) => this.tailCall(mapLo >>> 0, index, high(call, 3)),
      loadPacket: (call, offset, size) => loadPacket(call, offset, size),
    });
  }

  /** Ends what the machine keeps of a program. */
  forget(program: BPFProgram): void {
    if (program.prepared !== undefined) this.machine.unload(program.prepared);
    program.prepared = undefined;
  }

  private tailCall(mapOffset: number, index: number, indexHi: number): Program | undefined {
    const map = this.kernel.mapAt(mapOffset);
    if (!(map instanceof ProgArrayMap) || map.type !== BPF_MAP_TYPE_PROG_ARRAY) return undefined;
    // The check that the verifier adds for users without CAP_PERFMON takes the whole register, the call itself 32 bits.
    if (indexHi !== 0 && !map.bypassesSpecV1) return undefined;
    const target = map.programAt(index);
    return target instanceof BPFProgram ? this.prepare(target) : undefined;
  }

  /** The program as the machine wants it. */
  prepare(program: BPFProgram): Program {
    if (program.prepared !== undefined) return program.prepared;
    const { verified } = program;
    const isVerified = verified?.fullyVerified === true;
    const image: OwnedImage = {
      owner: program, name: program.name, instructions: verified?.instructions ?? program.instructions, subprograms: verified?.subprograms ?? ENTRY_ONLY,
      stackDepths: isVerified ? verified.stackDepths : (verified?.stackDepths ?? ENTRY_ONLY).map(() => 512),
      verified: isVerified,
      arena: arenaOf(program),
      jumpTargets: jumpTargets(program),
      exceptionCallback: verified?.exceptionCallback,
    };
    const { phases } = this.kernel;
    const prepared = phases === undefined ? this.machine.load(image) : within(phases, 'compile', () => this.machine.load(image));
    program.prepared = prepared;
    return prepared;
  }

  /**
   * Runs a program `times` times (at least once) on the same context, until a fault: what the last run gave. The runs of a program that
   * calls nothing are one call of its code after the first one.
   */
  repeat(program: BPFProgram, times: number, ctx: number, packet?: PacketBuffer): RunOutcome {
    let outcome = this.run(program, ctx, packet);
    const prepared = this.prepare(program);
    const rest = times - 1;
    if (rest > 0 && outcome.fault === undefined && ctx !== 0 && !prepared.callsOut && program.verified?.fullyVerified === true) {
      const entry = this.machine.entry(prepared, { tier: this.tier });
      const retval = entry.repeat(ctx, rest);
      const { fault, instructions } = entry.result();
      // Each run reads the clock when it begins, and again when it ends where somebody counts.
      const counts = this.kernel.statsUsers > 0;
      const { sources } = this.kernel;
      sources.advance(rest * CLOCK_STEP * (counts ? 2 : 1));
      if (counts) {
        program.runCount += rest;
        program.runTime += rest * CLOCK_STEP;
      }
      this.kernel.lastFault = fault;
      return { retval, fault, instructions };
    }
    for (let run = 1; run < times && outcome.fault === undefined; run++) outcome = this.run(program, ctx, packet);
    return outcome;
  }

  /** Runs a program with `r1` = the kernel address of `ctx` (0: null). Counts it where statistics are on. */
  run(program: BPFProgram, ctx: number, packet?: PacketBuffer): RunOutcome {
    const prepared = this.prepare(program);
    const notes: string[] = [];
    const context: RunContext = packet === undefined ? { kernel: this.kernel, program, notes } : { kernel: this.kernel, program, packet, notes };
    program.get();
    if (this.memoryBytes !== this.kernel.memory.space.byteLength) {
      this.memoryBytes = this.kernel.memory.space.byteLength;
      this.kernel.sources.noteMemory();
    }
    const start = this.kernel.sources.now();
    this.kernel.allocated.enter();
    try {
      const result = this.machine.run(prepared, ctx, ctx === 0 ? 0 : KERNEL_HI, { context, tier: this.tier });
      if (this.kernel.statsUsers > 0) {
        program.runCount++;
        program.runTime += this.kernel.sources.now() - start;
      }
      this.kernel.lastFault = result.fault;
      this.kernel.lastNotes = notes;
      return { retval: result.r0Lo, fault: result.fault, instructions: result.instructions };
    } finally {
      this.kernel.allocated.leave();
      program.put();
    }
  }
}

function arenaOf({ usedMaps }: BPFProgram): ProgramImage['arena'] {
  for (let i = 0; i < usedMaps.length; i++) {
    const map = usedMaps[i];
    if (map instanceof ArenaMap) return map.window();
  }
  return undefined;
}

/** Where the indirect jumps of a verified program lead: the verifier lets only addresses out of its jump tables be jumped to. */
function jumpTargets(program: BPFProgram): readonly number[] | undefined {
  if (program.verified?.fullyVerified !== true || !program.usedMaps.some((map) => map instanceof InsnArrayMap)) return undefined;
  return program.usedMaps.flatMap((map) => (map instanceof InsnArrayMap ? map.targets() : []));
}

/** `SKF_NET_OFF`, `SKF_LL_OFF`: offsets from here on are relative to the network header and the link layer's. */
const NETWORK_OFFSETS = -0x100000;
const LINK_OFFSETS = -0x200000;

/** `bpf_skb_load_helper_*` behind `BPF_LD_ABS`, `BPF_LD_IND`: offsets from the packet's data. */
function loadPacket(call: HelperCall, offset: number, size: number): number {
  const packet = (call.context as RunContext).packet;
  if (packet === undefined || offset < LINK_OFFSETS) return -1;
  const from = offset >= 0 ? offset : offset >= NETWORK_OFFSETS ? packet.network + offset - NETWORK_OFFSETS : packet.link + offset - LINK_OFFSETS;
  // Negative offsets reach back to the headers, but only into the linear part.
  const end = offset >= 0 ? packet.length : packet.linear;
  if ((offset >= 0 && from < 0) || from < Math.min(packet.link, 0) || from + size > end) return -1;
  const view = call.space.view;
  const at = packet.data + from;
  return size === 1 ? view.getUint8(at) : size === 2 ? view.getUint16(at) : view.getUint32(at);
}
