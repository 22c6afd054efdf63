/**
 * @module loader/lskel-tokens
 * The tokens of a light skeleton's text as a grammar asks for them: fixed forms, names of any spelling, numbers, strings; what departs is
 * refused with its line. Owns looking ahead and the wording of refusals; tokens are `c-lexer.ts`, the grammar `lskel.ts`.
 */
import { InputError } from '../isa/errors.ts';
import { CLexer, type Token } from './c-lexer.ts';

/** Splits the fixed parts of a form into token texts; the lexer itself does it, so that both agree. */
const formCache = new Map<string, readonly string[]>();
function tokenTexts(text: string): readonly string[] {
  const cached = formCache.get(text);
  if (cached !== undefined) return cached;
  const lexer = new CLexer(new TextEncoder().encode(text), '');
  const texts: string[] = [];
  for (let token = lexer.next(); token.kind !== 'end'; token = lexer.next()) texts.push(token.text);
  if (formCache.size < 512) formCache.set(text, texts);
  return texts;
}

/** Reads tokens one after the other. */
export class TokenReader {
  readonly #file: string;
  readonly #lexer: CLexer;
  readonly #ahead: Token[] = [];

  constructor(source: Uint8Array, file: string) {
    this.#file = file;
    this.#lexer = new CLexer(source, file);
  }

  /** Source text between two places. */
  slice(start: number, end: number): string {
    return this.#lexer.slice(start, end);
  }

  /** Preprocessor lines passed so far. */
  get directives(): CLexer['directives'] {
    return this.#lexer.directives;
  }

  peek(distance = 0): Token {
    while (this.#ahead.length <= distance) this.#ahead.push(this.#lexer.next());
    const token = this.#ahead[distance];
    if (token === undefined) throw new InputError(this.#file, '', 'no token');
    return token;
  }

  next(): Token {
    const token = this.peek();
    this.#ahead.shift();
    return token;
  }

  fail(token: Token, expected: string): never {
    const found = token.kind === 'end' ? 'the file ends' : `found ${printable(token.text)}`;
    return this.#lexer.fail(token.line, `expected ${expected}, ${found}`);
  }

  failAt(line: number, reason: string): never {
    return this.#lexer.fail(line, reason);
  }

  /** True where the next tokens are those of `form`. */
  looksAt(form: string): boolean {
    return tokenTexts(form).every((text, i) => {
      const token = this.peek(i);
      return token.kind !== 'string' && token.kind !== 'end' && token.text === text;
    });
  }

  /** Takes the tokens of `form`; fails at the first that differs. Returns the last one's end. */
  take(form: string): Token {
    let last = this.peek();
    for (const text of tokenTexts(form)) {
      const token = this.peek();
      if (token.kind === 'string' || token.kind === 'end' || token.text !== text) this.fail(token, `${printable(text)} of ${printable(form)}`);
      last = this.next();
    }
    return last;
  }

  tryTake(form: string): boolean {
    if (!this.looksAt(form)) return false;
    this.take(form);
    return true;
  }

  /** Source text up to, not including, the next punctuation of `stops`: a name of any spelling. */
  nameUntil(stops: readonly string[], what: string): { readonly name: string; readonly line: number } {
    const first = this.peek();
    let end = first.start;
    for (let count = 0; ; count++) {
      const token = this.peek();
      if (token.kind === 'punctuation' && stops.includes(token.text)) break;
      if (token.kind === 'end' || token.kind === 'string' || count > 64) this.fail(token, what);
      if (token.line !== first.line) this.fail(token, `the end of ${what}`);
      end = token.end;
      this.next();
    }
    if (end === first.start) this.fail(first, what);
    return { name: decodeName(this.#lexer.source.subarray(first.start, end)), line: first.line };
  }

  number(what: string): { readonly value: number; readonly line: number } {
    const token = this.next();
    const match = /^(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)[uUlLzZ]{0,3}$/.exec(token.text);
    if (token.kind !== 'number' || match?.[1] === undefined) return this.fail(token, what);
    const digits = match[1];
    const value = /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
    if (!Number.isSafeInteger(value)) this.failAt(token.line, `${what} ${printable(token.text)} is too large`);
    return { value, line: token.line };
  }

  /** One or more adjacent string literals. */
  string(what: string): { readonly bytes: Uint8Array; readonly line: number } {
    const first = this.next();
    if (first.kind !== 'string' || first.bytes === undefined) return this.fail(first, what);
    if (this.peek().kind !== 'string') return { bytes: first.bytes, line: first.line };
    const parts = [first.bytes];
    while (this.peek().kind === 'string') parts.push(this.next().bytes ?? new Uint8Array(0));
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return { bytes, line: first.line };
  }
}

function decodeName(bytes: Uint8Array): string {
  return new TextDecoder('utf-8').decode(bytes).trim();
}

/** A short, one-line form of text from a file. */
export function printable(text: string): string {
  const clean = text.replace(/[^\x21-\x7e ]/g, '?');
  return `"${clean.length > 60 ? `${clean.slice(0, 57)}...` : clean}"`;
}
