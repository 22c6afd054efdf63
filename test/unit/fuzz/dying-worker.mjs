// A worker whose batches run numbered inputs (batch and run as two bytes) and that comes to grief at one of them; which, how and how often
// says the name of its target: KIND-BATCH-RUN[-once].
import { parentPort, workerData } from 'node:worker_threads';

const [kind, batch, run, once] = workerData.target.split('-');
const RUNS = 4;
const shared = new Int32Array(workerData.current, 0, 1);
let learnt = 0;

function perish() {
  switch (kind) {
    case 'memory': for (const held = []; ;) held.push(Array.from({ length: 100_000 }, (_, i) => ({ i })));
    // oxlint-disable-next-line no-fallthrough
    case 'time': for (;;) Atomics.load(shared, 0);
    // oxlint-disable-next-line no-fallthrough
    case 'exit': process.exit(3);
    // oxlint-disable-next-line no-fallthrough
    case 'error': setImmediate(() => { throw new Error('out of the blue'); }); return true;
    default: throw new Error('an answer that is an error');
  }
}

function runBatch({ index, runs, announce }) {
  for (let at = 0; at < runs; at++) {
    const bytes = Uint8Array.of(index, at);
    if (announce) {
      new Uint8Array(workerData.current, 4).set(bytes);
      Atomics.store(shared, 0, bytes.length);
    }
    if (index === Number(batch) && at === Number(run) && !(once !== undefined && announce) && perish()) return undefined;
  }
  return { index, runs, candidates: [{ bytes: Uint8Array.of(index, 99, learnt), features: [index << 8 | 1] }], findings: [] };
}

parentPort.on('message', (request) => {
  const answer = (result) => parentPort.postMessage({ id: request.id, result });
  try {
    switch (request.op) {
      case 'hello': return answer({ batchRuns: RUNS, seeds: [] });
      case 'learn': learnt += request.entries.length; return answer(undefined);
      case 'run': {
        const result = runBatch(request.batch);
        return result === undefined ? undefined : answer(result);
      }
      case 'trace': return answer(request.inputs.map((bytes) => ({ bytes, features: [bytes[0] << 8 | 1], size: bytes.length, finding: undefined })));
      default: return answer({ ...request.finding, size: 0, tries: 0, assembly: '', transcript: undefined });
    }
  } catch (error) {
    return parentPort.postMessage({ id: request.id, error: error.message });
  }
});
