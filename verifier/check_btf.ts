/**
 * @module verifier/check_btf
 * The program's own BTF: function and line records, checked against the instructions (kernel/bpf/check_btf.c).
 */
import { applyCoreRelocation, CoreCandidateCache } from '../btf/core_apply.ts';
import { readCoreRelocation } from '../btf/ext.ts';
import { EACCES, EBADF, EFAULT, EINVAL, E2BIG } from '../isa/errno.ts';
import { BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FUNC, BTF_KIND_FUNC_PROTO, BTF_KIND_INT } from '../isa/uapi.ts';
import { Insns, type LineInfo, type VerifierEnv } from './env.ts';
import { BPF_LOG_LEVEL2 } from './log_levels.ts';
import type { BTFDescriptor, UserArray } from './types.ts';

const FUNC_INFO_SIZE = 8;
const LINE_INFO_SIZE = 16;
const CORE_RELO_SIZE = 16;
const MAX_RECORD_SIZE = 252;

function checkAbnormalReturn(env: VerifierEnv): number {
  for (let i = 1; i < env.subprogCount; i++) {
    if (env.subprogs[i]!.hasLDAbs) {
      env.log.write('LD_ABS is not allowed in subprogs without BTF\n');
      return -EINVAL;
    }
    if (env.subprogs[i]!.hasTailCall) {
      env.log.write('tail_call is not allowed in subprogs without BTF\n');
      return -EINVAL;
    }
  }
  return 0;
}

/** Records that are read at a time. */
const CHUNK = 128;

/** Records in user memory, cut or checked to `size` bytes. */
class Records {
  readonly #env: VerifierEnv;
  readonly #array: UserArray;
  readonly #size: number;
  readonly #what: string;
  #chunk: DataView = new DataView(new ArrayBuffer(0));
  #chunkAt = -1;
  /** Where the record that {@link seek} went to begins in {@link view}. */
  at = 0;

  constructor(env: VerifierEnv, array: UserArray, size: number, what: string) {
    this.#env = env;
    this.#array = array;
    this.#size = size;
    this.#what = what;
  }

  get view(): DataView {
    return this.#chunk;
  }

  /** Goes to record `i`; `-errno` where it cannot be read or has more than zeros behind. */
  seek(i: number): number {
    const { recordSize, count } = this.#array;
    if (recordSize === this.#size) {
      if (this.#chunkAt >= 0 && i >= this.#chunkAt && (i - this.#chunkAt + 1) * recordSize <= this.#chunk.byteLength) {
        this.at = (i - this.#chunkAt) * recordSize;
        return 0;
      }
      const bytes = this.#array.read(i * recordSize, Math.min(CHUNK, count - i) * recordSize);
      if (bytes !== undefined) {
        this.#chunk = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        this.#chunkAt = i;
        this.at = 0;
        return 0;
      }
    }
    // memory that ends inside the chunk, or records of another version: one by one
    this.#chunkAt = -1;
    this.at = 0;
    return this.#readOne(i * recordSize);
  }

  #readOne(at: number): number {
    const { recordSize } = this.#array;
    if (recordSize > this.#size) {
      const tail = this.#array.read(at + this.#size, recordSize - this.#size);
      if (tail === undefined) return -EFAULT;
      if (tail.some((byte) => byte !== 0)) {
        this.#env.log.write(`nonzero tailing record in ${this.#what}`);
        return -E2BIG;
      }
    }
    const bytes = new Uint8Array(this.#size);
    const given = this.#array.read(at, Math.min(this.#size, recordSize));
    if (given === undefined) return -EFAULT;
    bytes.set(given);
    this.#chunk = new DataView(bytes.buffer);
    return 0;
  }
}

function readFuncInfo(env: VerifierEnv): number {
  const array = env.load.funcInfo;
  if (array.count === 0) return checkAbnormalReturn(env);
  const size = array.recordSize;
  if (size < FUNC_INFO_SIZE || size > MAX_RECORD_SIZE || size % 4 !== 0) {
    env.log.write(`invalid func info rec size ${size}\n`);
    return -EINVAL;
  }
  const btf = env.btf!.btf;
  const records: { insn: number; typeID: number }[] = [];
  const given = new Records(env, array, FUNC_INFO_SIZE, 'func info');
  let previous = 0;
  for (let i = 0; i < array.count; i++) {
    const error = given.seek(i);
    if (error !== 0) return error;
    const insn = given.view.getUint32(given.at, true);
    const typeID = given.view.getUint32(given.at + 4, true);
    if (i === 0 && insn !== 0) {
      env.log.write(`nonzero insn_off ${insn} for the first func info record`);
      return -EINVAL;
    }
    if (i > 0 && insn <= previous) {
      env.log.write(`same or smaller insn offset (${insn}) than previous func info record (${previous})`);
      return -EINVAL;
    }
    if (btf.kind(typeID) !== BTF_KIND_FUNC) {
      env.log.write(`invalid type id ${typeID | 0} in func info`);
      return -EINVAL;
    }
    if (btf.kind(btf.type(typeID)) !== BTF_KIND_FUNC_PROTO) return -EINVAL;
    previous = insn;
    records.push({ insn, typeID });
  }
  env.funcInfo = records;
  env.funcInfoCount = records.length;
  return 0;
}

/** Takes in BTF and function records before subprograms are looked for (`bpf_prepare_btf_info`); 0 or `-errno`. */
export function prepareBTFInfo(env: VerifierEnv): number {
  const { load } = env;
  if (load.funcInfo.count === 0 && load.lineInfo.count === 0 && load.coreRelos.count === 0) return 0;
  const object = env.ext.resolveFD(load.btfFD);
  if (typeof object === 'number') return object;
  if (object.kind !== 'btf') return -EINVAL;
  if (object.isKernel) return -EACCES;
  env.btf = object;
  return readFuncInfo(env);
}

/** Candidate caches: what earlier loads left shows in logs, so that each kernel instance (its BTF object) has its own. */
const candidateCaches = new WeakMap<BTFDescriptor, CoreCandidateCache>();

function candidateCacheOf(kernelBTF: BTFDescriptor | undefined): CoreCandidateCache {
  const known = kernelBTF === undefined ? undefined : candidateCaches.get(kernelBTF);
  const cache = known ?? new CoreCandidateCache();
  if (kernelBTF !== undefined) candidateCaches.set(kernelBTF, cache);
  return cache;
}

/** CO-RE relocations applied in the kernel (`bpf_check_core_relo`), one record at a time; 0 or `-errno`. */
export function checkCoreRelo(env: VerifierEnv): number {
  const array = env.load.coreRelos;
  if (array.count === 0) return 0;
  const size = array.recordSize;
  if (array.count > 0x7fffffff / CORE_RELO_SIZE || size < CORE_RELO_SIZE || size > MAX_RECORD_SIZE || size % 4 !== 0) return -EINVAL;
  const kernelBTF = env.ext.kernelBTF();
  const program = env.insns.encode();
  const context = {
    btf: env.btf!.btf, kernelBTF: kernelBTF?.btf, cache: candidateCacheOf(kernelBTF), log: env.log.level !== 0 ? env.log : undefined,
    isVerbose: (env.log.level & BPF_LOG_LEVEL2) !== 0,
  };
  const given = new Records(env, array, CORE_RELO_SIZE, 'core_relo');
  for (let i = 0; i < array.count; i++) {
    const failed = given.seek(i);
    if (failed !== 0) return failed;
    const relo = readCoreRelocation(given.view, given.at);
    if (relo.instructionOffset % 8 !== 0 || relo.instructionOffset / 8 >= env.insns.count) {
      env.log.write(`Invalid core_relo[${i}].insn_off:${relo.instructionOffset} prog->len:${env.insns.count}\n`);
      return -EINVAL;
    }
    const error = applyCoreRelocation(context, relo, i, program);
    if (error !== 0) return error;
  }
  env.insns = new Insns(program);
  return 0;
}

function checkFunctions(env: VerifierEnv): number {
  if (env.load.funcInfo.count === 0) return checkAbnormalReturn(env);
  if (env.funcInfoCount !== env.subprogCount) {
    env.log.write("number of funcs in func_info doesn't match number of subprogs\n");
    return -EINVAL;
  }
  const btf = env.btf!.btf;
  for (let i = 0; i < env.funcInfoCount; i++) {
    const sub = env.subprogs[i]!;
    const record = env.funcInfo[i]!;
    if (sub.start !== record.insn) {
      env.log.write("func_info BTF section doesn't match subprog layout in BPF program\n");
      return -EINVAL;
    }
    sub.typeID = record.typeID;
    sub.linkage = btf.functionLinkage(record.typeID);
    const result = btf.skipModifiers(btf.type(btf.type(record.typeID)));
    const kind = btf.kind(result);
    const isScalar = kind === BTF_KIND_ENUM || kind === BTF_KIND_ENUM64
      || (kind === BTF_KIND_INT && [1, 2, 4, 8].includes(btf.size(result)));
    if (i > 0 && !isScalar && sub.hasLDAbs) {
      env.log.write("LD_ABS is only allowed in functions that return 'int'.\n");
      return -EINVAL;
    }
    if (i > 0 && !isScalar && sub.hasTailCall) {
      env.log.write("tail_call is only allowed in functions that return 'int'.\n");
      return -EINVAL;
    }
    sub.name = btf.typeName(record.typeID);
  }
  return 0;
}

function checkLines(env: VerifierEnv): number {
  const array = env.load.lineInfo;
  if (array.count === 0) return 0;
  const size = array.recordSize;
  if (array.count > 0x7fffffff / LINE_INFO_SIZE || size < LINE_INFO_SIZE || size > MAX_RECORD_SIZE || size % 4 !== 0) return -EINVAL;
  const btf = env.btf!.btf;
  const lines: LineInfo[] = [];
  let sub = 0;
  let previous = 0;
  const given = new Records(env, array, LINE_INFO_SIZE, 'line_info');
  for (let i = 0; i < array.count; i++) {
    const error = given.seek(i);
    if (error !== 0) return error;
    const { view, at } = given;
    const insn = view.getUint32(at, true);
    const line: LineInfo = {
      insn, fileNameOffset: view.getUint32(at + 4, true), lineOffset: view.getUint32(at + 8, true), lineCol: view.getUint32(at + 12, true),
    };
    if ((i > 0 && insn <= previous) || insn >= env.insns.count) {
      env.log.write(`Invalid line_info[${i}].insn_off:${insn} (prev_offset:${previous} prog->len:${env.insns.count})\n`);
      return -EINVAL;
    }
    if (env.insns.code[insn] === 0) {
      env.log.write(`Invalid insn code at line_info[${i}].insn_off\n`);
      return -EINVAL;
    }
    if (!btf.hasString(line.lineOffset) || !btf.hasString(line.fileNameOffset)) {
      env.log.write(`Invalid line_info[${i}].line_off or .file_name_off\n`);
      return -EINVAL;
    }
    if (sub !== env.subprogCount) {
      if (insn === env.subprogs[sub]!.start) {
        env.subprogs[sub]!.linfoIdx = i;
        sub++;
      } else if (env.subprogs[sub]!.start < insn) {
        env.log.write(`missing bpf_line_info for func#${sub}\n`);
        return -EINVAL;
      }
    }
    previous = insn;
    lines.push(line);
  }
  if (sub !== env.subprogCount) {
    env.log.write(`missing bpf_line_info for ${env.subprogCount - sub} funcs starting from func#${sub}\n`);
    return -EINVAL;
  }
  env.lineInfo = lines;
  return 0;
}

/** Checks function and line records against the subprograms (`bpf_check_btf_info`); 0 or `-errno`. */
export function checkBTFInfo(env: VerifierEnv): number {
  if (env.load.funcInfo.count === 0 && env.load.lineInfo.count === 0) return checkAbnormalReturn(env);
  if (env.btf === undefined) return -EBADF;
  const error = checkFunctions(env);
  return error !== 0 ? error : checkLines(env);
}
