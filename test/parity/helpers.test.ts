/**
 * Which helpers a program of each type may call: the tables against what Linux 7.3.4 said when a program that calls the helper
 * was loaded. `helpers` has a character for each helper number: `+` allowed, `.` refused, `f` refused by the helper's own rule,
 * `s` refused because it sleeps, `i` no such helper. `nonGPL` is the same for a program under another licence, `g` for refused.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { HELPER_NAMES } from '../../isa/uapi.ts';
import { findProto, isForbidden, type ProgramFacts } from '../../verifier/progtypes/funcs.ts';
import { PROTOS } from '../../verifier/progtypes/protos.ts';

interface Row {
  readonly name: string;
  readonly type: number;
  readonly attachType: number;
  readonly sleepable: boolean;
  readonly capabilities: string;
  readonly helpers: string;
  readonly nonGPL?: string;
  readonly attachName: string;
  readonly attachStruct?: string;
}

const rows = JSON.parse(readFileSync(new URL('data/helpers.json', import.meta.url), 'utf8')) as readonly Row[];

function factsOf(row: Row): ProgramFacts {
  const all = row.capabilities === 'all';
  const has = (name: string): boolean => all || row.capabilities.split(',').includes(name);
  return {
    loadedType: row.type, type: row.type, expectedAttachType: row.attachType, sleepable: row.sleepable,
    capabilities: { bpf: has('bpf'), perfmon: has('perfmon'), netAdmin: has('net_admin'), sysAdmin: all },
    attachName: row.attachName, attachStruct: row.attachStruct ?? '', attachesToProgram: false,
  };
}

function expected(row: Row, id: number): string {
  if (id >= HELPER_NAMES.length) return 'i';
  const facts = factsOf(row);
  const proto = findProto(id, facts);
  if (proto === undefined) return '.';
  if (isForbidden(proto, facts)) return 'f';
  return proto.mightSleep && !row.sleepable ? 's' : '+';
}

describe('helpers by program type', () => {
  it.each(rows.map((row) => [`${row.name} with ${row.capabilities}`, row] as const))('%s', (_name, row) => {
    const ours = Array.from(row.helpers, (_, id) => expected(row, id));
    const differing = ours.flatMap((letter, id) => (letter === row.helpers[id] ? [] : [`${HELPER_NAMES[id] ?? id}: ${letter}, Linux ${row.helpers[id]}`]));
    expect(differing).toEqual([]);
  });
  it('knows which helpers need a GPL program', () => {
    for (const row of rows) {
      for (const [id, letter] of Array.from(row.nonGPL ?? '').entries()) {
        const proto = findProto(id, factsOf(row));
        if (proto !== undefined) expect(letter === 'g', `${row.name} ${proto.key}`).toBe(proto.gplOnly);
      }
    }
  });
  it('has a prototype for every helper but those without one on x86-64', () => {
    const ids = new Set([...PROTOS.values()].map((proto) => proto.id));
    expect(HELPER_NAMES.filter((_, id) => !ids.has(id))).toEqual(['unspec']);
  });
});
