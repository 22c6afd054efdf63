/**
 * Which bytes of its context a program may access: the rules against what Linux 7.3.4 said to a program with that one access.
 * `access` has by kind (`r` load, `s` sign-extending load, `w` store) and size a character for each aligned offset: `+` allowed,
 * `.` refused; `kinds` names what a load gives where that is no scalar, by `offset/size`.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { AccessInfo } from '../../verifier/ops_types.ts';
import { CONTEXT_RULES } from '../../verifier/progtypes/ctx_access.ts';
import type { ProgramFacts } from '../../verifier/progtypes/funcs.ts';
import { regTypeName, SCALAR_VALUE } from '../../verifier/regtypes.ts';

interface Row {
  readonly name: string;
  readonly type: number;
  readonly attachType: number;
  readonly access: Readonly<Record<string, string>>;
  readonly kinds: Readonly<Record<string, string>>;
}

const rows = JSON.parse(gunzipSync(readFileSync(new URL('data/ctx-access.json.gz', import.meta.url))).toString()) as readonly Row[];

function factsOf(row: Row): ProgramFacts {
  return {
    loadedType: row.type, type: row.type, expectedAttachType: row.attachType, sleepable: false,
    capabilities: { bpf: true, perfmon: true, netAdmin: true, sysAdmin: true }, attachName: '', attachStruct: '', attachesToProgram: false,
  };
}

function judge(row: Row, off: number, size: number, kind: string): AccessInfo | undefined {
  const info: AccessInfo = { regType: SCALAR_VALUE, isLdsx: kind === 's', isRetval: false, ctxFieldSize: 0, btfIndex: 0, btfID: 0, refID: 0 };
  const rule = CONTEXT_RULES.get(row.type);
  return rule?.({ off, size, isWrite: kind === 'w', info, facts: factsOf(row) }) === true ? info : undefined;
}

describe('context access by program type', () => {
  it.each(rows.map((row) => [row.name, row] as const))('%s', (_name, row) => {
    const differing: string[] = [];
    for (const [key, letters] of Object.entries(row.access)) {
      const size = Number(key.slice(1));
      for (let i = 0; i < letters.length; i++) {
        const ours = judge(row, i * size, size, key.slice(0, 1)) === undefined ? '.' : '+';
        if (ours !== letters[i]) differing.push(`${key} at ${i * size}: ${ours}, Linux ${letters[i]}`);
      }
    }
    expect(differing).toEqual([]);
  });
  it('takes negative offsets for tracepoints only, as Linux does', () => {
    for (const row of rows) {
      const isTracepoint = row.name === 'TRACEPOINT';
      for (const [off, size] of [[-4, 4], [-8, 8]] as const) expect(judge(row, off, size, 'r') !== undefined, row.name).toBe(isTracepoint);
      expect(judge(row, 1, 2, 'r') === undefined || row.name.startsWith('SYSCALL'), row.name).toBe(true);
    }
  });
  it.each(rows.map((row) => [row.name, row] as const))('%s: what loads give', (_name, row) => {
    for (const [place, kind] of Object.entries(row.kinds)) {
      const [off = 0, size = 0] = place.split('/').map(Number);
      const info = judge(row, off, size, 'r');
      // A netfilter program's pointers get their type from the kernel's BTF, which the front does.
      if (kind !== 'trusted_ptr_sk_buff' && kind !== 'trusted_ptr_nf_hook_state') expect(info === undefined ? '' : regTypeName(info.regType), place).toBe(kind);
    }
  });
});
