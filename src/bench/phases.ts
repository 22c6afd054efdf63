/**
 * @module src/bench/phases
 * Time by phase: hears which part of an admission is under way and charges each moment to exactly one part, so that the parts add up to
 * the whole. The clock is given; nothing here knows what time it is.
 */
import { InternalError } from '../../isa/errors.ts';
import { PHASES, type Phase, type Phases } from '../../isa/phases.ts';

const INDEX: ReadonlyMap<Phase, number> = new Map(PHASES.map((phase, index) => [phase, index]));
const indexOf = (phase: Phase): number => INDEX.get(phase) ?? 0;
const DIGEST = indexOf('digest'), HASHING = indexOf('hashing'), PAYLOAD = indexOf('payload admission');

/** Seconds by phase; phases that did not occur are not there. */
export type PhaseTimes = Readonly<Partial<Record<Phase, number>>>;

/** One admission's times, by index in `PHASES`. */
export interface Recorded {
  readonly whole: number;
  readonly own: Float64Array;
  /** What the payload's part consists of. */
  readonly payload: Float64Array;
}

/**
 * @example
 * const clock = new PhaseClock(() => performance.now() / 1000);
 * clock.begin();
 * kernel.bpf(BPF_PROG_LOAD, attr, size); // of a kernel with `phases: clock`
 * clock.end().whole;
 */
export class PhaseClock implements Phases {
  readonly #now: () => number;
  readonly #stack: number[] = [];
  #own: Float64Array = new Float64Array(PHASES.length);
  #payload: Float64Array = new Float64Array(PHASES.length);
  #payloadDepth = 0;
  #began = 0;
  #last = 0;

  /** @param now seconds from any moment on, never going back */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Begins an admission in phase `user space`. */
  begin(): void {
    this.#own = new Float64Array(PHASES.length);
    this.#payload = new Float64Array(PHASES.length);
    this.#stack.length = 0;
    this.#payloadDepth = 0;
    this.#stack.push(indexOf('user space'));
    this.#began = this.#last = this.#now();
  }

  /** Ends it. */
  end(): Recorded {
    const now = this.#now();
    this.#charge(now);
    if (this.#stack.length !== 1) throw new InternalError(`${this.#stack.length - 1} phases are still open`);
    return { whole: now - this.#began, own: this.#own, payload: this.#payload };
  }

  enter(phase: Phase): void {
    const index = indexOf(phase), top = this.#stack.at(-1) ?? 0;
    this.#charge(this.#now());
    // The digest of the instructions is hashing too, but it has a phase of its own.
    this.#stack.push(index === HASHING && top === DIGEST ? DIGEST : index);
    if (index === PAYLOAD) this.#payloadDepth++;
  }

  leave(): void {
    this.#charge(this.#now());
    if (this.#stack.pop() === PAYLOAD) this.#payloadDepth--;
  }

  #charge(now: number): void {
    const elapsed = now - this.#last, top = this.#stack.at(-1);
    this.#last = now;
    // Before an admission and after it nothing is charged.
    if (top === undefined) return;
    if (this.#payloadDepth === 0) this.#own[top]! += elapsed;
    else {
      this.#own[PAYLOAD]! += elapsed;
      this.#payload[top]! += elapsed;
    }
  }
}

/** Times by name; phases that took none are left out. */
export function namePhases(times: Float64Array): PhaseTimes {
  const named: Partial<Record<Phase, number>> = {};
  for (const [index, phase] of PHASES.entries()) if ((times[index] ?? 0) > 0) named[phase] = times[index] ?? 0;
  return named;
}

/** The phases' sum. */
export function sumPhases(times: PhaseTimes): number {
  return Object.values(times).reduce((sum, seconds) => sum + seconds, 0);
}
