/**
 * @module src/fuzz/mutators/typed-programs
 * Programs with types of their own: functions that are static or global, arguments that are numbers, pointers or tagged, records of functions and
 * lines; then something in types, records or instructions changed. Owns the pair of calls; nothing here checks anything. Contracts
 * aimed at: kernel/bpf/check_btf.c, btf_prepare_func_args.
 */
import { assemble, callLocal, exit, label, ldx, mov64, raw, type Item } from '../../../isa/encode.ts';
import { bytesOfSlots, mutateInstructions, slotsOf } from './instructions.ts';
import * as U from '../../../isa/uapi.ts';
import type { Operation } from '../../replay/transcript.ts';
import type { Random } from '../random.ts';
import { withInteger } from './bytes.ts';
import { makeCall, NO_ANSWER, SLOTS } from './calls.ts';
import { Types } from './object-file.ts';

const LOG_BYTES = 4096;
const SLEEPABLE = 1 << 4;
const PROGRAM_TYPES = [U.BPF_PROG_TYPE_SOCKET_FILTER, U.BPF_PROG_TYPE_XDP, U.BPF_PROG_TYPE_SCHED_CLS, U.BPF_PROG_TYPE_SYSCALL, U.BPF_PROG_TYPE_KPROBE, U.BPF_PROG_TYPE_RAW_TRACEPOINT] as const;
const TAGS = ['arg:ctx', 'arg:nonnull', 'arg:nullable', 'arg:trusted', 'arg:arena', 'exception_callback:f', 'other'] as const;
const LINKAGES = [U.BTF_FUNC_STATIC, U.BTF_FUNC_GLOBAL, U.BTF_FUNC_GLOBAL] as const;

function words(rows: readonly (readonly number[])[]): Uint8Array {
  const out = new Uint8Array(rows.flat().length * 4), view = new DataView(out.buffer);
  for (const [i, word] of rows.flat().entries()) view.setUint32(4 * i, word, true);
  return out;
}

/** Types of a main function and another with `count` arguments; ids of both. */
function typesOf(random: Random, count: number): { readonly bytes: Uint8Array; readonly main: number; readonly other: number; readonly text: number } {
  const types = new Types();
  const int = types.add(U.BTF_KIND_INT, 'int', 0, 4, 0x01000020);
  const struct = types.add(U.BTF_KIND_STRUCT, random.pick(['s', '__sk_buff', 'xdp_md', 'task_struct']), 1, 8, types.strings.add('a'), int, 0);
  const argument = (): number => {
    switch (random.below(5)) {
      case 0: case 1: return int;
      case 2: return types.add(U.BTF_KIND_PTR, '', 0, 0);
      case 3: return types.add(U.BTF_KIND_PTR, '', 0, struct);
      default: return types.add(U.BTF_KIND_TYPEDEF, 'bpf_user_pt_regs_t', 0, int);
    }
  };
  const parameters = (n: number): number[] => Array.from({ length: n }, () => argument()).flatMap((type, i) => [types.strings.add(`p${i}`), type]);
  const proto = (n: number): number => {
    const list = parameters(n);
    return types.add(U.BTF_KIND_FUNC_PROTO, '', n, random.oneIn(8) ? 0 : int, ...list);
  };
  const main = types.add(U.BTF_KIND_FUNC, 'main', random.pick([0, 1]), proto(1));
  const other = types.add(U.BTF_KIND_FUNC, 'f', random.oneIn(12) ? U.BTF_FUNC_EXTERN : random.pick(LINKAGES), proto(count));
  for (let tags = random.below(3); tags > 0; tags--) types.add(U.BTF_KIND_DECL_TAG, random.pick(TAGS), 0, random.oneIn(5) ? main : other, count === 0 || random.oneIn(6) ? random.below(3) - 1 : random.below(count));
  const text = types.strings.add('int main(void) { return f(1); }');
  return { bytes: types.bytes, main, other, text };
}

/** One word changed, as numbers of types, offsets and lengths are. */
function withWord(bytes: Uint8Array, random: Random): Uint8Array {
  if (bytes.length < 4) return bytes;
  const at = 4 * random.below(bytes.length >> 2);
  const old = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
  return withInteger(bytes, at, 4, random.oneIn(2) ? old + random.between(-4, 4) : random.oneIn(2) ? random.below(24) : random.int32());
}

/** The calls: types loaded, a program loaded with them, and run. */
export function typedProgram(random: Random): readonly Operation[] {
  const count = random.below(4);
  const types = typesOf(random, count);
  const kernelCall: readonly Item[] = random.oneIn(6) ? [raw(U.BPF_JMP | U.BPF_CALL, 0, U.BPF_PSEUDO_KFUNC_CALL, 0, 55_000 + random.below(20_000))] : [];
  const reads: readonly Item[] = random.oneIn(2) && count > 0 ? [ldx('u32', 'r0', `r${1 + random.below(count)}` as 'r1', random.pick([0, 4, 8]))] : [];
  const before = [mov64('r6', 'r1'), ...(random.oneIn(2) ? [] : [mov64('r1', 1)]), mov64('r2', random.oneIn(3) ? 'r6' : 2), mov64('r3', 'r10')];
  const program = assemble([...before, ...kernelCall, callLocal('f'), mov64('r0', 0), exit(), label('f'), mov64('r0', 0), ...reads, exit()]);
  const start = program.length / 8 - 2 - reads.length;
  let insns = bytesOfSlots(slotsOf(program));
  let btf = types.bytes, func_info = words([[0, types.main], [start, types.other]]);
  let line_info = words([[0, types.text, types.text, 1 << 10], [start, types.text, types.text, 2 << 10]]);
  for (let changes = random.below(3); changes > 0; changes--) {
    switch (random.below(4)) {
      case 0: btf = withWord(btf, random); break;
      case 1: func_info = withWord(func_info, random); break;
      case 2: line_info = withWord(line_info, random); break;
      default: insns = mutateInstructions(insns, random, undefined);
    }
  }
  const prog_type = random.pick(PROGRAM_TYPES), slot = random.below(SLOTS), programSlot = random.below(SLOTS);
  const withLines = random.oneIn(2);
  return [
    makeCall('BTF_LOAD', { btf, btf_size: btf.length }, { save: slot }),
    makeCall('PROG_LOAD', {
      prog_type, insns, insn_cnt: insns.length / 8, license: Uint8Array.of(71, 80, 76, 0), prog_name: 't', prog_flags: prog_type === U.BPF_PROG_TYPE_SYSCALL ? SLEEPABLE : 0,
      log_level: 1, log_size: LOG_BYTES, func_info, func_info_rec_size: random.oneIn(12) ? random.below(16) : 8, func_info_cnt: func_info.length / 8,
      ...(withLines ? { line_info, line_info_rec_size: 16, line_info_cnt: line_info.length / 16 } : {}),
    }, { save: programSlot, fds: { prog_btf_fd: slot }, outs: { log_buf: LOG_BYTES } }),
    { op: 'close', slot, want: NO_ANSWER },
    makeCall('PROG_TEST_RUN', { data_in: random.bytes(40), data_size_in: 40 }, { fds: { prog_fd: programSlot } }),
  ];
}
