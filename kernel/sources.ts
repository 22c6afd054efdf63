/**
 * @module kernel/sources
 * The instance's deterministic stand-ins for what a machine takes from hardware: the clock, the random generator, the current
 * CPU. Owns their state. Nothing here reads the real clock or `Math.random`.
 */

/** One nanosecond clock and one 32-bit generator, both functions of the seed alone. */
export class Sources {
  private readonly state: Uint32Array = new Uint32Array(4);
  private nanoseconds: number;
  /** CPU that programs run on. */
  cpu = 0;

  constructor(seed: number, bootTime: number) {
    this.nanoseconds = bootTime;
    this.restart(seed, bootTime);
  }

  /** Begins anew, as a source made with these does: for an instance that is used again. */
  restart(seed: number, bootTime: number): void {
    this.nanoseconds = bootTime;
    let x = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      // splitmix32 spreads a small seed over the state, which must not be all zeros
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.state[i] = (z ^ (z >>> 16)) >>> 0;
    }
    if (this.state.every((word) => word === 0)) this.state[0] = 1;
  }

  /** The next 32-bit number (xoshiro128**). */
  random(): number {
    const s = this.state;
    const [a = 0, b = 0, c = 0, d = 0] = s;
    const scrambled = Math.imul(b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    const t = b << 9;
    let s2 = c ^ a;
    let s3 = d ^ b;
    s[1] = b ^ s2;
    s[0] = a ^ s3;
    s2 ^= t;
    s3 = (s3 << 11) | (s3 >>> 21);
    s[2] = s2;
    s[3] = s3;
    return result;
  }

  /** Nanoseconds since boot; every reading moves the clock on by 100 ns, so that time never stands still. */
  now(): number {
    this.nanoseconds += 100;
    return this.nanoseconds;
  }

  /** Moves the clock on. */
  advance(nanoseconds: number): void {
    this.nanoseconds += nanoseconds;
  }
}
