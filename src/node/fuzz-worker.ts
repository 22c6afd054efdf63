/**
 * @module src/node/fuzz-worker
 * A fuzzing worker's thread: loads the target with counters in its parsers and does what the session asks. Owns no decision. Modules that are to
 * be counted are loaded after the hook is in place, hence the late imports.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Coverage } from '../fuzz/coverage.ts';
import type { Answer, Request, WorkerStart } from './fuzz-pool.ts';
import { installCounters } from './fuzz-instrument.ts';

const { target, current } = workerData as WorkerStart;
const coverage = new Coverage();
installCounters(coverage.hit);

const { Shard } = await import('../fuzz/shard.ts');
const { loadTarget } = await import('../fuzz/targets/index.ts');
const { createTargetEnvironment } = await import('./fuzz-environment.ts');
const { installNodeCrypto } = await import('./native-crypto.ts');
installNodeCrypto();

/** Leaves an input where the session finds it should it end this thread. */
function announce(bytes: Uint8Array): void {
  const room = new Uint8Array(current, 4);
  if (bytes.length > room.length) return;
  room.set(bytes);
  Atomics.store(new Int32Array(current, 0, 1), 0, bytes.length);
}

const shard = new Shard(await loadTarget(target), createTargetEnvironment(coverage), announce);

function perform(request: Request): unknown {
  switch (request.op) {
    case 'hello': return { batchRuns: shard.batchRuns, seeds: shard.seeds() };
    case 'learn': return shard.learn(request.entries);
    case 'run': return shard.run(request.batch);
    case 'trace': return shard.trace(request.inputs, request.thorough);
    case 'describe': return shard.describe(request.finding);
  }
}

parentPort!.on('message', (request: Request) => {
  let answer: Answer;
  try {
    answer = { id: request.id, result: perform(request) };
  } catch (error) {
    answer = { id: request.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  parentPort!.postMessage(answer);
});
