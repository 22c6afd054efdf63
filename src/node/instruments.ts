/**
 * @module src/node/instruments
 * What `src/bench` measures with on Node.js: the clock, `benchmark` for sampling, V8's own accounts for memory, native primitives that
 * mark or count their hashing, RSA keys, and the facts of the machine.
 */
import { generateKeyPairSync } from 'node:crypto';
import { availableParallelism, cpus } from 'node:os';
import { GCProfiler, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import Benchmark from 'benchmark';
import { setProvider, type CryptoProvider } from '../../crypto/provider.ts';
import { InternalError } from '../../isa/errors.ts';
import type { Phases } from '../../isa/phases.ts';
import type { Conditions } from '../bench/conditions.ts';
import { countingProvider } from '../bench/counters.ts';
import type { Effort, Instruments, MemoryUse } from '../bench/measure.ts';
import { createNodeProvider } from './native-crypto.ts';

/** `benchmark` calibrates how many calls make one cycle; ten milliseconds of them are enough for this clock, seconds. */
const CYCLE_SECONDS = 0.01;

function sample(name: string, work: () => void, { seconds, least }: Effort): void {
  const bench = new Benchmark(name, work, { minSamples: least, maxTime: seconds, minTime: Math.min(CYCLE_SECONDS, seconds / least) });
  bench.run();
  const { error } = bench as { readonly error?: unknown };
  if (error !== undefined) throw error instanceof Error ? error : new InternalError(`${name}: ${String(error)}`);
}

let collector: (() => void) | undefined;

/** V8's collector, which is not there unless it is asked for. */
function collectGarbage(): void {
  if (collector === undefined) {
    setFlagsFromString('--expose-gc');
    const gc: unknown = runInNewContext('gc');
    collector = typeof gc === 'function' ? () => void gc() : () => undefined;
  }
  collector();
}

function memoryInUse(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/**
 * Between two collections the heap only grows, so what was allocated is the sum of its growths; it is fullest right before a collection
 * or at the end.
 */
function memory(work: () => void): MemoryUse {
  // What the first collection finalises, the second frees.
  collectGarbage();
  collectGarbage();
  const buffersBefore = process.memoryUsage().arrayBuffers, before = memoryInUse(), profiler = new GCProfiler();
  profiler.start();
  try {
    work();
  } catch (error) {
    // A profiler that is left running keeps its records.
    profiler.stop();
    throw error;
  }
  const after = memoryInUse(), buffersAfter = process.memoryUsage().arrayBuffers, profile = profiler.stop();
  let allocated = 0, peak = after, level = before - buffersBefore;
  const buffers = Math.max(0, buffersAfter - buffersBefore);
  for (const { beforeGC, afterGC } of profile.statistics) {
    const full = beforeGC.heapStatistics.usedHeapSize;
    allocated += Math.max(0, full - level);
    peak = Math.max(peak, full + buffersAfter);
    level = afterGC.heapStatistics.usedHeapSize;
  }
  allocated += Math.max(0, after - buffersAfter - level) + buffers;
  return { allocated, peak: Math.max(0, peak - before) };
}

const wall = (): number => performance.now() / 1000;

function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Some systems count processor time in ticks of milliseconds, which is no use here: the wall's clock does then. */
function finestClock(): () => number {
  // By number and not by the wall's time, in which a busy machine may not let this process run at all.
  for (let i = 0, last = processorTime(), steps = 0; i < 10_000; i++) {
    const now = processorTime();
    if (now > last && now - last < 0.0002 && ++steps === 20) return processorTime;
    last = now;
  }
  return wall;
}

/** The instruments of this process. Primitives are native from here on. */
export function createInstruments(): Instruments {
  const plain = createNodeProvider(), marking = new WeakMap<Phases, CryptoProvider>();
  setProvider(plain);
  /** One for each listener: a provider keeps the keys that it has read. */
  const providerFor = (phases: Phases): CryptoProvider => {
    const provider = marking.get(phases) ?? createNodeProvider(phases);
    marking.set(phases, provider);
    return provider;
  };
  return {
    now: wall,
    used: finestClock(),
    sample,
    memory,
    usePrimitives: ({ phases, onHash }) => {
      const provider = phases === undefined ? plain : providerFor(phases);
      setProvider(onHash === undefined ? provider : countingProvider(provider, onHash));
    },
  };
}

/** A new RSA key, PKCS#8 in DER. */
export function generateRSAKey(bits: number): Uint8Array {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: bits, publicKeyEncoding: { type: 'spki', format: 'der' }, privateKeyEncoding: { type: 'pkcs8', format: 'der' },
  });
  return new Uint8Array(privateKey.buffer, privateKey.byteOffset, privateKey.byteLength);
}

/** The conditions of this process, but for what is measured. */
export function machineConditions(): Omit<Conditions, 'bpftwin' | 'subject' | 'options'> {
  return {
    node: process.version, v8: process.versions.v8, platform: process.platform, arch: process.arch,
    cpu: cpus()[0]?.model.trim() ?? 'unknown', cores: availableParallelism(), crypto: createNodeProvider().name,
  };
}
