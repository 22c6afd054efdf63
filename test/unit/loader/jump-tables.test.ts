/**
 * Jump tables and arenas of objects: what is put into them, and what a generated loader cannot do with them.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { generateLoader } from '../../../loader/gen/gen-loader.ts';
import { openObject } from '../../../loader/object/open.ts';
import { relocateObject } from '../../../loader/object/relocate.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { verifyObject } from '../../../src/verify.ts';

const read = (name: string): Uint8Array => Uint8Array.from(readFileSync(new URL(`data/${name}.bpf.o`, import.meta.url)));
const verify = (name: string): [string, string, string][] =>
  verifyObject(read(name), `${name}.bpf.o`, { kernelBTF: () => loadKernelBTF() }).map(({ prog, verdict, message }) => [prog, verdict, message]);

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return 'no error';
}

/** Tables by program: place in the section, and the slots of the program that it may jump to. */
function tablesOf(bytes: Uint8Array): [offset: number, targets: readonly number[]][] {
  const tables: [number, readonly number[]][] = [];
  relocateObject(openObject(bytes, 'a.o', 'a'), {
    map: () => {}, mapValue: () => {}, symbol: () => {}, kernelCall: () => {},
    jumpTable: (_instructions, _slot, { offset, targets }) => tables.push([offset, targets]),
  });
  return tables;
}

describe('jump tables', () => {
  it('count in instructions of the program, also where a subprogram was appended', () => {
    // `calls` has 6 instructions, then come `before` with 3 and `sub_jumps`, whose labels are at its slots 4 and 6.
    expect(tablesOf(read('jumptables'))).toEqual([[0, [5, 7]], [16, [13, 15, 15]]]);
  });

  it('are verified with the programs that jump through them', () => {
    expect(verify('jumptables')).toEqual([['main_jumps', 'success', ''], ['calls', 'success', '']]);
  });

  it('that lead out of the program are refused by the verifier', () => {
    const bytes = read('jumptables');
    const view = new DataView(bytes.buffer);
    const table = new DataView(openObject(bytes, 'a.o', 'a').elf.sections.find(({ name }) => name === '.jumptables')?.data.buffer ?? bytes.buffer);
    const at = openObject(bytes, 'a.o', 'a').elf.sections.find(({ name }) => name === '.jumptables')?.offset ?? 0;
    expect(table.getBigUint64(at, true)).toBe(40n);
    view.setBigUint64(at + 8, 8n * 4000n, true);
    const [row] = verifyObject(bytes, 'a.o', { kernelBTF: () => loadKernelBTF(), programs: ['main_jumps'] });
    expect(row).toMatchObject({ verdict: 'failure' });
    view.setBigUint64(at + 8, 1n << 40n, true);
    expect(refusal(() => tablesOf(bytes))).toBe("a.o: section .jumptables: map '.jumptables': invalid jump table value 0x10000000000 at offset 8");
  });

  it('cannot be created by a generated loader', () => {
    expect(refusal(() => generateLoader(openObject(read('jumptables'), 'a.o', 'a')))).toBe("a.o: section socket: prog 'main_jumps': relo #0: can't create jump table: sym_off 0");
  });
});

describe('arenas', () => {
  it('are mapped before programs are loaded, with their variables at the end', () => {
    expect(verify('arena')).toEqual([['refer', 'success', '']]);
    expect(verify('arenadata')).toEqual([['bump', 'success', '']]);
  });

  it('with variables cannot be filled by a generated loader', () => {
    expect(refusal(() => generateLoader(openObject(read('arenadata'), 'a.o', 'a')))).toMatch(/^a\.o: failed to load object file: EOPNOTSUPP, a loader cannot fill arena 'pages'/);
  });
});
