import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PHASES, type Phase } from '../../../isa/phases.ts';
import { SkeletonAdmission } from '../../../src/bench/admission.ts';
import { namePhases, PhaseClock, sumPhases } from '../../../src/bench/phases.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { fixture, fixturePath } from '../loader/fixtures.ts';

/** A clock that the test sets. */
function handClock(): { now: () => number; pass(seconds: number): void } {
  let time = 100;
  return { now: () => time, pass: (seconds) => void (time += seconds) };
}

describe('time by phase', () => {
  it('charges every moment to the innermost phase', () => {
    const hand = handClock(), clock = new PhaseClock(hand.now);
    clock.begin();
    hand.pass(1);
    clock.enter('attr');
    hand.pass(2);
    clock.enter('signature');
    hand.pass(4);
    clock.enter('hashing');
    hand.pass(8);
    clock.leave();
    hand.pass(16);
    clock.leave();
    hand.pass(32);
    clock.leave();
    hand.pass(64);
    const { whole, own } = clock.end();
    expect(namePhases(own)).toEqual({ 'user space': 65, attr: 34, signature: 20, hashing: 8 });
    expect(whole).toBe(127);
  });

  it('counts the digest of the instructions as digest, though it is hashing', () => {
    const hand = handClock(), clock = new PhaseClock(hand.now);
    clock.begin();
    clock.enter('digest');
    clock.enter('hashing');
    hand.pass(3);
    clock.leave();
    clock.leave();
    expect(namePhases(clock.end().own)).toEqual({ digest: 3 });
  });

  it('puts everything inside a payload there, and tells it apart a second time', () => {
    const hand = handClock(), clock = new PhaseClock(hand.now);
    clock.begin();
    clock.enter('loader run');
    hand.pass(1);
    clock.enter('payload admission');
    clock.enter('attr');
    hand.pass(2);
    clock.enter('main verification');
    hand.pass(4);
    for (let i = 0; i < 4; i++) clock.leave();
    const { own, payload } = clock.end();
    expect(namePhases(own)).toEqual({ 'loader run': 1, 'payload admission': 6 });
    expect(namePhases(payload)).toEqual({ attr: 2, 'main verification': 4 });
  });

  it('takes from the whole what other processes had, and scales the parts', () => {
    const wall = handClock(), used = handClock(), clock = new PhaseClock(wall.now, used.now);
    clock.begin();
    clock.enter('attr');
    wall.pass(6);
    used.pass(2);
    clock.leave();
    wall.pass(2);
    const recorded = clock.end();
    expect(recorded).toMatchObject({ whole: 2, disturbance: 4 });
    expect(namePhases(recorded.own)).toEqual({ attr: 1.5, 'user space': 0.5 });
  });

  it('says so where a phase was left open', () => {
    const clock = new PhaseClock(() => 0);
    clock.begin();
    clock.enter('attr');
    expect(() => clock.end()).toThrow('1 phases are still open');
  });
});

describe('a real admission', () => {
  const certificate = readFileSync(fixturePath('keys/rsa2048.der'));
  const kernelBTF = (): Uint8Array => loadKernelBTF();

  it('enters every phase but those that only user space has, and its parts are the whole', () => {
    // Every look at the clock is one tick later: time passes where the kernel works.
    let ticks = 0;
    const clock = new PhaseClock(() => ticks++);
    const admission = new SkeletonAdmission(fixture('signed/runnable.lskel.h'), { clock, phases: clock, certificates: [certificate], kernelBTF });
    const { whole, own, payload } = admission.perform(), times = namePhases(own);
    // Portable primitives hash without saying so.
    const missing = PHASES.filter((phase) => times[phase] === undefined && phase !== 'hashing');
    expect(missing).toEqual([]);
    expect(sumPhases(times)).toBeCloseTo(whole, 6);
    expect(sumPhases(namePhases(payload))).toBeCloseTo(times['payload admission'] ?? 0, 6);
  });

  it('does the same work whether anybody listens or not', () => {
    const clock = new PhaseClock(() => 0), heard: Phase[] = [];
    const of = (phases: ConstructorParameters<typeof SkeletonAdmission>[1]['phases']): unknown => new SkeletonAdmission(fixture('signed/onemap.lskel.h'), {
      clock, phases, certificates: [certificate], kernelBTF,
    }).observe().map(({ name, result, log }) => [name, result, log.replace(/verification time \d+/, '')]);
    expect(of({ enter: (phase) => void heard.push(phase), leave: () => undefined })).toEqual(of(undefined));
  });
});
