/**
 * What `bench:vm` holds the machine to: times relative to uBPF's and rbpf's, and latencies. On Node before 24 the ratios may be 15 %
 * higher.
 */

/** One engine or peer on one program. */
export interface Row {
  readonly program: string;
  /** An engine, or the name of a peer. */
  readonly engine: string;
  /** Nanoseconds per executed instruction. */
  readonly ns: number;
  readonly instructions: number;
  readonly ok: boolean;
}

export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly limit: number;
  readonly met: boolean;
  /** What the value was measured against: a peer of this run, or the recorded figures. */
  readonly against: 'measured' | 'recorded' | 'absolute';
}

/**
 * ns per instruction of uBPF 2a8edd11 (-O2) and rbpf 0.4.1 on an EPYC Milan. Ratios to them are sound only on a machine of that
 * speed; peers in the same run say more.
 */
const RECORDED: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  'ubpf': {
    alu64: 0.249, alu64ilp: 0.078, alu32: 0.505, memcpy8: 0.062, memcpy64: 0.094, memmix: 0.086, sieve: 0.074, log2: 0.218, bsort: 0.287, helper: 0.931,
    xorrot: 0.211, sha256: 0.104, switch: 0.881,
  },
  'rbpf': {
    alu64: 0.249, alu64ilp: 0.086, alu32: 0.249, memcpy8: 0.062, memcpy64: 0.065, memmix: 0.086, sieve: 0.088, log2: 0.215, bsort: 0.289, helper: 0.206,
    xorrot: 0.106, sha256: 0.053, switch: 0.893,
  },
  'ubpf-interpreter': {
    alu64: 9.3, alu64ilp: 8.6, alu32: 10.7, memcpy8: 6.8, memcpy64: 7.3, memmix: 7.9, sieve: 6.5, log2: 9, bsort: 7, helper: 5.9, xorrot: 9.9, sha256: 9.4,
    switch: 6.8,
  },
};

const HELPER = 'helper';
/** What Node before 24 may take more. */
const allowance = Number(process.versions.node.split('.')[0]) < 24 ? 1.15 : 1;

/** What a peer's time is taken from: this run, where it took part, or the recorded figures. */
type Reference = 'measured' | 'recorded';

/** Ratio of an engine to a peer by program, where both are known. */
function ratios(rows: readonly Row[], engine: string, peer: string, reference: Reference): ReadonlyMap<string, number> {
  const by = new Map<string, number>();
  for (const row of rows) {
    if (row.engine !== engine) continue;
    const ns = reference === 'measured' ? rows.find((one) => one.program === row.program && one.engine === peer)?.ns : RECORDED[peer]?.[row.program];
    if (ns !== undefined) by.set(row.program, row.ns / ns);
  }
  return by;
}

function mean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

function bar(name: string, value: number, limit: number, against: Bar['against']): Bar {
  const rounded = Number(value.toFixed(3));
  return { name, value: rounded, limit: Number(limit.toFixed(3)), met: rounded <= limit, against };
}

/** Bars on the thirteen programs, against the recorded figures and against peers of this run; what did not run is left out. */
export function barsOfRows(rows: readonly Row[]): readonly Bar[] {
  return (['recorded', 'measured'] as const).flatMap((reference) => {
    const bars: Bar[] = [];
    const overall = (engine: string, peer: string, limit: number, withHelper: boolean): void => {
      const values = [...ratios(rows, engine, peer, reference)].filter(([program]) => withHelper || program !== HELPER).map(([, ratio]) => ratio);
      if (values.length > 0) bars.push(bar(`${engine} / ${peer}, mean of ${values.length}`, mean(values), limit * allowance, reference));
    };
    overall('compiled', 'ubpf', 0.75, false);
    overall('compiled', 'rbpf', 0.95, false);
    const [worst] = [...ratios(rows, 'compiled', 'ubpf', reference)].filter(([program]) => program !== HELPER).toSorted(([, a], [, b]) => b - a);
    if (worst !== undefined) bars.push(bar(`compiled / ubpf, worst: ${worst[0]}`, worst[1], 1.2 * allowance, reference));
    overall('checked', 'ubpf', 1, false);
    overall('fuel', 'ubpf', 1.1, false);
    overall('interpreter', 'ubpf-interpreter', 0.4, true);
    for (const [engine, limit] of [['compiled', 0.3], ['outside', 1]] as const) {
      const ratio = ratios(rows, engine, 'ubpf', reference).get(HELPER);
      if (ratio !== undefined) bars.push(bar(`helper ${engine === 'outside' ? 'outside' : 'inside'} / ubpf`, ratio, limit * allowance, reference));
    }
    return bars;
  });
}

/** What the bars on calls need of their measurement. */
export interface CallFigures {
  readonly pktparse: { readonly singleNs: number; readonly batchNs: number; readonly peers: Readonly<Record<string, number>> };
  readonly firstResultMs: Readonly<Record<string, number>>;
}

export function barsOfCalls({ pktparse, firstResultMs }: CallFigures): readonly Bar[] {
  const bars: Bar[] = [];
  const peer = pktparse.peers['ubpf'];
  if (peer !== undefined) {
    bars.push(bar('pktparse singly / ubpf', pktparse.singleNs / peer, 1.3 * allowance, 'measured'));
    bars.push(bar('pktparse in batches of 64 / ubpf', pktparse.batchNs / peer, 0.9 * allowance, 'measured'));
  }
  const { 1000: short = NaN, 100_000: long = NaN, 1_000_000: longest = NaN } = firstResultMs;
  bars.push(bar('first result of 1,000 instructions, ms', short, 1, 'absolute'));
  bars.push(bar('first result of 100,000 instructions, ms', long, 250, 'absolute'));
  // Linear: ten times the program, at most half as much again beside ten times the time.
  bars.push(bar('1,000,000 instructions / 100,000', longest / long, 15, 'absolute'));
  return bars;
}

export function printBars(bars: readonly Bar[]): void {
  console.log('bars');
  for (const { name, value, limit, met, against } of bars) {
    console.log(`  ${met ? 'pass' : 'FAIL'}  ${name.padEnd(44)} ${String(value).padStart(8)} of at most ${limit}${against === 'absolute' ? '' : ` (${against})`}`);
  }
}
