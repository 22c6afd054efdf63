/** What reads of the kernel's memory say of addresses that are none: as Linux on x86-64 (`copy_from_kernel_nofault`). */
import { describe, expect, it } from 'vitest';
import { alu64, assemble, callHelper, exit, ldImm64, mov64 } from '../../../isa/encode.ts';
import * as U from '../../../isa/uapi.ts';
import { Caller, cString } from './support.ts';

const RETVAL = 4;

function readFrom(address: bigint, helper: number, size: number): number {
  const caller = new Caller();
  const insns = assemble([mov64('r1', 'r10'), alu64('add', 'r1', -16), mov64('r2', size), ldImm64('r3', address), callHelper(helper), exit()]);
  const prog = caller.call('PROG_LOAD', { prog_type: U.BPF_PROG_TYPE_SYSCALL, prog_flags: 1 << 4, insns, insn_cnt: insns.length / 8, license: cString('GPL') });
  expect(prog).toBeGreaterThan(0);
  expect(caller.call('PROG_TEST_RUN', { prog_fd: prog })).toBe(0);
  return caller.result(RETVAL) | 0;
}

describe.each([['probe_read_kernel', U.BPF_FUNC_probe_read_kernel], ['probe_read_kernel_str', U.BPF_FUNC_probe_read_kernel_str]] as const)('%s', (_, helper) => {
  it.each([
    [0n, -34], [0x1000n, -34], [0x7ffffffff000n, -34], [0x800000000000n, -34], [0xffffffffff600000n, -34], [0xffffffffff600fffn, -34],
    [0xffffffffff700000n, -14], [0xffffc90000000000n, -14],
  ])('of 0x%s', (address, result) => {
    expect(readFrom(address, helper, 8)).toBe(result);
  });
});

it('a read of nothing is refused for its address all the same', () => {
  expect([readFrom(0n, U.BPF_FUNC_probe_read_kernel, 0), readFrom(0n, U.BPF_FUNC_probe_read_kernel_str, 0)]).toEqual([-34, 0]);
});
