/**
 * @module src/bench/phases
 * Time by phase: hears which part of an admission is under way and charges each moment to exactly one part, so that the parts add up to
 * the whole. Clocks are given; nothing here knows what time it is.
 *
 * Moments in which other processes have the processor are nobody's cost, so a whole is never more than the processor time that was used.
 * That clock is too slow to be asked at every mark: parts are measured by the fast one and scaled to the whole.
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
  /** Seconds. */
  readonly whole: number;
  /** Time that passed over time that was used, at least 1: how much the admission was disturbed. */
  readonly disturbance: number;
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
  readonly #used: () => number;
  readonly #stack: number[] = [];
  #own: Float64Array = new Float64Array(PHASES.length);
  #payload: Float64Array = new Float64Array(PHASES.length);
  #payloadDepth = 0;
  #began = 0;
  #usedBefore = 0;
  #last = 0;

  /**
   * @param now seconds from any moment on, never going back
   * @param used seconds of processor time, where the platform tells
   */
  constructor(now: () => number, used: () => number = now) {
    this.#now = now;
    this.#used = used;
  }

  /** Begins an admission in phase `user space`. */
  begin(): void {
    this.#own = new Float64Array(PHASES.length);
    this.#payload = new Float64Array(PHASES.length);
    this.#stack.length = 0;
    this.#payloadDepth = 0;
    this.#stack.push(indexOf('user space'));
    this.#usedBefore = this.#used();
    this.#began = this.#last = this.#now();
  }

  /** Ends it. */
  end(): Recorded {
    const now = this.#now();
    this.#charge(now);
    if (this.#stack.length !== 1) throw new InternalError(`${this.#stack.length - 1} phases are still open`);
    const passed = now - this.#began, whole = Math.min(passed, this.#used() - this.#usedBefore), scale = passed > 0 ? whole / passed : 1;
    for (const times of [this.#own, this.#payload]) for (let i = 0; i < times.length; i++) times[i]! *= scale;
    return { whole, disturbance: whole > 0 ? passed / whole : Infinity, own: this.#own, payload: this.#payload };
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
