/**
 * Malformed objects: whatever is wrong with a header, a section, a symbol, a relocation, a type or a record, each form is what bpftool writes,
 * or both refuse (recorded by `hostile-objects.mjs`). Where bpftool crashes, ours refuses or makes something of it.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { latin1Bytes } from '../../../isa/latin1.ts';
import { linkObjects } from '../../../loader/link/linker.ts';
import { dumpBTF } from '../../../src/btf.ts';
import { generateLightSkeleton, generateSkeleton, generateSubskeleton } from '../../../src/gen.ts';
import { readBTFFile } from '../../../src/node/kernel-btf.ts';
import { temporary } from '../cli/harness.ts';
import { COUNT, FORMS, hostileObject, shorten } from './hostile-objects.mjs';

const RECORDED = JSON.parse(readFileSync(new URL('data/hostile-objects.json', import.meta.url), 'utf8')) as readonly (readonly string[])[];
const GROUP = 40;
/** A symbol's value beyond 2^53: libbpf takes its lower half for an offset, ours refuses it. */
const NAMED: ReadonlySet<string> = new Set(['1 subskeleton']);

function made(make: () => Uint8Array | string): string {
  try {
    const output = make();
    return shorten(typeof output === 'string' ? latin1Bytes(output) : output);
  } catch (error) {
    if (error instanceof InputError && error.reason !== '') return 'refused';
    throw error;
  }
}

function everyForm(bytes: Uint8Array): string[] {
  const file = temporary('object.bpf.o', bytes);
  const types = (format: 'c' | 'raw') => (): string => [...dumpBTF({ ...readBTFFile(file), file }, { format })].join('');
  return [
    made(() => generateSkeleton(bytes, file, { name: 'a' })), made(() => generateLightSkeleton(bytes, file, { name: 'a' })), made(() => generateSubskeleton(bytes, file, { name: 'a' })),
    made(types('c')), made(types('raw')), made(() => linkObjects([{ file, bytes }])),
  ];
}

describe('malformed objects', () => {
  it.each(Array.from({ length: COUNT / GROUP }, (_, i) => GROUP * i))('numbers %i and following are as bpftool has them', (first) => {
    const differences: string[] = [];
    for (let number = first; number < first + GROUP; number++) {
      const got = everyForm(hostileObject(number));
      for (const [i, want] of (RECORDED[number] ?? []).entries()) if (want !== 'crash' && want !== got[i] && !NAMED.has(`${number} ${FORMS[i] ?? ''}`)) differences.push(`${number} ${FORMS[i] ?? ''}: ${got[i] ?? ''}, bpftool ${want}`);
    }
    expect(differences).toEqual([]);
  });
});
