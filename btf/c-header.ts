/**
 * @module btf/c-header
 * A whole BTF as a C header, as `bpftool btf dump … format c` prints it: what is known as `vmlinux.h`. Owns the frame and the prototypes
 * of kernel functions; types are `c-dump.ts`, their order `c-order.ts`. Reproduces `dump_btf_c` of `tools/bpf/bpftool/btf.c` of Linux 7.3.
 */
import { BTF_KIND_DECL_TAG, BTF_KIND_ENUM64, BTF_KIND_FUNC } from '../isa/uapi.ts';
import { CDumper } from './c-dump.ts';
import { sortedForC } from './c-order.ts';
import type { TypeSource } from './type-source.ts';

const HEAD = `#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

#ifndef __ksym
#define __ksym __attribute__((section(".ksyms")))
#endif

#ifndef __weak
#define __weak __attribute__((weak))
#endif

#ifndef __bpf_fastcall
#if __has_attribute(bpf_fastcall)
#define __bpf_fastcall __attribute__((bpf_fastcall))
#else
#define __bpf_fastcall
#endif
#endif

`;

const TAIL = `#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
`;

/** What of a BTF becomes a header. */
export interface CHeaderOptions {
  /** Only these types and what they need; no functions then. */
  readonly roots?: readonly number[];
  /** In the order of ids instead of bpftool's. */
  readonly unsorted?: boolean;
  /** Takes what libbpf would warn of. */
  readonly warn?: (message: string) => void;
}

/**
 * The header in pieces.
 * @throws InputError (through the source) where the types contain themselves
 *
 * @example
 * [...cHeader(typeSource(btf, fail))].join('');
 */
export function* cHeader(types: TypeSource, { roots, unsorted = false, warn }: CHeaderOptions = {}): Generator<string> {
  const dumper = new CDumper(types, warn);
  for (let id = 1; id < types.count; id++) if (types.kind(id) > BTF_KIND_ENUM64) types.fail(`type ${id}`, `Unsupported BTF_KIND:${types.kind(id)}`);
  yield HEAD;
  if (roots !== undefined) {
    for (const id of roots) yield dumper.define(id);
  } else {
    // bpftool begins at one also where the order is its own: what comes first there is left out, void or not.
    const order = unsorted ? undefined : sortedForC(types);
    for (let i = 1; i < types.count; i++) yield dumper.define(order?.[i] ?? i);
    yield kernelFunctions(types, dumper);
  }
  yield TAIL;
}

/** Prototypes of the functions that are tagged as kfuncs, by name. */
function kernelFunctions(types: TypeSource, dumper: CDumper): string {
  const functions: { readonly id: number; readonly name: string }[] = [];
  const fast = new Set<number>();
  for (let id = 1; id < types.count; id++) {
    const target = types.kind(id) === BTF_KIND_DECL_TAG && types.word(id, 3) === 0xffffffff ? types.word(id, 2) : 0;
    if (target === 0 || types.kind(target) !== BTF_KIND_FUNC) continue;
    const tag = types.string(types.word(id, 0));
    if (tag === 'bpf_kfunc') functions.push({ id: target, name: types.string(types.word(target, 0)) });
    if (tag === 'bpf_fastcall') fast.add(target);
  }
  functions.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const lines = functions.map(({ id, name }) => `extern ${fast.has(id) ? '__bpf_fastcall ' : ''}${dumper.declare(types.word(id, 2), name)} __weak __ksym;\n`);
  return `\n/* BPF kfuncs */\n#ifndef BPF_NO_KFUNC_PROTOTYPES\n${lines.join('')}#endif\n\n`;
}
