/**
 * @module verifier/live_stack_log
 * The analysis of the stack as the log of level 2 shows it: what pointers are tracked, where tracks are joined, what each instruction reads
 * and writes. Text only.
 */
import { BPF_CALL, BPF_DW, BPF_IMM, BPF_JMP, BPF_LD, BPF_LDX, BPF_STX } from '../isa/uapi.ts';
import type { ArgTracks } from './arg_track.ts';
import type { VerifierEnv } from './env.ts';
import { FRAME_POINTER, HALF_BYTES, HALVES, type Instance, MARK_WORDS, READ, TRACKED, TRACKED_REGS, WRITE } from './live_stack_marks.ts';
import { alignment, verboseInsn } from './print.ts';
import { MAX_BPF_REG } from './regtypes.ts';
import type { TrackRows } from './track_rows.ts';

const CALL: number = BPF_JMP | BPF_CALL;
const LD_IMM64: number = BPF_LD | BPF_IMM | BPF_DW;

const signed = (v: number): string => (v < 0 ? String(v) : `+${v}`);

export function logJoin(env: VerifierEnv, tracks: ArgTracks, insn: number, target: number, i: number, old: number, next: number, joined: number): void {
  env.log.write(`arg JOIN insn ${insn} -> ${target} ${trackName(i)}: `);
  env.log.write(`${tracks.text(old)} + ${tracks.text(next)} => ${tracks.text(joined)}\n`);
}

const trackName = (i: number): string => {
  if (i >= TRACKED_REGS) return `fp${signed((TRACKED_REGS - 1 - i) * 8)}`;
  return i >= MAX_BPF_REG ? `sa${i - MAX_BPF_REG}` : `r${i}`;
};

export function logTransfer(env: VerifierEnv, tracks: ArgTracks, insn: number, before: Int32Array, at: number, out: Int32Array): void {
  let printed = false;
  for (let i = 0; i < TRACKED; i++) {
    if (out[i] === before[at + i]) continue;
    if (!printed) {
      env.log.write(`${String(insn).padStart(3)}: `);
      verboseInsn(env, insn);
      printed = true;
    }
    env.log.write(`\t${trackName(i)}: ${tracks.text(before[at + i]!)} -> ${tracks.text(out[i]!)}`);
  }
  if (printed) env.log.write('\n');
}

const subprogText = (env: VerifierEnv, subprog: number): string => {
  const { name } = env.subprogs[subprog]!;
  return `subprog#${subprog}${name === undefined ? '' : ` ${name}`}`;
};

export function printTracks(env: VerifierEnv, tracks: ArgTracks, subprog: number, before: TrackRows): void {
  const { code } = env.insns, { rows } = before;
  const start = env.subprogs[subprog]!.start, end = env.subprogs[subprog + 1]!.start;
  env.log.write(`${subprogText(env, subprog)}:\n`);
  for (let insn = start; insn < end; insn++) {
    env.log.write(`${String(insn).padStart(3)}: `);
    verboseInsn(env, insn);
    const cls = code[insn]! & 7, at = before.at(insn - start);
    if (cls === BPF_LDX || cls === BPF_STX || code[insn] === CALL) {
      // One message a pointer, as in the kernel: a message is cut at 1023 bytes.
      let isFirst = true;
      const isVisited = before.isReached(insn - start);
      for (let i = 0; i < TRACKED; i++) {
        if (i === FRAME_POINTER || (i < TRACKED_REGS && !isVisited) || !tracks.isPointer(rows[at + i]!)) continue;
        env.log.write(`${isFirst ? ' //' : ''} ${trackName(i)}=${tracks.text(rows[at + i]!)}`);
        isFirst = false;
      }
    }
    env.log.write('\n');
    if (code[insn] === LD_IMM64) insn++;
  }
}

/** The halves of a mask as text: whole slots as `fp0-8`, runs of three and more as `fp0-8..-24`, single halves with an `h`. */
function maskText(m: Int32Array, at: number, frame: number, isFirst: boolean): string {
  const has = (half: number): boolean => half < HALVES && (m[at + (half >> 5)]! & (1 << (half & 31))) !== 0;
  const isWhole = (spi: number): boolean => has(spi * 2) && has(spi * 2 + 1);
  let text = '';
  for (let spi = 0; spi < HALVES / 2; spi++) {
    const low = has(spi * 2), high = has(spi * 2 + 1);
    if (!low && !high) continue;
    const space = isFirst && text === '' ? '' : ' ';
    const offset = -(spi + 1) * 8;
    if (!low || !high) text += `${space}fp${frame}${offset + (low ? HALF_BYTES : 0)}h`;
    else if (isWhole(spi + 1) && isWhole(spi + 2)) {
      while (isWhole(spi + 1)) spi++;
      text += `${space}fp${frame}${offset}..${-(spi + 1) * 8}`;
    } else text += `${space}fp${frame}${offset}`;
  }
  return text;
}

function accessText(instance: Instance, insn: number, mark: number): string {
  let text = '';
  for (let f = instance.depth; f >= 0; f--) {
    const m = instance.frames[f];
    if (m !== undefined) text += maskText(m, (insn - instance.start) * MARK_WORDS + mark, f, text === '');
  }
  return text;
}

export function printInstance(env: VerifierEnv, instance: Instance): void {
  const { log } = env;
  log.write(`stack use/def ${subprogText(env, instance.subprog)} (d${instance.depth},cs${instance.callsite}):\n`);
  for (let insn = instance.start; insn < instance.start + instance.count; insn++) {
    const from = log.endPos;
    log.write(`${String(insn).padStart(3)}: `);
    verboseInsn(env, insn);
    const use = accessText(instance, insn, READ), def = accessText(instance, insn, WRITE);
    if (use !== '' || def !== '') log.write(`${' '.repeat(alignment(log.endPos - from))};`);
    if (use !== '') log.write(` use: ${use}`);
    if (def !== '') log.write(` def: ${def}`);
    log.write('\n');
    if (env.insns.code[insn] === LD_IMM64) insn++;
  }
}
