/**
 * @module src/verify
 * `bpftwin verify` without the command line: every program of an object through libbpf's steps and the verifier, with the figures that
 * veristat shows. The load is `loader/object/load-object.ts`, the verdict the kernel's.
 */
import { parseKernelBTF } from '../btf/kernel.ts';
import { OBJ_INFO_ATTR, writeInt, writeLong } from '../isa/attr.ts';
import { formatXlated } from '../isa/disasm.ts';
import { errnoName } from '../isa/errno.ts';
import { InternalError } from '../isa/errors.ts';
import * as U from '../isa/uapi.ts';
import { KernelSymbols } from '../kernel/kallsyms.ts';
import { Kernel } from '../kernel/kernel.ts';
import { defaultObjectName } from '../loader/gen/skeleton-model.ts';
import { Scratch } from '../loader/port.ts';
import { loadObject, type LoadedObjectProgram } from '../loader/object/load-object.ts';
import { attachTypeName, programTypeName } from './names.ts';
import { applyPresets, type Preset } from './veristat/presets.ts';
import type { Stats } from './veristat/stats.ts';

/** How an object is verified. */
export interface VerifyOptions {
  /** Raw BTF of the kernel. */
  readonly kernelBTF?: () => Uint8Array;
  /** Names of the programs to load; default all. */
  readonly programs?: readonly string[];
  /** `log_level` bits: 1 and 2 for the instructions, 4 for the statistics, which are always asked for. */
  readonly logLevel?: number;
  /** Text of a kernel configuration, for `__kconfig` externs. */
  readonly configuration?: string;
  /** Bytes of the log's buffer; default enough for everything. */
  readonly logSize?: number;
  /** First values of global variables, as `parsePreset` reads them. */
  readonly presets?: readonly Preset[];
  /** `BPF_F_*` of every load: `BPF_F_TEST_STATE_FREQ`, `BPF_F_TEST_REG_INVARIANTS`. */
  readonly flags?: number;
  /** Gets the listing of every accepted program as Linux rewrote it. */
  readonly dump?: (program: string, listing: string) => void;
  /** Hears which program comes next; asks whether to load it. */
  readonly isWanted?: (program: string) => boolean;
  /** Milliseconds; default no time is taken, so that reports are the same every time. */
  readonly clock?: () => number;
}

/** One program's row, in the JSON of `verify -j`. */
export interface VerifiedRow {
  readonly file: string;
  readonly prog: string;
  readonly verdict: 'success' | 'failure';
  readonly errno: number;
  readonly name: string;
  readonly duration_us: number;
  /** Instructions processed. */
  readonly insns: number;
  readonly states: number;
  readonly peak_states: number;
  readonly max_states_per_insn: number;
  readonly max_mark_read_len: number;
  /** Instructions of the program. */
  readonly prog_size: number;
  readonly prog_type: string;
  readonly attach_type: string;
  /** Bytes of stack: of all subprograms together, and of the deepest chain of calls. */
  readonly stack_depth: number;
  readonly max_stack_depth: number;
  /** The last message of the verifier, or libbpf's reason for not loading. */
  readonly message: string;
  readonly log: string;
}

const STATISTICS = /^processed (\d+) insns \(limit \d+\) max_states_per_insn (\d+) total_states (\d+) peak_states (\d+) mark_read (\d+)/m;
/** A line a subprogram. */
const SUBPROGRAM_STACK = /^subprog \d+ \(.*\) \S+ insns_self \d+ insns_total \d+ stack (\d+)$/gm;
const MAX_STACK = /^stack depth max (\d+)/m;
const IS_STATISTIC = /^(processed |verification time|stack depth|max_states|mark_precise|subprog \d+ \()/;
const STATS_LEVEL = 4;
const SHORT_LOG = 1 << 20;
const LONG_LOG = 1 << 24;

/**
 * Loads every program of an object in a kernel of its own.
 *
 * @throws InputError where the object cannot be opened or its maps cannot be created
 *
 * @example
 * verifyObject(bytes, 'a.bpf.o', { kernelBTF: () => loadKernelBTF() }).map(({ prog, verdict }) => [prog, verdict]);
 */
export function verifyObject(bytes: Uint8Array, file: string, options: VerifyOptions = {}): VerifiedRow[] {
  const { kernelBTF, programs, logLevel = 0, clock, configuration, presets = [], dump, isWanted } = options;
  const btf = kernelBTF === undefined ? undefined : parseKernelBTF(kernelBTF());
  const symbols = new KernelSymbols(() => btf);
  const kernel = new Kernel(kernelBTF === undefined ? {} : { kernelBTF });
  const rows = loadObject(kernel, bytes, file, defaultObjectName(file), {
    kernel: { btf, symbol: (name) => symbols.lookup(name) },
    log: { level: logLevel | STATS_LEVEL, size: options.logSize ?? (logLevel === 0 ? SHORT_LOG : LONG_LOG) },
    only: (name: string) => (programs?.includes(name) ?? true) && (isWanted?.(name) ?? true),
    prepare: (object) => applyPresets(object, presets),
    ...(options.flags === undefined ? {} : { flags: options.flags }),
    ...(dump === undefined ? {} : { accepted: (name: string, fd: number) => dump(name, formatXlated(readXlated(kernel, fd))) }),
    ...(clock === undefined ? {} : { clock }),
    ...(configuration === undefined ? {} : { configuration }),
  });
  return rows.map((row) => describeRow(file, row));
}

/** Offsets in `struct bpf_prog_info`. */
const INFO = { size: 232, xlatedLength: 20, xlated: 32 } as const;

/** The program as Linux rewrote it and shows it, from `BPF_OBJ_GET_INFO_BY_FD`: first its length, then the instructions. */
function readXlated(kernel: Kernel, fd: number): Uint8Array {
  const scratch = new Scratch(kernel);
  try {
    const ask = (length: number, buffer: number): DataView => {
      const info = new DataView(new ArrayBuffer(INFO.size));
      info.setUint32(INFO.xlatedLength, length, true);
      info.setBigUint64(INFO.xlated, BigInt(buffer), true);
      const infoAddress = scratch.bytes(new Uint8Array(info.buffer));
      const attr = new DataView(new ArrayBuffer(OBJ_INFO_ATTR.info.offset + OBJ_INFO_ATTR.info.size));
      writeInt(attr, 0, OBJ_INFO_ATTR.bpf_fd, fd);
      writeInt(attr, 0, OBJ_INFO_ATTR.info_len, INFO.size);
      writeLong(attr, 0, OBJ_INFO_ATTR.info, BigInt(infoAddress));
      const result = kernel.bpf(U.BPF_OBJ_GET_INFO_BY_FD, scratch.bytes(new Uint8Array(attr.buffer)), attr.byteLength);
      if (result < 0) throw new InternalError(`what was just loaded cannot be asked about: ${errnoName(-result)}`);
      return new DataView(kernel.readUser(infoAddress, INFO.size).slice().buffer);
    };
    const length = ask(0, 0).getUint32(INFO.xlatedLength, true);
    const buffer = scratch.zeroed(length);
    ask(length, buffer);
    return kernel.readUser(buffer, length).slice();
  } finally {
    scratch.release();
  }
}

/** veristat's figures of a row, by the names of its CSV. */
export function rowStats(row: VerifiedRow): Stats {
  const { prog, verdict, duration_us, insns, states, peak_states, max_states_per_insn, max_mark_read_len, prog_size, prog_type, attach_type } = row;
  return {
    file_name: row.file.slice(row.file.lastIndexOf('/') + 1), prog_name: prog, verdict, duration: duration_us, total_insns: insns, total_states: states,
    peak_states, max_states_per_insn, max_mark_read_len, prog_size, prog_type, attach_type,
    stack_depth: row.stack_depth, max_stack_depth: row.max_stack_depth,
    // What veristat writes where there is no JIT and where memory cannot be measured.
    prog_size_jited: 0, mem_peak: -1,
  };
}

function describeRow(file: string, { name, errno, reason, log, milliseconds, size, type, expectedAttachType }: LoadedObjectProgram): VerifiedRow {
  const [, insns = '0', perInsn = '0', states = '0', peak = '0', markRead = '0'] = STATISTICS.exec(log) ?? [];
  return {
    file, prog: name, verdict: errno === 0 ? 'success' : 'failure', errno, name: errno === 0 ? '' : errnoName(errno),
    duration_us: Math.round(milliseconds * 1000), insns: Number(insns), states: Number(states), peak_states: Number(peak),
    max_states_per_insn: Number(perInsn), max_mark_read_len: Number(markRead),
    prog_size: size, prog_type: programTypeName(type), attach_type: attachTypeName(expectedAttachType),
    stack_depth: [...log.matchAll(SUBPROGRAM_STACK)].reduce((sum, [, depth]) => sum + Number(depth), 0),
    max_stack_depth: Number(MAX_STACK.exec(log)?.[1] ?? 0),
    message: errno === 0 ? '' : reason ?? lastMessage(log), log,
  };
}

/** The message that decided; the report that may follow it explains the same at length. */
function lastMessage(log: string): string {
  const report = log.indexOf('\nVerification failed: ');
  return (report < 0 ? log : log.slice(0, report)).split('\n').findLast((line) => line !== '' && !IS_STATISTIC.test(line)) ?? '';
}
