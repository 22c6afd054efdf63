/** Branch counters put into a module's text: what it does stays, every branch taken is counted, ids do not depend on the machine. */
import { expect, test } from 'vitest';
import { COUNTER_KEY, installCounters, instrument, load, roomPath } from '../../../src/node/fuzz-instrument.ts';

const SOURCE = `
  let total = 0;
  const kind = (n) => n > 5 ? 'big' : n < 0 ? 'negative' : 'small';
  class Box { #v = 1; get v() { return this.#v ?? 2; } set(v) { if (v) this.#v = v; else if (v === 0) this.#v = 0; return this; } }
  function sum(list) { for (const n of list) total += n; let i = 0; while (i < 2) i++; do i--; while (i > 0); return total; }
  function pick(n) { switch (n) { case 1: return 'one'; case 2: case 3: return 'few'; default: return 'many'; } }
  function guarded(f) { try { return f(); } catch { return 'caught'; } finally { total = 0; } }
  const arrow = async () => { return [kind(9), kind(-1), kind(1)]; };
  return [kind(7), new Box().set(3).v, new Box().set(0).v, sum([1, 2]), pick(2), pick(9), guarded(() => { throw 1; }), typeof arrow];
`;

/** Runs the body of a module as a function. */
function run(text: string): unknown {
  return (new Function(text) as () => unknown)();
}

test('an instrumented module does the same and counts its branches', () => {
  const hits: number[] = [];
  (globalThis as unknown as Record<symbol, unknown>)[Symbol.for(COUNTER_KEY)] = (id: number) => hits.push(id);
  // The parser reads modules: a module has no return, so the body is that of a function.
  const text = instrument(`const f = function () { ${SOURCE} }; globalThis.__result = f();`, 'btf/example');
  run(text);
  expect((globalThis as unknown as { __result: unknown }).__result).toEqual(run(SOURCE));
  expect(new Set(hits).size).toBeGreaterThan(15);
  const before = hits.length;
  run(text);
  expect(hits.slice(before)).toEqual(hits.slice(0, before));
  expect(instrument('if (1) f(); else g();', 'btf/a')).not.toBe(instrument('if (1) f(); else g();', 'btf/b'));
});

test('only modules of the rooms that read hostile input are counted', () => {
  const installed = 'file:///x/node_modules/bpftwin/dist/';
  expect(roomPath(`${installed}btf/check.js`, installed)).toBe('btf/check');
  expect(roomPath(`${installed}kernel/syscall/dispatch.js`, installed)).toBe('kernel/syscall/dispatch');
  expect(roomPath(`${installed}verifier/verify.js`, installed)).toBeUndefined();
  expect(roomPath(`${installed}src/loader/a.js`, installed)).toBeUndefined();
  expect(roomPath('file:///x/node_modules/other/loader/a.js', installed)).toBeUndefined();
  expect(roomPath('node:fs', installed)).toBeUndefined();
  expect(roomPath(new URL('../../../btf/check.js', import.meta.url).href)).toBe('btf/check');
});

test('counters come with either way of hooking into loading', async () => {
  const url = new URL('../../../btf/made-up.js', import.meta.url).href, other = new URL('../../../vm/made-up.js', import.meta.url).href;
  const source = 'export const f = (a) => a ? 1 : 2;', counted = instrument(source, 'btf/made-up');
  const nextLoad = (): { format: string; source: Uint8Array } => ({ format: 'module', source: new TextEncoder().encode(source) });
  const hits: number[] = [];
  // In the thread itself, where Node can.
  let hooks: { load: (url: string, context: unknown, next: typeof nextLoad) => { source?: unknown } } | undefined;
  installCounters((id) => void hits.push(id), { registerHooks: (given) => { hooks = given as unknown as typeof hooks; }, register: () => { throw new Error('not this way'); } });
  expect(hooks?.load(url, {}, nextLoad).source).toBe(counted);
  expect(hooks?.load(other, {}, nextLoad).source).toEqual(nextLoad().source);
  // In a thread of its own otherwise, where this module is loaded again.
  const registered: string[] = [];
  installCounters((id) => void hits.push(id), { register: (specifier) => void registered.push(specifier) });
  expect(registered).toEqual([expect.stringMatching(/fuzz-instrument\.[jt]s$/)]);
  expect((await load(url, {}, async () => nextLoad())).source).toBe(counted);
  expect((await load(url, {}, async () => ({ format: 'builtin' }))).source).toBeUndefined();
  const counter = (globalThis as unknown as Record<symbol, (id: number) => void>)[Symbol.for(COUNTER_KEY)]!;
  counter(7);
  expect(hits).toEqual([7]);
});
