/**
 * What hangs on BTF, replayed through `bpf()` bytes against Linux 7.3.4: maps with keys and values of every kind, function and line
 * records of programs, special fields of values and objects, and which kernel functions each program type may call.
 */
import { describe, expect, it } from 'vitest';
import { caseNames, replayed } from './replayed.ts';

/** How many cases each file has: a case that silently went missing fails. */
const FILES: Readonly<Record<string, number>> = {
  'btf-programs.jsonl.gz': 230,
  'btf-fields.jsonl.gz': 107,
  'kfuncs.jsonl.gz': 266,
};

describe.each(Object.entries(FILES))('%s', (file, count) => {
  const names = caseNames(file);
  const differences = replayed(file);

  it(`has ${count} cases, all of which agree`, () => {
    expect(names.length).toBe(count);
    const different = names.map((name) => ({ name, differences: differences(name) })).filter((each) => each.differences.length > 0);
    expect(different).toEqual([]);
  });
});
