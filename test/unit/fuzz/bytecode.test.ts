/** The targets `bytecode` and `engines`: generated programs, the promises held against them, sessions that give the same twice. */
import { describe, expect, test } from 'vitest';
import { Grammar, KIND_RAW_TRACEPOINT, KIND_SYSCALL, MOST_SLOTS } from '../../../src/fuzz/bytecode/grammar.ts';
import { Arena } from '../../../src/fuzz/bytecode/unverified.ts';
import { divergingPaths, dynamicPointer, iteratorLoop, type Writer } from '../../../src/fuzz/bytecode/sequences.ts';
import { contextOf, MAPS, World } from '../../../src/fuzz/bytecode/world.ts';
import { operationsOf, performOnTwin, withAnswers } from '../../../src/fuzz/answers.ts';
import { Coverage } from '../../../src/fuzz/coverage.ts';
import { LocalWorker, runSession, type SessionReport } from '../../../src/fuzz/engine.ts';
import { ImpossibleWays } from '../../../src/fuzz/oracles/impossible.ts';
import { StateRecorder, scalarHolds } from '../../../src/fuzz/oracles/soundness.ts';
import { Random } from '../../../src/fuzz/random.ts';
import { Shard } from '../../../src/fuzz/shard.ts';
import { createTarget } from '../../../src/fuzz/targets/bytecode.ts';
import { createTarget as createEngines } from '../../../src/fuzz/targets/engines.ts';
import type { TargetFactory } from '../../../src/fuzz/types.ts';
import { parseKernelBTF } from '../../../btf/kernel.ts';
import * as U from '../../../isa/uapi.ts';
import { RingBufferMap } from '../../../kernel/maps/ringbuf.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { Replay } from '../../../src/replay/replay.ts';
import { KernelTarget } from '../../../src/replay/kernel-target.ts';
import { assembleText } from '../../../isa/asm.ts';
import type { Instruction } from '../../../isa/decode.ts';
import { raw, toBytes } from '../../../isa/encode.ts';
import { REG_A, REG_SCALAR, REG_TYPE, REG_WORDS } from '../../../verifier/state.ts';
import { inScalar, random as numbers, someScalar, someValue } from '../verifier/scalar-support.ts';

const environment = (): { coverage: Coverage; file: () => never } => ({ coverage: new Coverage(), file: () => { throw new Error('no files'); } });

/** The target with batches short enough for two workers to share a small session. */
const inShortBatches = (factory: TargetFactory): TargetFactory => (given) => Object.assign(factory(given), { batchRuns: 4 });

async function session(factory: TargetFactory, runs: number, jobs: number): Promise<SessionReport> {
  const workers = Array.from({ length: jobs }, () => new LocalWorker(new Shard(inShortBatches(factory), environment())));
  return runSession({ target: 't', seed: 5, runs, now: () => 0 }, workers);
}

describe('sessions', () => {
  test('of bytecode: same corpus and findings with one worker and with two', async () => {
    const [one, two] = [await session(createTarget, 32, 1), await session(createTarget, 32, 2)];
    expect(two.corpusDigest).toBe(one.corpusDigest);
    expect(two.findings).toEqual(one.findings);
    expect(one.corpus.length).toBeGreaterThan(5);
  });

  test('of engines: same corpus and findings with one worker and with two', async () => {
    const [one, two] = [await session(createEngines, 16, 1), await session(createEngines, 16, 2)];
    expect(two.corpusDigest).toBe(one.corpusDigest);
    expect(one.findings).toEqual([]);
  });
});

describe('generated programs', () => {
  test('are mostly accepted, of bounded length, and the same for the same seed', () => {
    const grammar = new Grammar(MAPS);
    const world = new World();
    let accepted = 0;
    for (let seed = 0; seed < 80; seed++) {
      const kind = seed % 4 === 0 ? KIND_RAW_TRACEPOINT : KIND_SYSCALL;
      const program = grammar.program(new Random(seed), kind);
      expect(program.length).toBeLessThanOrEqual(8 * (MOST_SLOTS + 60));
      expect(grammar.program(new Random(seed), kind)).toEqual(program);
      let visits = 0;
      const loaded = ((): ReturnType<World['load']> => {
        try {
          return world.load(program, kind, 0, { everyPath: false, visit: () => {
            if (++visits > 2000) throw new Error('a long loop');
          } });
        } catch {
          return -1;
        }
      })();
      if (typeof loaded === 'number') continue;
      accepted++;
      world.unload(loaded);
      expect(world.settle()).toBeUndefined();
    }
    expect(accepted).toBeGreaterThan(40);
  });

  test('iterators, dynamic pointers and paths that diverge are accepted where they keep the rules, and not where they do not', () => {
    const kernelBTF = (): Uint8Array => bytes;
    const bytes = loadKernelBTF(), types = parseKernelBTF(bytes), world = new World(kernelBTF), random = new Random(4);
    const id = (name: string): number => types.findByNameKind(`bpf_iter_num_${name}`, U.BTF_KIND_FUNC);
    const iterator = { create: id('new'), next: id('next'), destroy: id('destroy') };
    const sequences = [(to: Writer) => iteratorLoop(to, iterator, 8), (to: Writer) => dynamicPointer(to, MAPS.ring), (to: Writer) => divergingPaths(to, 7, 8, 9)];
    const verdicts = sequences.map((write) => {
      let accepted = 0, refused = 0;
      for (let i = 0; i < 40; i++) {
        const items: Instruction[] = [raw(0x61, 7, 1), raw(0xb7, 8)];
        const lead = (at: number, target: number): void => void (items[at] = { ...items[at]!, off: target - at - 1 });
        write({ random, emit: (...fields) => items.push(raw(...fields)) - 1, here: () => items.length, lead, land: (at) => lead(at, items.length) });
        const loaded = world.load(toBytes([...items, raw(0xb7), raw(0x95)]), KIND_SYSCALL, 0, undefined);
        if (typeof loaded === 'number') refused++;
        else {
          accepted++;
          expect(world.run(loaded, 1, { tier: 'interpreter' }).fault).toBeUndefined();
          world.unload(loaded);
        }
        expect(world.settle()).toBeUndefined();
      }
      return [accepted > 4, refused > 2];
    });
    expect(verdicts).toEqual([[true, true], [true, true], [true, true]]);
  });

  test('find what the one before found: ring buffers and dynamic pointers in a used world give what they give in a new one', () => {
    const grammar = new Grammar(MAPS), random = new Random(77), used = new World();
    const calls = (program: Uint8Array, from: number, to: number): boolean => program.some((op, at) =>
      at % 8 === 0 && op === (U.BPF_JMP | U.BPF_CALL) && program[at + 1]! >> 4 === 0 && program[at + 4]! >= from && program[at + 4]! <= to);
    const outcome = (world: World, program: Uint8Array): unknown => {
      const loaded = world.load(program, KIND_SYSCALL, 0, undefined);
      if (typeof loaded === 'number') return loaded;
      const { lo, hi, instructions, fault, memory, place } = world.run(loaded, 5, { tier: 'interpreter' });
      world.unload(loaded);
      expect(world.settle()).toBeUndefined();
      return { lo, hi, instructions, fault: fault?.kind, memory: memory.slice(), place };
    };
    const ringOf = ({ kernel: { state, memory } }: World): Uint8Array => {
      const map = state.mapByFD(MAPS.ring);
      const at = map instanceof RingBufferMap ? map.ring : 0;
      return memory.u8.slice(at, at + memory.live().find(({ offset }) => offset === at)!.size);
    };
    const fresh = ringOf(used);
    let compared = 0;
    while (compared < 40) {
      const program = grammar.program(random, KIND_SYSCALL);
      const touchesRing = calls(program, U.BPF_FUNC_ringbuf_reserve, U.BPF_FUNC_ringbuf_reserve) || calls(program, U.BPF_FUNC_dynptr_from_mem, U.BPF_FUNC_dynptr_data);
      // after an update of a hash table the maps are made anew, at other addresses
      if (!touchesRing || calls(program, U.BPF_FUNC_map_update_elem, U.BPF_FUNC_map_delete_elem)) continue;
      const again = outcome(used, program);
      if (typeof again === 'number') continue;
      compared++;
      expect(again).toEqual(outcome(new World(), program));
      expect(ringOf(used)).toEqual(fresh);
    }
  });

  test('survive being written and read', () => {
    const target = createTarget(environment());
    const random = new Random(8);
    for (let i = 0; i < 50; i++) {
      const input = target.mutate(target.generate(random), random, target.generate(random));
      expect(target.serialise(target.deserialise(target.serialise(input)))).toEqual(target.serialise(input));
    }
    expect(() => target.deserialise(Uint8Array.of(1, 2, 3))).toThrow(/no program/);
  });

  test('as transcripts want what they gave: a fresh kernel agrees, and says what differs from another one', () => {
    const target = createTarget(environment());
    const random = new Random(22);
    const world = new World();
    const verdict = ({ instructions, kind, flags }: { kind: number; flags: number; instructions: Uint8Array }): unknown[] => {
      const loaded = world.load(instructions, kind, flags, undefined);
      if (typeof loaded !== 'number') world.unload(loaded);
      return typeof loaded === 'number' ? [-1, -loaded] : ['fd', 0];
    };
    const replayed = (lines: readonly string[]): readonly unknown[] => {
      const replay = new Replay({ createTarget: () => new KernelTarget({ cpus: 2 }) });
      for (const line of lines) replay.line(line);
      return replay.finish().mismatches.map(({ cmd, field }) => [cmd, field]);
    };
    let runs = 0;
    for (let i = 0; i < 5; i++) {
      const input = target.generate(random) as { kind: number; flags: number; instructions: Uint8Array };
      const plain = target.toTranscript(input)!;
      const lines = withAnswers(plain, performOnTwin(operationsOf(plain), undefined)).trim().split('\n');
      const wants = lines.slice(1).map((line) => JSON.parse(line) as { cmd?: string; want: { ret: unknown; errno: number; log?: string; retval?: number } });
      const load = wants.find(({ cmd }) => cmd === 'PROG_LOAD')!.want, run = wants.find(({ cmd }) => cmd === 'PROG_TEST_RUN')?.want;
      expect([load.ret, load.errno]).toEqual(verdict(input));
      expect(load.log).toContain('processed ');
      if (run?.ret === 0) runs++;
      expect(replayed(lines)).toEqual([]);
      const wrong = lines.map((line) => (line.includes('"PROG_LOAD"') ? line.replace(/"want":\{"ret":("fd"|-1),"errno":\d+/, '"want":{"ret":-1,"errno":7') : line));
      expect(replayed(wrong)).toContainEqual(['PROG_LOAD', 'errno']);
    }
    expect(runs).toBeGreaterThan(1);
    // A finding's transcript wants what ours gives, or what another kernel gave.
    const shard = new Shard(createTarget, environment());
    const finding = { oracle: 'test', trace: '', message: '', run: 0, bytes: target.serialise({ kind: KIND_SYSCALL, flags: 0, data: 1, instructions: assembleText('r0 = 7\nexit') }) };
    expect(shard.describe(finding).transcript).toContain('"retval":7');
    const other = shard.describe({ ...finding, answers: [{ ret: -1, errno: 12 }] });
    expect(JSON.parse(other.transcript!.split('\n')[1]!)).toMatchObject({ cmd: 'MAP_CREATE', want: { ret: -1, errno: 12 } });
  });
});

test('engines find the same stack, however deep the program before went', () => {
  const arena = new Arena();
  const [observed, plain] = [{ tier: 'interpreter', mode: 'checked', trace: (): void => undefined }, { tier: 'interpreter', mode: 'checked' }] as const;
  // Each tail call within a function begins the program anew one frame deeper.
  const deep = (access: Instruction): Uint8Array => toBytes([raw(0xbf, 8, 10), raw(0x07, 8, 0, 0, -64), access, raw(0x85, 0, 1, 0, 0), raw(0xf5)]);
  const reads = deep(raw(0xc3, 8, 3, 16, 0xe1)), writes = deep(raw(0x62, 8, 0, 16, 1));
  arena.run({ name: 'writes', instructions: writes }, 3000, [plain]);
  const [first, second] = arena.run({ name: 'reads', instructions: reads }, 3000, [observed, plain]);
  expect(first).toBe(second);
  expect(JSON.parse(first!)).toMatchObject({ used: 170 });
});

describe('the oracle of soundness', () => {
  test('decides membership as sets of numbers do', () => {
    const next = numbers(77);
    const words = new Int32Array(REG_WORDS);
    let inside = 0;
    for (let i = 0; i < 4000; i++) {
      const value = someValue(next);
      someScalar(next, words, REG_SCALAR, someValue(next));
      const holds = inScalar(words, REG_SCALAR, value);
      if (holds) inside++;
      expect(scalarHolds(words, 0, Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)))).toBe(holds);
    }
    expect(inside).toBeGreaterThan(50);
    expect(REG_TYPE + REG_A).toBeLessThan(REG_SCALAR);
  });

  test('knows ways that no run takes: of few programs, and of those where a bit that is set is said not to be', () => {
    const world = new World(), ways = new ImpossibleWays();
    const isSeen = (program: Uint8Array): boolean => {
      ways.begin(program);
      let left = 2000;
      const loaded = ((): ReturnType<World['load']> => {
        try {
          return world.load(program, KIND_SYSCALL, 0, { everyPath: true, visit: (insn, words, frame) => {
            if (--left < 0) throw new Error('a long loop');
            ways.visit(insn, words, frame);
          } });
        } catch {
          return -1;
        }
      })();
      if (typeof loaded !== 'number') world.unload(loaded);
      world.settle();
      return ways.seen;
    };
    const swapped = (...compare: string[]): Uint8Array => assembleText(`
      r9 = *(u64 *)(r1 +0)
      r0 = 0
      if w9 s< -1 goto +1
      exit
      r9 = be64 r9
      ${compare.join('\n')}
      r0 = r9
      exit`);
    expect(isSeen(swapped('if r9 >= 1 goto +1'))).toBe(true);
    expect(isSeen(swapped('if r9 == 0 goto +1'))).toBe(false);
    expect(isSeen(swapped('if r9 >= 1 goto +0'))).toBe(false);
    // a jump that was put aside, and one that leads to where another way comes from, too
    expect(isSeen(swapped('if r9 < 1 goto +1', 'exit'))).toBe(true);
    expect(isSeen(assembleText('r0 = *(u32 *)(r1 +0)\nif r0 > 5 goto +2\nr0 = 9\nif r0 == 8 goto +0\nexit'))).toBe(false);
    const grammar = new Grammar(MAPS), random = new Random(6);
    let seen = 0;
    for (let i = 0; i < 500; i++) if (isSeen(grammar.program(random, KIND_SYSCALL))) seen++;
    expect(seen).toBeLessThan(10);
  });

  test('finds a value that the recorded states do not allow', () => {
    const world = new World();
    const program = assembleText('r0 = *(u32 *)(r1 +0)\nr0 &= 7\nr0 += 1\nexit');
    const recorder = new StateRecorder();
    recorder.begin(program.length / 8);
    const loaded = world.load(program, KIND_SYSCALL, 0, recorder);
    if (typeof loaded === 'number') throw new Error(`refused: ${loaded}`);
    const follow = (): string[] => {
      const complaints: string[] = [];
      world.run(loaded, 3, {
        tier: 'interpreter',
        trace: (_, pc, registers) => {
          if (!recorder.foresaw(pc, registers, world.contextLo, world.memory)) complaints.push(`${pc}: ${recorder.explain(pc, registers, world.contextLo, world.memory).kind}`);
        },
      });
      return complaints;
    };
    expect(contextOf(3)).toHaveLength(64);
    expect(follow()).toEqual([]);
    // r0 at the exit: only 0x1234 is foreseen
    recorder.forEach((words, frame) => words.set([0x1234, 0, 0, 0, 0x1234, 0, 0, 0, 0x1234, 0], frame + 14 + REG_SCALAR));
    expect(follow().length).toBeGreaterThan(0);
  });
});
