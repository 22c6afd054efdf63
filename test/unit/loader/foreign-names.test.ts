/**
 * Names of any bytes: everything that is generated from an object or listed of it has them as they are, as bpftool's output does
 * (recorded by `foreign-names.mjs`).
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { latin1, latin1Bytes, readable } from '../../../isa/latin1.ts';
import { InputError } from '../../../isa/errors.ts';
import { linkObjects } from '../../../loader/link/linker.ts';
import { dumpBTF } from '../../../src/btf.ts';
import { generateLightSkeleton, generateModule, generateSkeleton, generateSubskeleton } from '../../../src/gen.ts';
import { readBTFFile } from '../../../src/node/kernel-btf.ts';
import { bpftwin, temporary } from '../cli/harness.ts';
import { OBJECTS, sha256, VARIANTS, withForeignNames } from './foreign-names.mjs';

type Answers = Readonly<Record<string, string | null>>;
const RECORDED = JSON.parse(readFileSync(new URL('data/foreign-names.json', import.meta.url), 'utf8')) as Readonly<Record<string, Answers>>;

function digest(make: () => Uint8Array | string): string | null {
  try {
    const made = make();
    return sha256(typeof made === 'string' ? latin1Bytes(made) : made);
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

describe('names that are no UTF-8', () => {
  it.each(OBJECTS.flatMap(([name, path]) => VARIANTS.map((variant) => [name, variant, path] as const)))('%s %i: every form has them as they are', (name, variant, path) => {
    const bytes = withForeignNames(readFileSync(path), variant);
    const file = temporary('object.bpf.o', bytes);
    const types = (format: 'c' | 'raw' | 'json') => (): string => [...dumpBTF({ ...readBTFFile(file), file }, { format })].join('');
    expect({
      skeleton: digest(() => generateSkeleton(bytes, file, { name: 'a' })), light: digest(() => generateLightSkeleton(bytes, file, { name: 'a' })),
      subskeleton: digest(() => generateSubskeleton(bytes, file, { name: 'a' })), c: digest(types('c')), raw: digest(types('raw')), json: digest(types('json')),
      linked: digest(() => linkObjects([{ file, bytes }])),
    }).toEqual(RECORDED[`${name} ${variant}`]);
  });

  it('go through the command byte by byte', async () => {
    const [, path = ''] = OBJECTS[0] ?? [];
    const file = temporary('object.bpf.o', withForeignNames(readFileSync(path), 0));
    const { status, stdout } = await bpftwin(['gen', 'skeleton', file, 'name', 'a']);
    expect([status, sha256(latin1Bytes(stdout))]).toEqual([0, RECORDED['globals 0']?.['skeleton']]);
    expect(/[\x80-\xff]/.test(stdout)).toBe(true);
  });

  it('are escaped in TypeScript, where they are read as UTF-8 if they are that', () => {
    const [, path = ''] = OBJECTS[0] ?? [];
    // oxlint-disable-next-line no-control-regex
    expect(generateModule(withForeignNames(readFileSync(path), 0), 'a.o', { name: 'a' })).toMatch(/^[\0-\x7f]*$/);
    expect([readable(latin1(new TextEncoder().encode('größe'))), readable('gr\xf6\xdfe'), readable('ascii'), readable('größe\u20ac')]).toEqual(['größe', 'gr\xf6\xdfe', 'ascii', 'größe\u20ac']);
  });
});
