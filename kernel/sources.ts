/**
 * @module kernel/sources
 * The instance's deterministic stand-ins for what a machine takes from hardware: the clock, the random generator, the current
 * CPU. Owns their state, which is in linear memory, so that compiled programs move it on without a call (`helpers/in-module.ts`).
 * Nothing here reads the real clock or `Math.random`.
 */
import type { AddressSpace } from '../vm/address-space.ts';

/** Words of the state by their distance from {@link Sources.address}. */
export const SOURCES_LAYOUT = {
  /** Nanoseconds since boot, u64. */
  nanoseconds: 0,
  /** Four words of the generator. */
  random: 8,
  cpu: 24,
  /** Bytes of memory that there are, or were when somebody looked. */
  readable: 28,
  size: 32,
} as const;
/** Nanoseconds by which a look at the clock moves it on. */
export const CLOCK_STEP = 100;

/** One nanosecond clock and one 32-bit generator, both functions of the seed alone. */
export class Sources {
  private readonly space: AddressSpace;
  /** Offset of the state. */
  readonly address: number;

  constructor(space: AddressSpace, seed: number, bootTime: number) {
    this.space = space;
    this.address = space.alloc(SOURCES_LAYOUT.size, 'clock and random generator');
    this.restart(seed, bootTime);
  }

  /** Begins anew, as a source made with these does: for an instance that is used again. */
  restart(seed: number, bootTime: number): void {
    const { space } = this;
    this.nanoseconds = bootTime;
    const at = this.address + SOURCES_LAYOUT.random;
    let x = seed >>> 0;
    let bits = 0;
    for (let i = 0; i < 4; i++) {
      // splitmix32 spreads a small seed over the state, which must not be all zeros
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      z ^= z >>> 16;
      bits |= z;
      space.setU32(at + 4 * i, z);
    }
    if (bits === 0) space.setU32(at, 1);
  }

  /** CPU that programs run on. */
  get cpu(): number {
    return this.space.getU32(this.address + SOURCES_LAYOUT.cpu);
  }

  set cpu(cpu: number) {
    this.space.setU32(this.address + SOURCES_LAYOUT.cpu, cpu);
  }

  private get nanoseconds(): number {
    const { view } = this.space;
    return view.getUint32(this.address, true) + view.getUint32(this.address + 4, true) * 0x100000000;
  }

  private set nanoseconds(value: number) {
    const { view } = this.space;
    view.setUint32(this.address, value, true);
    view.setUint32(this.address + 4, Math.floor(value / 0x100000000), true);
  }

  /** The next 32-bit number (xoshiro128**). */
  random(): number {
    const { view } = this.space;
    const at = this.address + SOURCES_LAYOUT.random;
    const a = view.getUint32(at, true);
    const b = view.getUint32(at + 4, true);
    const c = view.getUint32(at + 8, true) ^ a;
    const d = view.getUint32(at + 12, true) ^ b;
    const scrambled = Math.imul(b, 5);
    view.setUint32(at, a ^ d, true);
    view.setUint32(at + 4, b ^ c, true);
    view.setUint32(at + 8, c ^ (b << 9), true);
    view.setUint32(at + 12, (d << 11) | (d >>> 21), true);
    return Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
  }

  /** Nanoseconds since boot; every reading moves the clock on, so that time never stands still. */
  now(): number {
    return (this.nanoseconds += CLOCK_STEP);
  }

  /** Moves the clock on. */
  advance(nanoseconds: number): void {
    this.nanoseconds += nanoseconds;
  }

  /** Tells compiled programs how much memory there is now. */
  noteMemory(): void {
    this.space.setU32(this.address + SOURCES_LAYOUT.readable, this.space.byteLength);
  }
}
