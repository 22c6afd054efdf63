/**
 * @module loader/object/attach-spec
 * What a section's name says about attaching the program in it: to which function, tracepoint or file, or that nothing attaches it by
 * itself. Reproduces the `attach_*` functions of libbpf's table of sections (`tools/lib/bpf/libbpf.c`), with their messages; performing
 * it is `loader/live/links.ts`.
 */
import * as U from '../../isa/uapi.ts';
import type { SkeletonAttach } from '../skeleton.ts';
import type { ObjectProgram } from './model.ts';

/** How a program or a struct_ops map is attached. */
export type AttachKind =
  | SkeletonAttach
  /** `BPF_LINK_CREATE`; the target is in the load. */
  | { readonly kind: 'trace'; readonly attachType: number }
  /** A performance event on a kernel function; with `isSystemCall` its name is what the architecture makes of it. */
  | { readonly kind: 'kprobe'; readonly function: string; readonly offset: number; readonly isReturn: boolean; readonly isSystemCall: boolean }
  /** A performance event on a function of a program or library. */
  | { readonly kind: 'uprobe'; readonly path: string; readonly function: string; readonly offset: number; readonly isReturn: boolean }
  /** A performance event on a tracepoint. */
  | { readonly kind: 'tracepoint'; readonly category: string; readonly name: string }
  /** `BPF_LINK_CREATE` with names or addresses of kernel functions. */
  | { readonly kind: 'kprobe_multi'; readonly attachType: number; readonly pattern: string; readonly isReturn: boolean }
  /** `BPF_LINK_CREATE` with places in a file. */
  | { readonly kind: 'uprobe_multi'; readonly attachType: number; readonly path: string; readonly pattern: string; readonly isReturn: boolean }
  /** `BPF_LINK_CREATE` with type ids of kernel functions. */
  | { readonly kind: 'tracing_multi'; readonly attachType: number; readonly pattern: string }
  /** A map of callbacks: its value, and where it wants one its link. */
  | { readonly kind: 'struct_ops' }
  /** libbpf refuses the section's name with `EINVAL`. */
  | { readonly kind: 'invalid'; readonly reason: string }
  | { readonly kind: 'unsupported'; readonly reason: string };

/** A section that names no target: its program is attached by hand. */
const NONE: AttachKind = { kind: 'none' };
const FUNCTION = /^([A-Za-z0-9_.]+)(?:\+[ \t]*([+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+)))?/;
const PATTERN = /^[A-Za-z0-9_.*?]+/;
const MODULE_PATTERN = /^[A-Za-z0-9_.*?:]+/;
const USER_PROBE = /^[^/]+\/([^:]+):([^\n]+)/;
/** A bare slash names nothing. */
const NAMES_FILE = /\/[^:]/;
const LAST_OFFSET = /^(.*)\+[ \t]*([+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+))$/;

const invalid = (reason: string): AttachKind => ({ kind: 'invalid', reason });

/** As `strtol` with base 0 reads it. */
function parseLong(text: string): number {
  const [, sign = '', digits = ''] = /^([+-]?)(.*)$/.exec(text) ?? [];
  const isOctal = /^0[0-9]/.test(digits);
  const value = isOctal ? Number.parseInt(/^[0-7]+/.exec(digits)?.[0] ?? '0', 8) : Number(digits);
  return sign === '-' ? -value : value;
}

/**
 * How libbpf attaches a program by itself.
 * @example attachSpec(program) // { kind: 'kprobe', function: 'do_unlinkat', … } for SEC("kprobe/do_unlinkat")
 */
export function attachSpec({ name, type, expectedAttachType, sectionName, definition }: ObjectProgram): AttachKind {
  const slash = sectionName.indexOf('/');
  const probe = slash < 0 ? sectionName : sectionName.slice(0, slash);
  const target = slash < 0 ? '' : sectionName.slice(slash + 1);
  switch (definition?.pattern.replace(/\+$/, '')) {
    case 'kprobe': case 'kretprobe': return slash < 0 ? NONE : kprobe(target, probe === 'kretprobe');
    case 'ksyscall': case 'kretsyscall':
      return slash < 0 ? NONE : { kind: 'kprobe', function: target, offset: 0, isReturn: probe === 'kretsyscall', isSystemCall: true };
    case 'uprobe': case 'uprobe.s': case 'uretprobe': case 'uretprobe.s': return uprobe(name, sectionName, probe.startsWith('uretprobe'));
    case 'kprobe.multi': case 'kretprobe.multi': case 'kprobe.session': return slash < 0 ? NONE : kprobeMulti(probe, target);
    case 'uprobe.multi': case 'uprobe.multi.s': case 'uretprobe.multi': case 'uretprobe.multi.s': case 'uprobe.session': case 'uprobe.session.s':
      return uprobeMulti(name, sectionName, probe);
    case 'usdt': case 'usdt.s':
      return slash < 0 ? NONE : { kind: 'unsupported', reason: 'USDT probes need the notes of the traced program and the maps of usdt.bpf.h filled from them' };
    case 'tracepoint': case 'tracepoint.s': case 'tp': case 'tp.s': return tracepoint(name, sectionName, target);
    case 'raw_tracepoint': case 'raw_tracepoint.s': case 'raw_tracepoint.w': case 'raw_tp': case 'raw_tp.s': case 'raw_tp.w':
      if (slash < 0) return NONE;
      return target === '' ? invalid(`invalid section name '${sectionName}'`) : { kind: 'raw_tracepoint', name: target };
    case 'iter': case 'iter.s': return { kind: 'iter' };
    case 'fentry.multi': case 'fentry.multi.s': case 'fexit.multi': case 'fexit.multi.s': case 'fsession.multi': case 'fsession.multi.s':
      return slash < 0 ? NONE : tracingMulti(expectedAttachType, target);
    case 'lsm_cgroup': return NONE;
    default:
      return type === U.BPF_PROG_TYPE_TRACING || type === U.BPF_PROG_TYPE_LSM || type === U.BPF_PROG_TYPE_EXT ? { kind: 'trace', attachType: expectedAttachType } : NONE;
  }
}

function kprobe(target: string, isReturn: boolean): AttachKind {
  const [, name, offsetText = '0'] = FUNCTION.exec(target) ?? [];
  if (name === undefined) return invalid(`kprobe name is invalid: ${target}`);
  const offset = parseLong(offsetText);
  if (offset < 0) return invalid(`kprobe offset must be a non-negative integer: ${offset}`);
  if (isReturn && offset !== 0) return invalid('kretprobes do not support offset specification');
  return { kind: 'kprobe', function: name, offset, isReturn, isSystemCall: false };
}

function uprobe(name: string, section: string, isReturn: boolean): AttachKind {
  if (!NAMES_FILE.test(section)) return NONE;
  const [, path, rest] = USER_PROBE.exec(section) ?? [];
  if (path === undefined || rest === undefined) return invalid(`prog '${name}': section '${section}' missing ':function[+offset]' specification`);
  const [, stem = rest, offsetText = '0'] = LAST_OFFSET.exec(rest) ?? [];
  const offset = parseLong(offsetText);
  if (isReturn && offset !== 0) return invalid(`prog '${name}': uretprobes do not support offset specification`);
  return { kind: 'uprobe', path, function: stem, offset, isReturn };
}

function kprobeMulti(probe: string, target: string): AttachKind {
  const isSession = probe === 'kprobe.session';
  const [pattern] = PATTERN.exec(target) ?? [];
  if (pattern === undefined) return invalid(`kprobe ${isSession ? 'session' : 'multi'} pattern is invalid: ${target}`);
  return { kind: 'kprobe_multi', attachType: isSession ? U.BPF_TRACE_KPROBE_SESSION : U.BPF_TRACE_KPROBE_MULTI, pattern, isReturn: probe === 'kretprobe.multi' };
}

function uprobeMulti(name: string, section: string, probe: string): AttachKind {
  if (!NAMES_FILE.test(section)) return NONE;
  const [, path, pattern] = USER_PROBE.exec(section) ?? [];
  if (path === undefined || pattern === undefined) return invalid(`prog '${name}': invalid format of section definition '${section}'`);
  const isSession = probe.startsWith('uprobe.session');
  return { kind: 'uprobe_multi', attachType: isSession ? U.BPF_TRACE_UPROBE_SESSION : U.BPF_TRACE_UPROBE_MULTI, path, pattern, isReturn: probe.startsWith('uretprobe.multi') };
}

function tracepoint(name: string, section: string, target: string): AttachKind {
  if (!section.includes('/')) return NONE;
  const slash = target.indexOf('/');
  if (slash < 0) return invalid(`prog '${name}': invalid section name '${section}'`);
  return { kind: 'tracepoint', category: target.slice(0, slash), name: target.slice(slash + 1) };
}

function tracingMulti(attachType: number, target: string): AttachKind {
  const [pattern] = MODULE_PATTERN.exec(target) ?? [];
  return pattern === undefined ? invalid(`tracing multi pattern is invalid: ${target}`) : { kind: 'tracing_multi', attachType, pattern };
}
