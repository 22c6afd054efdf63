/**
 * @module src/bench/counters
 * Work that was done, counted: what tells a change of the code from noise of the machine. The same on every machine and every time.
 */
import type { CryptoProvider } from '../../crypto/provider.ts';
import type { SystemCall } from '../../kernel/api.ts';

/** Work of one admission. */
export interface Counters {
  /** Instructions of the programs that were given to the verifier. */
  readonly instructions: number;
  /** Instructions that the verifier processed. */
  readonly processed: number;
  readonly states: number;
  readonly peakStates: number;
  /** Bytes through digests. */
  readonly bytesHashed: number;
  /** Digests. */
  readonly digests: number;
  readonly systemCalls: number;
}

export const NO_WORK: Counters = { instructions: 0, processed: 0, states: 0, peakStates: 0, bytesHashed: 0, digests: 0, systemCalls: 0 };

/** The last line of a log of level 4. */
const STATISTICS = /^processed (\d+) insns \(limit \d+\) max_states_per_insn \d+ total_states (\d+) peak_states (\d+) /m;

/** Adds up the work of the system calls that an observer saw. Loads count where they asked for statistics. */
export function countCalls(calls: readonly SystemCall[]): Pick<Counters, 'instructions' | 'processed' | 'states' | 'peakStates' | 'systemCalls'> {
  const sum = { instructions: 0, processed: 0, states: 0, peakStates: 0, systemCalls: calls.length };
  for (const { name, args, log } of calls) {
    if (name !== 'PROG_LOAD') continue;
    const [, processed, states, peak] = STATISTICS.exec(log) ?? [];
    sum.instructions += Number(args['insn_cnt'] ?? 0);
    sum.processed += Number(processed ?? 0);
    sum.states += Number(states ?? 0);
    sum.peakStates = Math.max(sum.peakStates, Number(peak ?? 0));
  }
  return sum;
}

const sizeOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { length }) => sum + length, 0);

/** A provider that does what `inner` does and says how many bytes it hashes. */
export function countingProvider(inner: CryptoProvider, onHash: (bytes: number) => void): CryptoProvider {
  /** A check that settles nothing hashes again on the way that does. */
  const settled = <T>(result: T | undefined, message: readonly Uint8Array[]): T | undefined => {
    if (result !== undefined) onHash(sizeOf(message));
    return result;
  };
  const { signRSA } = inner;
  return {
    name: inner.name,
    digest: (hash, parts) => settled(inner.digest(hash, parts), parts),
    shake256: (parts, length) => settled(inner.shake256(parts, length), parts),
    modularPower: (value, exponent, modulus) => inner.modularPower(value, exponent, modulus),
    verifyRSA: (exponent, modulus, hash, message, signature) => settled(inner.verifyRSA(exponent, modulus, hash, message, signature), message),
    verifyECDSA: (curve, x, y, hash, message, r, s) => settled(inner.verifyECDSA(curve, x, y, hash, message, r, s), message),
    ...(signRSA === undefined ? {} : { signRSA: (key, hash, message) => signRSA.call(inner, key, hash, message) }),
  };
}
