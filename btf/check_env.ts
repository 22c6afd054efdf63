/**
 * @module btf/check_env
 * What the phases of a BTF check share: the words of the type section, the ids found so far, what is resolved, and the log
 * lines about types and members. Reproduces the log of kernel/bpf/btf.c (`btf_verifier_log_*`).
 */
import {
  BTF_KIND_ARRAY, BTF_KIND_DATASEC, BTF_KIND_DECL_TAG, BTF_KIND_ENUM, BTF_KIND_ENUM64, BTF_KIND_FLOAT, BTF_KIND_FUNC,
  BTF_KIND_FUNC_PROTO, BTF_KIND_FWD, BTF_KIND_INT, BTF_KIND_PTR, BTF_KIND_STRUCT, BTF_KIND_UNION, BTF_KIND_VAR,
  BTF_MAX_NAME_OFFSET, BTF_MAX_TYPE,
} from '../isa/uapi.ts';
import { BTF_INT_BOOL, BTF_INT_CHAR, BTF_INT_SIGNED, BTF_KIND_NAMES, isModifierKind } from './btf.ts';

/** Where log text goes: one call is one message of the kernel, which cuts messages at 1023 bytes. */
export interface BTFLogSink {
  write(text: string): void;
}

/** BPF_VERIFIER_TMP_LOG_SIZE without the final zero. */
const MAX_MESSAGE = 1023;
/** KSYM_NAME_LEN: longest identifier and section name. */
const MAX_NAME = 512;
/** Word offset that stands for void. */
export const VOID_AT = -1;

/** Formats 32 bits as `%d`. */
export function signed(word: number): string {
  return String(word | 0);
}

/** `isalpha` of the kernel's ctype table, which knows latin-1. */
function isLetter(c: number): boolean {
  return (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a) || (c >= 0xc0 && c !== 0xd7 && c !== 0xf7);
}

/** `isprint` of the kernel's ctype table. */
function isPrintable(c: number): boolean {
  return (c >= 0x20 && c <= 0x7e) || c >= 0xa0;
}

/** Types that only refer to others and that nothing else may refer to. */
export function isSourceOnlyKind(kind: number): boolean {
  return kind === BTF_KIND_VAR || kind === BTF_KIND_DECL_TAG || kind === BTF_KIND_DATASEC;
}

/** void, forward declarations, functions, prototypes, declaration tags. */
export function isSizelessKind(kind: number): boolean {
  return kind === 0 || kind === BTF_KIND_FWD || kind === BTF_KIND_FUNC || kind === BTF_KIND_FUNC_PROTO || kind === BTF_KIND_DECL_TAG;
}

/** Types whose size is their own `size` word. */
export function hasOwnSize(kind: number): boolean {
  return kind === BTF_KIND_INT || kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION || kind === BTF_KIND_ENUM
    || kind === BTF_KIND_DATASEC || kind === BTF_KIND_FLOAT || kind === BTF_KIND_ENUM64;
}

/** Types that refer to others and are walked before the BTF is accepted. */
export function needsResolve(kind: number): boolean {
  return isModifierKind(kind) || kind === BTF_KIND_PTR || kind === BTF_KIND_STRUCT || kind === BTF_KIND_UNION
    || kind === BTF_KIND_ARRAY || kind === BTF_KIND_VAR || kind === BTF_KIND_FUNC || kind === BTF_KIND_DECL_TAG
    || kind === BTF_KIND_DATASEC;
}

/** A regular integer: whole bytes, a power of two of at most 16, no offset (`__btf_type_int_is_regular`). */
export function isRegularInt(word: number): boolean {
  const bits = word & 0xff;
  const bytes = (bits + 7) >>> 3;
  return (bits & 7) === 0 && ((word >>> 16) & 0xff) === 0 && bytes <= 16 && bytes > 0 && (bytes & (bytes - 1)) === 0;
}

/** State of one check. Types are named by id, or before they have one by `at`, their first word in {@link words}. */
export class CheckEnv {
  readonly words: Uint32Array;
  readonly strings: Uint8Array;
  readonly log: BTFLogSink | undefined;
  /** Id in front of log lines. */
  logID = 1;
  /** True in the first pass, which logs every type as it goes. */
  isMetaPhase = true;
  /** Word offsets by `id - 1`. */
  offsets: Uint32Array = new Uint32Array(16);
  /** Number of ids, void included. */
  typeCount = 1;
  resolvedIDs: Uint32Array = new Uint32Array(0);
  resolvedSizes: Uint32Array = new Uint32Array(0);

  constructor(words: Uint32Array, strings: Uint8Array, log: BTFLogSink | undefined) {
    this.words = words;
    this.strings = strings;
    this.log = log;
  }

  // ---------------------------------------------------------------- types

  /** Gives the type at `at` the next id. Past the greatest id the kernel says so and goes on without the type. */
  addType(at: number): void {
    const index = this.typeCount - 1;
    if (this.typeCount >= BTF_MAX_TYPE) {
      this.write('Exceeded max num of types');
      return;
    }
    if (index === this.offsets.length) {
      const next = new Uint32Array(this.offsets.length * 2);
      next.set(this.offsets);
      this.offsets = next;
    }
    this.offsets[index] = at;
    this.typeCount++;
  }

  word(at: number): number {
    return this.words[at] ?? 0;
  }

  /** Word offset of a type, {@link VOID_AT} for 0, `undefined` for an unknown id. */
  at(id: number): number | undefined {
    if (id === 0) return VOID_AT;
    return id < this.typeCount ? this.offsets[id - 1] : undefined;
  }

  kindAt(at: number): number {
    return at === VOID_AT ? 0 : (this.word(at + 1) >>> 24) & 0x7f;
  }

  /** Kind by id, 0 for void, -1 for an unknown id. */
  kind(id: number): number {
    const at = this.at(id);
    return at === undefined ? -1 : this.kindAt(at);
  }

  vlenAt(at: number): number {
    return this.word(at + 1) & 0xffffff;
  }

  kflagAt(at: number): boolean {
    return this.word(at + 1) >>> 31 === 1;
  }

  /** The size or type word. */
  referAt(at: number): number {
    return this.word(at + 2);
  }

  /** Id of the type of known size that `id` is (modifiers and variables followed), `undefined` where it has none. */
  sizedType(id: number): number | undefined {
    const kind = this.kind(id);
    if (kind < 0 || isSizelessKind(kind)) return undefined;
    if (hasOwnSize(kind) || kind === BTF_KIND_ARRAY || kind === BTF_KIND_PTR) return id;
    const resolved = this.resolvedIDs[id] ?? 0;
    const resolvedKind = this.kind(resolved);
    if (resolvedKind < 0 || isSizelessKind(resolvedKind)) return undefined;
    return hasOwnSize(resolvedKind) || resolvedKind === BTF_KIND_ARRAY || resolvedKind === BTF_KIND_PTR ? resolved : undefined;
  }

  /** Bytes of a type that {@link sizedType} gave. */
  sizeOf(id: number): number {
    const kind = this.kind(id);
    if (kind === BTF_KIND_PTR) return 8;
    if (kind === BTF_KIND_ARRAY) return this.resolvedSizes[id] ?? 0;
    return this.word((this.at(id) ?? 0) + 2);
  }

  // ---------------------------------------------------------------- names

  isNameOffset(offset: number): boolean {
    return offset <= BTF_MAX_NAME_OFFSET && offset < this.strings.length;
  }

  /** A C identifier, where dots are allowed too; at most 512 bytes. */
  isIdentifier(offset: number): boolean {
    const strings = this.strings;
    const isAllowed = (c: number): boolean => isLetter(c) || c === 0x5f || c === 0x2e;
    if (!isAllowed(strings[offset] ?? 0)) return false;
    for (let i = 1; i < MAX_NAME; i++) {
      const c = strings[offset + i] ?? 0;
      if (c === 0) return true;
      if (!isAllowed(c) && !(c >= 0x30 && c <= 0x39)) return false;
    }
    return (strings[offset + MAX_NAME] ?? 0) === 0;
  }

  /** A data section's name: any printable characters. */
  isSectionName(offset: number): boolean {
    const strings = this.strings;
    if ((strings[offset] ?? 0) === 0) return false;
    for (let i = 0; i < MAX_NAME; i++) {
      const c = strings[offset + i] ?? 0;
      if (c === 0) return true;
      if (!isPrintable(c)) return false;
    }
    return (strings[offset + MAX_NAME] ?? 0) === 0;
  }

  /** True where a string at `offset` exists and is not empty. */
  hasText(offset: number): boolean {
    return (this.strings[offset] ?? 0) !== 0;
  }

  /** The name as logs show it. */
  nameText(offset: number): string {
    if (offset === 0) return '(anon)';
    if (offset >= this.strings.length) return '(invalid-name-offset)';
    let text = '';
    // A message is cut anyway: a name of megabytes is not decoded.
    for (let at = offset; text.length < MAX_MESSAGE; at++) {
      const c = this.strings[at] ?? 0;
      if (c === 0) break;
      text += String.fromCharCode(c);
    }
    return text;
  }

  // ---------------------------------------------------------------- log

  write(text: string): void {
    this.log?.write(text.length > MAX_MESSAGE ? text.slice(0, MAX_MESSAGE) : text);
  }

  /** `[id] KIND name` and a message, without details: for types too short to have any. */
  logBasic(at: number, message: string): void {
    if (this.log === undefined) return;
    this.write(`[${this.logID}] ${BTF_KIND_NAMES[this.kindAt(at)] ?? ''} ${this.nameText(this.word(at))}`);
    this.#endLine(message);
  }

  /** `[id] KIND name details` and a message. */
  logType(at: number, message = ''): void {
    if (this.log === undefined) return;
    this.write(`[${this.logID}] ${BTF_KIND_NAMES[this.kindAt(at)] ?? ''} ${this.nameText(this.word(at))} `);
    this.#logDetails(at);
    this.#endLine(message);
  }

  /** A member; after the first pass its struct is named first. `type` is the member's, or the one that it resolved to. */
  logMember(structAt: number, memberAt: number, message = '', type: number = this.word(memberAt + 1)): void {
    if (this.log === undefined) return;
    if (!this.isMetaPhase) this.logType(structAt);
    const name = this.nameText(this.word(memberAt));
    const offset = this.word(memberAt + 2);
    this.write(this.kflagAt(structAt)
      ? `\t${name} type_id=${type} bitfield_size=${offset >>> 24} bits_offset=${offset & 0xffffff}`
      : `\t${name} type_id=${type} bits_offset=${offset}`);
    this.#endLine(message);
  }

  /** A variable of a data section; after the first pass its section is named first. */
  logSectionVariable(sectionAt: number, variableAt: number, message = ''): void {
    if (this.log === undefined) return;
    if (!this.isMetaPhase) this.logType(sectionAt);
    this.write(`\t type_id=${this.word(variableAt)} offset=${this.word(variableAt + 1)} size=${this.word(variableAt + 2)}`);
    this.#endLine(message);
  }

  #endLine(message: string): void {
    this.write(message === '' ? '\n' : ` ${message}\n`);
  }

  #logDetails(at: number): void {
    const refer = this.referAt(at);
    const next = this.word(at + 3);
    switch (this.kindAt(at)) {
      case BTF_KIND_INT:
        this.write(`size=${refer} bits_offset=${(next >>> 16) & 0xff} nr_bits=${next & 0xff} encoding=${encodingText((next >>> 24) & 0xf)}`);
        break;
      case BTF_KIND_FWD:
        this.write(this.kflagAt(at) ? 'union' : 'struct');
        break;
      case BTF_KIND_ARRAY:
        this.write(`type_id=${next} index_type_id=${this.word(at + 4)} nr_elems=${this.word(at + 5)}`);
        break;
      case BTF_KIND_STRUCT: case BTF_KIND_UNION: case BTF_KIND_ENUM: case BTF_KIND_ENUM64: case BTF_KIND_DATASEC:
        this.write(`size=${refer} vlen=${this.vlenAt(at)}`);
        break;
      case BTF_KIND_FUNC_PROTO:
        this.#logPrototype(at);
        break;
      case BTF_KIND_VAR:
        this.write(`type_id=${refer} linkage=${next}`);
        break;
      case BTF_KIND_FLOAT:
        this.write(`size=${refer}`);
        break;
      case BTF_KIND_DECL_TAG:
        this.write(`type=${refer} component_idx=${signed(next)}`);
        break;
      default:
        this.write(`type_id=${refer}`);
    }
  }

  #logPrototype(at: number): void {
    const count = this.vlenAt(at);
    this.write(`return=${this.referAt(at)} args=(`);
    if (count === 0) this.write('void');
    for (let i = 0; i < count; i++) {
      const name = this.word(at + 3 + i * 2);
      const type = this.word(at + 4 + i * 2);
      // The last one may be the ellipsis; the first of several is always printed as it stands.
      const isVararg = type === 0 && i === count - 1;
      this.write(`${i === 0 ? '' : ', '}${isVararg ? 'vararg' : `${type} ${this.nameText(name)}`}`);
    }
    this.write(')');
  }
}

function encodingText(encoding: number): string {
  if (encoding === 0) return '(none)';
  if (encoding === BTF_INT_SIGNED) return 'SIGNED';
  if (encoding === BTF_INT_CHAR) return 'CHAR';
  return encoding === BTF_INT_BOOL ? 'BOOL' : 'UNKN';
}
