/**
 * @module isa/phases
 * The parts of an admission by name, and the port through which the rooms say which part is under way. Owns the names; no clock: who
 * listens has one, and where nobody listens nothing is done. Order: that of `bpf_prog_load` and `bpf_check` of Linux 7.3.
 */

/** Every part, in the order of a load. */
export const PHASES = [
  /** The process's own work: attributes, buffers, mappings. */
  'user space',
  /** Calls of the process that make, fill and freeze maps, or ask about them. */
  'maps',
  /** `union bpf_attr`, instructions and licence copied and checked. */
  'attr',
  /** The verifier's working memory. */
  'set-up',
  /** SHA-256 over the instructions. */
  'digest',
  /** Descriptors of `fd_array` resolved and bound. */
  'fd_array',
  /** Contents of the bound maps put behind the instructions. */
  'folding',
  /** The CMS message read. */
  'CMS parse',
  /** The digest of what is signed. */
  'hashing',
  /** Keys found, the public-key operation, trust. */
  'signature',
  /** Hooks of security modules. */
  'LSM hooks',
  /** BTF, subprograms, references of instructions, attach target. */
  'references',
  /** Control-flow graph, constants, strongly connected components. */
  'control flow',
  /** Live registers and stack slots. */
  'liveness',
  /** Paths followed, states compared. */
  'main verification',
  /** Dead code, context accesses, helpers: the program as it will run. */
  'rewrites',
  /** The verifier's log written and copied out. */
  'log',
  /** References taken, id and descriptor given out. */
  'install',
  /** Decoded for the interpreter, compiled to WebAssembly. */
  'compile',
  /** The loader program's instructions and helpers. */
  'loader run',
  /** What the loader's own `bpf()` calls do: BTF, maps and programs of the payload. */
  'payload admission',
] as const;

/** One part of an admission. */
export type Phase = (typeof PHASES)[number];

/** Hears which part is under way. Calls nest; `leave` ends the part entered last. */
export interface Phases {
  enter(phase: Phase): void;
  leave(): void;
}

/**
 * Does work as a part of an admission.
 * @example const message = within(phases, 'CMS parse', () => readSignedMessage(bytes, context));
 */
export function within<T>(phases: Phases | undefined, phase: Phase, work: () => T): T {
  if (phases === undefined) return work();
  phases.enter(phase);
  try {
    return work();
  } finally {
    phases.leave();
  }
}
