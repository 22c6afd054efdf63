/**
 * @module loader/c-lexer
 * A lexer for the part of C that generated headers are made of: names, numbers, string literals with every escape of C11
 * 6.4.4.4 (and GNU's `\e`), punctuation, comments, line splices, and the preprocessor lines that choose between text. Owns
 * translation phases 2 to 5 for that part; does not own grammar and does not expand macros: a definition that could change the
 * meaning of what follows is refused.
 *
 * Works on bytes, pulls one token at a time and never looks back, so junk of any size costs at most one pass.
 */
import { InputError } from '../isa/errors.ts';

export type TokenKind = 'name' | 'number' | 'string' | 'punctuation' | 'end';

/** One token; `text` is the source spelling (for a string literal only its first bytes). */
export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** Byte offsets in the source, end exclusive. */
  readonly start: number;
  readonly end: number;
  /** First line of the token, from 1. */
  readonly line: number;
  /** Decoded bytes of a string literal, without the final NUL. */
  readonly bytes: Uint8Array | undefined;
}

/** What a header `#define`s to nothing or includes, with lines. */
export interface Directive {
  readonly name: string;
  readonly argument: string;
  readonly line: number;
}

interface Conditional {
  readonly line: number;
  /** Text inside is read. */
  taken: boolean;
  /** The surrounding text is read. */
  readonly outer: boolean;
  sawElse: boolean;
}

/** Longest name or number in bytes; C promises 63 significant characters, generated names reach a few hundred. */
const MAX_WORD = 4096;
/** Conditionals inside one another; generated headers have three. */
const MAX_CONDITIONALS = 64;
const NEWLINE = 10;
const BACKSLASH = 92;
const QUOTE = 34;
const APOSTROPHE = 39;
const SLASH = 47;
const STAR = 42;
const HASH = 35;

const SIMPLE_ESCAPES: ReadonlyMap<number, number> = new Map([
  [97, 7], [98, 8], [101, 27], [69, 27], [102, 12], [110, 10], [114, 13], [116, 9], [118, 11],
  [BACKSLASH, BACKSLASH], [APOSTROPHE, APOSTROPHE], [QUOTE, QUOTE], [63, 63],
]);

function isWordStart(c: number): boolean {
  return (c >= 97 && c <= 122) || (c >= 65 && c <= 90) || c === 95 || c === 36 || c >= 128;
}

function isDigit(c: number): boolean {
  return c >= 48 && c <= 57;
}

function hexDigit(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  if (c >= 97 && c <= 102) return c - 87;
  if (c >= 65 && c <= 70) return c - 55;
  return -1;
}

/** Printable form of a byte for messages: `'a'` or `0x07`. */
export function showByte(c: number): string {
  return c > 32 && c < 127 ? `'${String.fromCharCode(c)}'` : `byte 0x${c.toString(16).padStart(2, '0')}`;
}

/**
 * Tokens of `source`, one at a time. Throws `InputError` with `file` and the line for text that is not C.
 *
 * @example
 * const lexer = new CLexer(new TextEncoder().encode('int x; // y'), 'a.h');
 * lexer.next().text; // 'int'
 */
export class CLexer {
  readonly file: string;
  readonly source: Uint8Array;
  /** `#include`, `#define`, `#undef` lines of the text that is read, in order. */
  readonly directives: Directive[] = [];
  #at = 0;
  #line = 1;
  #lineHasToken = false;
  readonly #conditionals: Conditional[] = [];

  constructor(source: Uint8Array, file: string) {
    this.source = source;
    this.file = file;
    // A byte order mark is no token; editors on Windows leave one.
    if (source[0] === 0xef && source[1] === 0xbb && source[2] === 0xbf) this.#at = 3;
  }

  /** The next token; kind `end` (again and again) at the end of the source. */
  next(): Token {
    for (;;) {
      this.#skipBlanks();
      const c = this.source[this.#at];
      if (c === undefined) return this.#finish();
      if (c === HASH && !this.#lineHasToken) {
        this.#directive();
        if (!this.#reading()) this.#skipUnread();
        continue;
      }
      this.#lineHasToken = true;
      if (c === QUOTE) return this.#string();
      if (isWordStart(c)) return this.#word('name');
      if (isDigit(c)) return this.#word('number');
      return this.#punctuation(c);
    }
  }

  /** Source text between two byte offsets, one character a byte, at most 4 KiB of it. */
  slice(start: number, end: number): string {
    const stop = Math.min(end, start + MAX_WORD);
    let text = '';
    for (let i = start; i < stop; i++) text += String.fromCharCode(this.source[i] ?? 0);
    return text;
  }

  /** Ends reading with a reason at a line. */
  fail(line: number, reason: string): never {
    throw new InputError(this.file, `line ${line}`, reason);
  }

  #finish(): Token {
    const open = this.#conditionals.at(-1);
    if (open !== undefined) this.fail(this.#line, `the file ends inside the conditional opened in line ${open.line}`);
    return { kind: 'end', text: '', start: this.#at, end: this.#at, line: this.#line, bytes: undefined };
  }

  #reading(): boolean {
    return this.#conditionals.at(-1)?.taken ?? true;
  }

  #newline(): void {
    this.#line++;
    this.#lineHasToken = false;
  }

  /** True where a backslash-newline (also with CR) stands at `at`; its length. */
  #spliceLength(at: number): number {
    if (this.source[at] !== BACKSLASH) return 0;
    if (this.source[at + 1] === NEWLINE) return 2;
    return this.source[at + 1] === 13 && this.source[at + 2] === NEWLINE ? 3 : 0;
  }

  #skipBlanks(): void {
    const { source } = this;
    for (;;) {
      const c = source[this.#at];
      if (c === NEWLINE) {
        this.#at++;
        this.#newline();
      } else if (c === 32 || (c !== undefined && c >= 9 && c <= 13)) {
        this.#at++;
      } else if (c === SLASH && source[this.#at + 1] === STAR) {
        this.#blockComment();
      } else if (c === SLASH && source[this.#at + 1] === SLASH) {
        this.#lineComment();
      } else {
        const splice = this.#spliceLength(this.#at);
        if (splice === 0) return;
        this.#at += splice;
        this.#line++;
      }
    }
  }

  #blockComment(): void {
    const { source } = this;
    const line = this.#line;
    this.#at += 2;
    while (this.#at < source.length) {
      const c = source[this.#at++];
      if (c === NEWLINE) this.#line++;
      else if (c === STAR && source[this.#at] === SLASH) {
        this.#at++;
        return;
      }
    }
    this.fail(line, 'a comment that begins here does not end');
  }

  #lineComment(): void {
    while (this.#at < this.source.length && this.source[this.#at] !== NEWLINE) {
      const splice = this.#spliceLength(this.#at);
      if (splice > 0) this.#line++;
      this.#at += Math.max(splice, 1);
    }
  }

  #word(kind: 'name' | 'number'): Token {
    const { source } = this;
    const start = this.#at;
    let end = start;
    for (let c = source[end]; c !== undefined; c = source[++end]) {
      const exponentSign = kind === 'number' && (c === 43 || c === 45) && ((source[end - 1] ?? 0) | 32) === 101;
      if (!isWordStart(c) && !isDigit(c) && !(kind === 'number' && c === 46) && !(exponentSign && this.#isDecimal(start))) break;
      if (end - start > MAX_WORD) this.fail(this.#line, `a name longer than ${MAX_WORD} characters`);
    }
    this.#at = end;
    return { kind, text: this.slice(start, end), start, end, line: this.#line, bytes: undefined };
  }

  /** A sign belongs to a number only after the exponent of a decimal one whose digits came first (`1e-3`, not `0xe-1`). */
  #isDecimal(start: number): boolean {
    const second = (this.source[start + 1] ?? 0) | 32;
    return second !== 120 && isDigit(second === 101 ? 48 : second);
  }

  #punctuation(c: number): Token {
    const start = this.#at;
    const following = this.source[start + 1];
    const isPair = (c === 45 && following === 62) || (c === 61 && following === 61);
    this.#at += isPair ? 2 : 1;
    const text = this.slice(start, this.#at);
    return { kind: 'punctuation', text, start, end: this.#at, line: this.#line, bytes: undefined };
  }

  #string(): Token {
    const start = this.#at;
    const line = this.#line;
    const end = this.#stringEnd(start);
    const bytes = new Uint8Array(end - start);
    let length = 0;
    let at = start + 1;
    while (at < end - 1) {
      const c = this.source[at] ?? 0;
      if (c === BACKSLASH) {
        const splice = this.#spliceLength(at);
        if (splice > 0) {
          at += splice;
          this.#line++;
          continue;
        }
        [at, length] = this.#escape(at + 1, end - 1, bytes, length);
      } else {
        bytes[length++] = c;
        at++;
      }
    }
    this.#at = end;
    const text = this.slice(start, Math.min(end, start + 32));
    return { kind: 'string', text, start, end, line, bytes: bytes.slice(0, length) };
  }

  /** Offset after the closing quote. */
  #stringEnd(start: number): number {
    const { source } = this;
    let line = this.#line;
    for (let at = start + 1; at < source.length; at++) {
      const c = source[at];
      if (c === QUOTE) return at + 1;
      if (c === NEWLINE) this.fail(line, 'a string literal ends at the end of its line, without a closing quote');
      if (c === BACKSLASH) {
        const splice = this.#spliceLength(at);
        if (splice > 0) line++;
        at += Math.max(splice - 1, 1);
      }
    }
    return this.fail(line, 'the file ends inside a string literal');
  }

  /** Decodes the escape whose letter is at `at`; the offset after it and the new length. */
  #escape(at: number, end: number, bytes: Uint8Array, length: number): [at: number, length: number] {
    const c = this.source[at] ?? 0;
    const simple = SIMPLE_ESCAPES.get(c);
    if (simple !== undefined) {
      bytes[length] = simple;
      return [at + 1, length + 1];
    }
    if (c >= 48 && c <= 55) return this.#octalEscape(at, end, bytes, length);
    if (c === 120) return this.#hexEscape(at + 1, end, bytes, length);
    if (c === 117) return this.#universalName(at + 1, at + 5, end, bytes, length);
    if (c === 85) return this.#universalName(at + 1, at + 9, end, bytes, length);
    return this.fail(this.#line, `unknown escape \\ and ${showByte(c)} in a string literal`);
  }

  #octalEscape(at: number, end: number, bytes: Uint8Array, length: number): [at: number, length: number] {
    let value = 0;
    let i = at;
    for (; i < end && i < at + 3; i++) {
      const digit = (this.source[i] ?? 0) - 48;
      if (digit < 0 || digit > 7) break;
      value = value * 8 + digit;
    }
    if (value > 255) this.fail(this.#line, 'an octal escape above \\377 in a string literal');
    bytes[length] = value;
    return [i, length + 1];
  }

  #hexEscape(at: number, end: number, bytes: Uint8Array, length: number): [at: number, length: number] {
    let value = 0;
    let i = at;
    for (; i < end; i++) {
      const digit = hexDigit(this.source[i] ?? 0);
      if (digit < 0) break;
      value = value * 16 + digit;
      // C takes every hexadecimal digit that follows, so "\x414" is one character and out of range.
      if (value > 255) this.fail(this.#line, 'a hexadecimal escape above \\xff in a string literal');
    }
    if (i === at) this.fail(this.#line, '\\x without a hexadecimal digit in a string literal');
    bytes[length] = value;
    return [i, length + 1];
  }

  #universalName(at: number, stop: number, end: number, bytes: Uint8Array, length: number): [at: number, length: number] {
    let value = 0;
    for (let i = at; i < stop; i++) {
      const digit = i < end ? hexDigit(this.source[i] ?? 0) : -1;
      if (digit < 0) this.fail(this.#line, 'a universal character name without all of its digits in a string literal');
      value = value * 16 + digit;
    }
    if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) this.fail(this.#line, 'a universal character name that is no character');
    const encoded = new TextEncoder().encode(String.fromCodePoint(value));
    bytes.set(encoded, length);
    return [stop, length + encoded.length];
  }

  /** Reads one preprocessor line; the conditional stack is up to date afterwards. */
  #directive(): void {
    const line = this.#line;
    const text = this.#directiveText();
    const match = /^([A-Za-z_]*)\s*(.*)$/s.exec(text);
    const name = match?.[1] ?? '';
    const argument = (match?.[2] ?? '').trim();
    if (this.#isConditional(name, argument, line)) return;
    if (!this.#reading() || name === '' || name === 'pragma') return;
    if (name !== 'include' && name !== 'define' && name !== 'undef') this.fail(line, `#${name} in a generated header`);
    this.directives.push({ name, argument, line });
  }

  /** The line after `#`, comments taken out; stands at the newline afterwards. */
  #directiveText(): string {
    const { source } = this;
    this.#at++;
    let text = '';
    for (let c = source[this.#at]; c !== undefined && c !== NEWLINE; c = source[this.#at]) {
      const splice = this.#spliceLength(this.#at);
      if (splice > 0) {
        this.#at += splice;
        this.#line++;
      } else if (c === SLASH && source[this.#at + 1] === STAR) {
        this.#blockComment();
        text += ' ';
      } else if (c === SLASH && source[this.#at + 1] === SLASH) {
        this.#lineComment();
      } else {
        if (text.length > MAX_WORD) this.fail(this.#line, `a preprocessor line longer than ${MAX_WORD} characters`);
        text += String.fromCharCode(c);
        this.#at++;
      }
    }
    return text.trim();
  }

  #isConditional(name: string, argument: string, line: number): boolean {
    const top = this.#conditionals.at(-1);
    switch (name) {
      case 'if':
      case 'ifdef':
      case 'ifndef':
        if (this.#conditionals.length >= MAX_CONDITIONALS) this.fail(line, `more than ${MAX_CONDITIONALS} conditionals inside one another`);
        this.#conditionals.push(this.#open(name, argument, line));
        return true;
      case 'else':
        if (top === undefined || top.sawElse) return this.fail(line, '#else without #if');
        top.sawElse = true;
        top.taken = top.outer && !top.taken;
        return true;
      case 'endif':
        if (top === undefined) return this.fail(line, '#endif without #if');
        this.#conditionals.pop();
        return true;
      default:
        return false;
    }
  }

  /** User space in C: `__cplusplus` and `__KERNEL__` are not defined, nor is the header's own guard yet. */
  #open(name: string, argument: string, line: number): Conditional {
    const outer = this.#reading();
    if (outer && name === 'if' && !/^[01]$/.test(argument)) this.fail(line, '#if with a condition in a generated header');
    const holds = name === 'ifndef' || (name === 'if' && argument === '1');
    return { line, taken: outer && holds, outer, sawElse: false };
  }

  /** Skips text that is not read, up to the next line that begins with `#`. */
  #skipUnread(): void {
    const { source } = this;
    while (this.#at < source.length) {
      this.#skipBlanks();
      if (source[this.#at] === HASH && !this.#lineHasToken) return;
      this.#lineHasToken = true;
      const newline = source.indexOf(NEWLINE, this.#at);
      this.#at = newline < 0 ? source.length : newline;
    }
  }
}
