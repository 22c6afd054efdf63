/**
 * @module loader/gen/skeleton-text
 * The C header of a light skeleton, byte for byte as `bpftool gen skeleton -L [-S]` prints it. Owns the text; the loader in it is
 * `gen-loader.ts`, declarations of variables are `btf-dump.ts`. Reproduces `do_skeleton` and `gen_trace` of
 * `tools/bpf/bpftool/gen.c` of Linux 7.3.
 */
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { ObjectBTF } from '../object/btf-object.ts';
import { mapMappingSize, visibleMapName } from '../object/map-defs.ts';
import type { BPFObject, ObjectMap, ObjectProgram } from '../object/model.ts';
import { TypeDumper } from './btf-dump.ts';
import type { GeneratedLoader } from './gen-loader.ts';

const BTF_VAR_STATIC = 0;
const MAX_IDENT = 255;
const MAX_OBJECT_NAME = 63;
const DATA_SUFFIXES = ['.data', '.rodata', '.bss', '.kconfig'] as const;
const DATA_PREFIXES = ['.data', '.rodata', '.bss', '.percpu', '.kconfig'] as const;

/** The signature of a signed skeleton. */
export interface LoaderSignature {
  /** Detached PKCS#7, DER. */
  readonly signature: Uint8Array;
  /** SHA-256 of the loader's instructions. */
  readonly exclusiveHash: Uint8Array;
}

/** Anything that is no letter, digit or underscore becomes an underscore (`sanitize_identifier`). */
export function sanitizeIdentifier(name: string): string {
  return name.replace(/[^A-Za-z0-9_]/g, '_');
}

/** The name that bpftool gives an object without `name`: its file's, without `.o`. */
export function defaultObjectName(file: string): string {
  const base = (file.split('/').at(-1) ?? '').slice(0, MAX_OBJECT_NAME);
  return sanitizeIdentifier(base.endsWith('.o') ? base.slice(0, -2) : base);
}

/** A name as bpftool cuts it. */
export function cutObjectName(name: string): string {
  return name.slice(0, MAX_OBJECT_NAME);
}

/** Name of a map in the skeleton (`get_map_ident`); `undefined` where it has none. */
function mapIdent(map: ObjectMap): string | undefined {
  const name = visibleMapName(map);
  if (map.kind === 'user') return name;
  if (map.definition.type === U.BPF_MAP_TYPE_PERCPU_ARRAY) return sanitizeIdentifier(name.slice(1));
  for (const suffix of DATA_SUFFIXES) {
    const at = name.indexOf(suffix);
    if (at >= 0) return sanitizeIdentifier(name.slice(at + 1));
  }
  return undefined;
}

/** Name of a data section's struct (`get_datasec_ident`). */
function sectionIdent(section: string): string | undefined {
  if (section === '.addr_space.1') return 'arena';
  return DATA_PREFIXES.some((prefix) => section.startsWith(prefix)) ? sanitizeIdentifier(section.slice(1)) : undefined;
}

/** The member that shows a map's memory, where the skeleton has one (`is_skel_data`). */
function dataIdent(map: ObjectMap): string | undefined {
  if (map.definition.type === U.BPF_MAP_TYPE_ARENA && map.data !== undefined) return 'arena';
  if (map.kind === 'user') return undefined;
  const isShown = (map.definition.flags & U.BPF_F_MMAPABLE) !== 0 || (map.definition.type === U.BPF_MAP_TYPE_PERCPU_ARRAY && map.definition.valueTypeID !== 0);
  return isShown ? mapIdent(map) : undefined;
}

/** What is printed before the object is relocated: the struct's body with the variables. */
export interface SkeletonDraft {
  readonly object: BPFObject;
  readonly name: string;
  /** The data sections' structs. */
  readonly sections: string;
  readonly asserts: string | undefined;
}

/**
 * Takes from a freshly opened object what its skeleton declares. Call before `generateLoader`, which changes the object's types.
 * @throws InputError where a variable cannot be declared
 */
export function draftSkeleton(object: BPFObject, name: string): SkeletonDraft {
  const writer = new DeclarationWriter(object, name);
  return { object, name, sections: writer.sections(), asserts: writer.asserts() };
}

/** Structs and size assertions of the data sections. */
class DeclarationWriter {
  readonly #object: BPFObject;
  readonly #name: string;

  constructor(object: BPFObject, name: string) {
    this.#object = object;
    this.#name = name;
  }

  #shown(): { readonly ident: string; readonly map: ObjectMap }[] {
    return this.#object.maps.flatMap((map) => {
      const ident = dataIdent(map);
      return ident === undefined ? [] : [{ ident, map }];
    });
  }

  /** The DATASEC of a member (`find_type_for_map`); 0 for none. */
  #datasec(btf: ObjectBTF, ident: string): number {
    for (let id = 1; id < btf.count; id++) if (btf.kind(id) === U.BTF_KIND_DATASEC && sectionIdent(btf.name(id)) === ident) return id;
    return 0;
  }

  sections(): string {
    const { btf } = this.#object;
    if (btf === undefined) return '';
    const dumper = new TypeDumper(btf);
    return this.#shown().map(({ ident }) => {
      const datasec = this.#datasec(btf, ident);
      const body = datasec === 0 ? '' : this.#variables(btf, dumper, datasec);
      return `\tstruct ${this.#name}__${ident} {\n${body}\t} *${ident};\n`;
    }).join('');
  }

  #variables(btf: ObjectBTF, dumper: TypeDumper, datasec: number): string {
    const section = btf.name(datasec);
    const stripModifiers = section !== '.kconfig';
    let text = '';
    let at = 0;
    let pads = 0;
    for (const { type, name, offset, size } of visibleVariables(btf, datasec)) {
      if (at > offset) this.#fail(section, `Something is wrong for ${section}'s variable '${name}': need offset ${offset}, already at ${at}.`);
      const align = btf.alignOf(type);
      if (align <= 0) this.#fail(section, `Failed to determine alignment of variable '${name}': ${align}`);
      // For a 32-bit target, whose pointers and longs are aligned to four.
      const unit = Math.min(align, 4);
      if (Math.ceil(at / unit) * unit !== offset) text += `\t\tchar __pad${pads++}[${offset - at}];\n`;
      text += `\t\t${dumper.declare(type, variableIdent(name), 2, stripModifiers)};\n`;
      at = offset + size;
    }
    return text;
  }

  #fail(section: string, reason: string): never {
    throw new InputError(this.#object.file, `section ${section}`, reason);
  }

  asserts(): string | undefined {
    const { btf } = this.#object;
    if (btf === undefined) return undefined;
    return this.#shown().flatMap(({ ident }) => {
      const datasec = this.#datasec(btf, ident);
      return datasec === 0 ? [] : visibleVariables(btf, datasec).flatMap(({ type, name }) => {
        const size = btf.resolveSize(type);
        const variable = variableIdent(name);
        return size < 0 ? [] : [`\t_Static_assert(sizeof(s->${ident}->${variable}) == ${size}, "unexpected size of '${variable}'");\n`];
      });
    }).join('');
  }
}

function variableIdent(name: string): string {
  return sanitizeIdentifier(name.slice(0, MAX_IDENT));
}

interface Variable {
  readonly type: number;
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

/** Variables of a section that are not static, in the order of their offsets. */
function visibleVariables(btf: ObjectBTF, datasec: number): Variable[] {
  return Array.from({ length: btf.vlen(datasec) }, (_, i) => i).flatMap((i): Variable[] => {
    const variable = btf.word(datasec, 3 + 3 * i);
    if (btf.kind(variable) !== U.BTF_KIND_VAR || btf.word(variable, 3) === BTF_VAR_STATIC) return [];
    return [{ type: btf.target(variable), name: btf.name(variable), offset: btf.word(datasec, 4 + 3 * i), size: btf.word(datasec, 5 + 3 * i) }];
  });
}

/** Bytes as the body of a C string, in lines of at most 78 characters (`print_hex`). */
export function cStringBody(bytes: Uint8Array): string {
  const pieces: string[] = [];
  let width = 0;
  for (const byte of bytes) {
    const piece = BYTE_TEXT[byte] ?? '';
    width += piece.length;
    if (width > 78) {
      pieces.push('\\\n');
      width = piece.length;
    }
    pieces.push(piece);
  }
  return pieces.join('');
}

const BYTE_TEXT: readonly string[] = Array.from({ length: 256 }, (_, byte) => (byte === 0 ? '\\0' : `\\x${byte.toString(16).padStart(2, '0')}`));

/**
 * The text of a light skeleton.
 *
 * @param loader what `generateLoader` made of the draft's object
 * @param signature signs it; the loader must then have been generated for signing
 */
export function formatSkeleton(draft: SkeletonDraft, loader: GeneratedLoader, signature?: LoaderSignature): string {
  return new SkeletonWriter(draft, loader, signature).text();
}

class SkeletonWriter {
  readonly #draft: SkeletonDraft;
  readonly #loader: GeneratedLoader;
  readonly #signature: LoaderSignature | undefined;
  readonly #name: string;
  readonly #maps: readonly { readonly ident: string; readonly data: string | undefined; readonly map: ObjectMap }[];
  readonly #programs: readonly ObjectProgram[];

  constructor(draft: SkeletonDraft, loader: GeneratedLoader, signature: LoaderSignature | undefined) {
    this.#draft = draft;
    this.#loader = loader;
    this.#signature = signature;
    this.#name = draft.name;
    this.#maps = draft.object.maps.flatMap((map) => {
      const ident = mapIdent(map);
      return ident === undefined ? [] : [{ ident, data: dataIdent(map), map }];
    });
    this.#programs = draft.object.programs.filter((program) => !program.isSubprogram);
  }

  text(): string {
    return [
      this.#struct(), ...this.#programs.map((program) => this.#attachOne(program)), this.#attachAll(), this.#detach(), this.#destroy(), this.#open(),
      this.#load(), this.#openAndLoad(), this.#asserts(), this.#end(),
    ].join('');
  }

  #guard(): string {
    // toupper() in the C locale, byte by byte.
    return `__${this.#name}_SKEL_H__`.replace(/[a-z]/g, (letter) => letter.toUpperCase());
  }

  #struct(): string {
    const guard = this.#guard();
    const group = (members: readonly string[], name: string): string => (members.length === 0 ? '' : `\tstruct {\n${members.map((member) => `\t\t${member};\n`).join('')}\t} ${name};\n`);
    return '/* SPDX-License-Identifier: (LGPL-2.1 OR BSD-2-Clause) */\n/* THIS FILE IS AUTOGENERATED BY BPFTOOL! */\n'
      + `#ifndef ${guard}\n#define ${guard}\n\n#include <bpf/skel_internal.h>\n\nstruct ${this.#name} {\n\tstruct bpf_loader_ctx ctx;\n`
      + group(this.#maps.map(({ ident }) => `struct bpf_map_desc ${ident}`), 'maps')
      + group(this.#programs.map(({ name }) => `struct bpf_prog_desc ${name}`), 'progs')
      + group(this.#programs.map(({ name }) => `int ${name}_fd`), 'links')
      + (this.#signature === undefined ? '' : '\t__s32 keyring_id;\n')
      + `${this.#draft.sections}};\n`;
  }

  #attachOne(program: ObjectProgram): string {
    const { name } = program;
    return `\nstatic inline int\n${this.#name}__${name}__attach(struct ${this.#name} *skel)\n{\n\tint prog_fd = skel->progs.${name}.prog_fd;\n`
      + `\tint fd = ${this.#attachCall(program)}\n\n\tif (fd > 0)\n\t\tskel->links.${name}_fd = fd;\n\treturn fd;\n}\n`;
  }

  #attachCall({ type, expectedAttachType, sectionName, name }: ObjectProgram): string {
    switch (type) {
      case U.BPF_PROG_TYPE_RAW_TRACEPOINT: {
        const slash = sectionName.indexOf('/');
        if (slash < 0) throw new InputError(this.#draft.object.file, `section ${sectionName}`, `prog '${name}': no tracepoint is named`);
        return `skel_raw_tracepoint_open("${sectionName.slice(slash + 1)}", prog_fd);`;
      }
      case U.BPF_PROG_TYPE_TRACING:
      case U.BPF_PROG_TYPE_LSM:
        return expectedAttachType === U.BPF_TRACE_ITER ? 'skel_link_create(prog_fd, 0, BPF_TRACE_ITER);' : 'skel_raw_tracepoint_open(NULL, prog_fd);';
      default: return '((void)prog_fd, 0); /* auto-attach not supported */';
    }
  }

  #attachAll(): string {
    const calls = this.#programs.map(({ name }) => `\tret = ret < 0 ? ret : ${this.#name}__${name}__attach(skel);\n`).join('');
    return `\nstatic inline int\n${this.#name}__attach(struct ${this.#name} *skel)\n{\n\tint ret = 0;\n\n${calls}\treturn ret < 0 ? ret : 0;\n}\n`;
  }

  #detach(): string {
    const calls = this.#programs.map(({ name }) => `\tskel_closenz(skel->links.${name}_fd);\n`).join('');
    return `\nstatic inline void\n${this.#name}__detach(struct ${this.#name} *skel)\n{\n${calls}}\n`;
  }

  #destroy(): string {
    const programs = this.#programs.map(({ name }) => `\tskel_closenz(skel->progs.${name}.prog_fd);\n`).join('');
    const maps = this.#maps.map(({ ident, data, map }) => {
      const free = data === undefined ? '' : `\tskel_free_map_data(skel->${data}, skel->maps.${data}.initial_value, ${mapMappingSize(map)});\n`;
      return `${free}\tskel_closenz(skel->maps.${data ?? ident}.map_fd);\n`;
    }).join('');
    return `static void\n${this.#name}__destroy(struct ${this.#name} *skel)\n{\n\tif (!skel)\n\t\treturn;\n\t${this.#name}__detach(skel);\n${programs}${maps}\tskel_free(skel);\n}\n`;
  }

  #open(): string {
    const name = this.#name;
    return `static inline struct ${name} *\n${name}__open(void)\n{\n\tstruct ${name} *skel;\n\n\tskel = (struct ${name} *)skel_alloc(sizeof(*skel));\n`
      + '\tif (!skel)\n\t\tgoto cleanup;\n\tskel->ctx.sz = (char *)&skel->links - (char *)skel;\n'
      + this.#maps.map(({ data, map }) => (data === undefined ? '' : this.#initialValue(data, map))).join('')
      + `\treturn skel;\ncleanup:\n\t${name}__destroy(skel);\n\treturn NULL;\n}\n\n`;
  }

  #initialValue(ident: string, map: ObjectMap): string {
    return `\t{\n\t\tstatic const char data[] __attribute__((__aligned__(8))) = "\\\n${cStringBody(map.data ?? new Uint8Array(0))}";\n\n`
      + `\t\tskel->${ident} = (__typeof__(skel->${ident}))skel_prep_map_data((void *)data, ${mapMappingSize(map)},\n\t\t\t\t\t\tsizeof(data) - 1);\n`
      + `\t\tif (!skel->${ident})\n\t\t\tgoto cleanup;\n\t\tskel->maps.${ident}.initial_value = (__u64) (long) skel->${ident};\n\t}\n`;
  }

  #load(): string {
    const name = this.#name;
    const declare = (variable: string, bytes: Uint8Array): string => `\tstatic const char ${variable}[] __attribute__((__aligned__(8))) = "\\\n${cStringBody(bytes)}";\n`;
    const signature = this.#signature;
    return `static inline int\n${name}__load(struct ${name} *skel)\n{\n\tstruct bpf_load_and_run_opts opts = {};\n\tint err;\n`
      + declare('opts_data', this.#loader.metadata) + declare('opts_insn', this.#loader.instructions)
      + (signature === undefined ? '' : declare('opts_sig', signature.signature) + declare('opts_excl_hash', signature.exclusiveHash))
      + (signature === undefined ? '' : SIGNATURE_OPTIONS)
      + LOAD_OPTIONS
      + this.#maps.map(({ data, map }) => (data === undefined ? '' : this.#finalize(data, map))).join('')
      + '\treturn 0;\n}\n\n';
  }

  #finalize(ident: string, map: ObjectMap): string {
    const size = mapMappingSize(map);
    if (map.definition.type === U.BPF_MAP_TYPE_PERCPU_ARRAY) {
      return `\terr = skel_protect_map_data(skel->${ident}, &skel->maps.${ident}.initial_value, ${size});\n\tif (err)\n\t\treturn err;\n`
        + `#ifdef __KERNEL__\n\tskel->${ident} = NULL;\n#endif\n`;
    }
    const access = (map.definition.flags & U.BPF_F_RDONLY_PROG) !== 0 ? 'PROT_READ' : 'PROT_READ | PROT_WRITE';
    return `\tskel->${ident} = (__typeof__(skel->${ident}))skel_finalize_map_data(&skel->maps.${ident}.initial_value,\n`
      + `\t\t\t\t\t${size}, ${access}, skel->maps.${ident}.map_fd);\n\tif (!skel->${ident})\n\t\treturn -ENOMEM;\n`;
  }

  #openAndLoad(): string {
    const name = this.#name;
    return `static inline struct ${name} *\n${name}__open_and_load(void)\n{\n\tstruct ${name} *skel;\n\n\tskel = ${name}__open();\n\tif (!skel)\n\t\treturn NULL;\n`
      + `\tif (${name}__load(skel)) {\n\t\t${name}__destroy(skel);\n\t\treturn NULL;\n\t}\n\treturn skel;\n}\n\n`;
  }

  #asserts(): string {
    const { asserts } = this.#draft;
    if (asserts === undefined) return '';
    const name = this.#name;
    return `__attribute__((unused)) static void\n${name}__assert(struct ${name} *s __attribute__((unused)))\n{\n`
      + `#ifdef __cplusplus\n#define _Static_assert static_assert\n#endif\n${asserts}#ifdef __cplusplus\n#undef _Static_assert\n#endif\n}\n`;
  }

  #end(): string {
    return `\n#endif /* ${this.#guard()} */\n`;
  }
}

const SIGNATURE_OPTIONS = '\topts.signature = (void *)opts_sig;\n\topts.signature_sz = sizeof(opts_sig) - 1;\n\topts.excl_prog_hash = (void *)opts_excl_hash;\n'
  + '\topts.excl_prog_hash_sz = sizeof(opts_excl_hash) - 1;\n\topts.keyring_id = skel->keyring_id;\n';

const LOAD_OPTIONS = '\topts.ctx = (struct bpf_loader_ctx *)skel;\n\topts.data_sz = sizeof(opts_data) - 1;\n\topts.data = (void *)opts_data;\n'
  + '\topts.insns_sz = sizeof(opts_insn) - 1;\n\topts.insns = (void *)opts_insn;\n\n\terr = bpf_load_and_run(&opts);\n\tif (err < 0)\n\t\treturn err;\n';
