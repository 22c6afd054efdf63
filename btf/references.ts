/**
 * @module btf/references
 * Which words of a type are type ids and which are offsets of strings, so that both can be rewritten. A type is given as its words in
 * native order: name, info, size or type, then what its kind has. Reproduces the order of `tools/lib/bpf/btf_iter.c`.
 */
import {
  BTF_KIND_ARRAY, BTF_KIND_CONST, BTF_KIND_DATASEC, BTF_KIND_DECL_TAG, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FUNC, BTF_KIND_FUNC_PROTO,
  BTF_KIND_FWD, BTF_KIND_PTR, BTF_KIND_RESTRICT, BTF_KIND_STRUCT, BTF_KIND_TYPEDEF, BTF_KIND_TYPE_TAG, BTF_KIND_UNION, BTF_KIND_VAR,
  BTF_KIND_VOLATILE,
} from '../isa/uapi.ts';

/** Rewrites one reference. */
export type Rewrite = (reference: number) => number;

/** Kind of a type given as words. */
export function kindOf(words: Uint32Array): number {
  return ((words[1] ?? 0) >>> 24) & 0x7f;
}

/** Number of parts of a type given as words. */
export function vlenOf(words: Uint32Array): number {
  return (words[1] ?? 0) & 0xffffff;
}

function rewriteAt(words: Uint32Array, at: number, rewrite: Rewrite): void {
  words[at] = rewrite(words[at] ?? 0);
}

function rewriteEach(words: Uint32Array, first: number, stride: number, rewrite: Rewrite): void {
  for (let at = first; at < words.length; at += stride) rewriteAt(words, at, rewrite);
}

/** Rewrites the ids of the types that a type refers to. */
export function rewriteTypeIDs(words: Uint32Array, rewrite: Rewrite): void {
  switch (kindOf(words)) {
    case BTF_KIND_FWD: case BTF_KIND_CONST: case BTF_KIND_VOLATILE: case BTF_KIND_RESTRICT: case BTF_KIND_PTR: case BTF_KIND_TYPEDEF:
    case BTF_KIND_FUNC: case BTF_KIND_VAR: case BTF_KIND_DECL_TAG: case BTF_KIND_TYPE_TAG:
      rewriteAt(words, 2, rewrite);
      return;
    case BTF_KIND_ARRAY:
      rewriteAt(words, 3, rewrite);
      rewriteAt(words, 4, rewrite);
      return;
    case BTF_KIND_STRUCT: case BTF_KIND_UNION:
      rewriteEach(words, 4, 3, rewrite);
      return;
    case BTF_KIND_FUNC_PROTO:
      rewriteAt(words, 2, rewrite);
      rewriteEach(words, 4, 2, rewrite);
      return;
    case BTF_KIND_DATASEC:
      rewriteEach(words, 3, 3, rewrite);
      return;
    default:
  }
}

/** Rewrites the offsets of the strings that a type refers to: its name, then those of its parts. */
export function rewriteNames(words: Uint32Array, rewrite: Rewrite): void {
  rewriteAt(words, 0, rewrite);
  switch (kindOf(words)) {
    case BTF_KIND_STRUCT: case BTF_KIND_UNION: case BTF_KIND_ENUM64:
      rewriteEach(words, 3, 3, rewrite);
      return;
    case BTF_KIND_ENUM: case BTF_KIND_FUNC_PROTO:
      rewriteEach(words, 3, 2, rewrite);
      return;
    default:
  }
}
