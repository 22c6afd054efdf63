/**
 * The same seed and number of runs give the same corpus and findings on any machine: digests of small sessions of every target stand in
 * `digests.txt`, and a platform that differs fails here. Who changes what targets reach or how they choose writes them anew:
 * `npx vitest run test/unit/fuzz/digests.test.ts --update`.
 */
import { expect, test } from 'vitest';
import { LocalWorker, runSession, type SessionReport } from '../../../src/fuzz/engine.ts';
import { Shard } from '../../../src/fuzz/shard.ts';
import { loadTarget, TARGET_NAMES } from '../../../src/fuzz/targets/index.ts';
import { installNodeCrypto } from '../../../src/node/native-crypto.ts';
import { environment } from './support.ts';

const RUNS: Readonly<Record<string, number>> = { bytecode: 96, loader: 48, syscalls: 64, signature: 96, object: 160, engines: 64 };
/** Short batches, so that a small session has exchanges. */
const BATCH = 4;

async function session(target: string, jobs: number): Promise<SessionReport> {
  const factory = await loadTarget(target);
  const workers = Array.from({ length: jobs }, () => new LocalWorker(new Shard((given) => Object.assign(factory(given), { batchRuns: BATCH }), environment(true))));
  return runSession({ target, seed: 11, runs: RUNS[target]!, now: () => 0 }, workers);
}

const lineOf = ({ target, seed, runs, edges, features, corpus, corpusDigest, findings }: SessionReport): string =>
  `${target} seed ${seed} runs ${runs}: coverage ${edges} features ${features} corpus ${corpus.length} ${corpusDigest} findings ${findings.map(({ oracle, trace }) => `${oracle} ${trace}`).join('; ') || 'none'}`;

test('digests are those of every other platform, with one worker and with two, wherever the clock is set', async () => {
  installNodeCrypto();
  const zone = process.env['TZ'], language = process.env['LANG'];
  const lines: string[] = [];
  try {
    for (const { name } of TARGET_NAMES) {
      process.env['TZ'] = 'America/New_York';
      process.env['LANG'] = 'en_US.UTF-8';
      const alone = lineOf(await session(name, 1));
      process.env['TZ'] = 'Pacific/Chatham';
      process.env['LANG'] = 'tr_TR.UTF-8';
      expect(lineOf(await session(name, 2))).toBe(alone);
      lines.push(alone);
    }
  } finally {
    for (const [key, value] of [['TZ', zone], ['LANG', language]] as const) {
      if (value === undefined) delete process.env[key];
      else process.env[key] = value;
    }
  }
  await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot('./digests.txt');
}, 120_000);
