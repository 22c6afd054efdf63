/**
 * Maps of callbacks: which variables become maps, which programs they name, what a kernel and a generated loader make of them.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { BPF_F_LINK, BPF_MAP_TYPE_STRUCT_OPS } from '../../../isa/uapi.ts';
import { generateLoader } from '../../../loader/gen/gen-loader.ts';
import type { BPFObject } from '../../../loader/object/model.ts';
import { openObject } from '../../../loader/object/open.ts';
import { loadKernelBTF } from '../../../src/node/kernel-btf.ts';
import { verifyObject } from '../../../src/verify.ts';

const read = (name: string): Uint8Array => readFileSync(new URL(`data/${name}.bpf.o`, import.meta.url));
const open = (name: string): BPFObject => openObject(read(name), `${name}.bpf.o`, name);
const verify = (name: string, bytes = read(name)): [string, string, string][] =>
  verifyObject(bytes, `${name}.bpf.o`, { kernelBTF: () => loadKernelBTF() }).map(({ prog, verdict, message }) => [prog, verdict, message]);

function reasonOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return 'no error';
}

describe('struct_ops maps', () => {
  it('are the variables of their sections, with the flag of the link and the programs by member', () => {
    const { maps, programs } = open('structops');
    const rows = maps.filter(({ definition }) => definition.type === BPF_MAP_TYPE_STRUCT_OPS).map(({ name, definition, autocreate, callbacks }) =>
      [name, definition.flags, autocreate, [...callbacks].map(([member, index]) => `${member} ${programs[index]?.name ?? ''}`)]);
    expect(rows).toEqual([
      ['linked', BPF_F_LINK, true, ['0 half', '1 grow', '2 half']],
      ['plain', 0, true, ['0 half']],
      ['optional', 0, false, ['0 for_optional']],
      // libbpf forgets the question mark with the first map of a section.
      ['after_optional', 0, true, []],
    ]);
  });

  it('attach their programs to members of the kernel\'s structure; a member that the kernel has not is passed over', () => {
    expect(verify('structops')).toEqual([
      ['half', 'success', ''], ['grow', 'success', ''],
      ['for_optional', 'success', ''],
      ['unused_callback', 'failure', 'SEC("struct_ops") program isn\'t referenced anywhere, did you forget to use it?'],
    ]);
  });

  it('of structures that the kernel does not know are refused with libbpf\'s words', () => {
    const bytes = read('optional');
    const at = Buffer.from(bytes).indexOf('tcp_congestion_ops');
    const renamed = Uint8Array.from(bytes);
    renamed[at] = 'x'.charCodeAt(0);
    expect(reasonOf(() => verify('optional', renamed))).toBe(
      'optional.bpf.o: map maybe: struct_ops init_kern: struct bpf_struct_ops_xcp_congestion_ops is not found in kernel BTF',
    );
  });

  it('cannot be created by a generated loader', () => {
    expect(reasonOf(() => generateLoader(open('structops')))).toMatch(/^structops\.bpf\.o: map linked: struct_ops maps cannot be created by a loader/);
    expect(reasonOf(() => generateLoader(open('optional')))).toBe('optional.bpf.o: failed to load object file: EFAULT, nr_progs 1/0 nr_maps 1/0 mismatch');
  });
});
