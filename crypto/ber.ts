/**
 * @module crypto/ber
 * The BER reader with exactly the laxness of Linux (`lib/asn1_decoder.c`): a grammar of {@link Pattern}s is walked over the
 * bytes, and actions see each element of interest. Owns tags, lengths, indefinite form, nesting and the optional/choice rules;
 * does not know any particular grammar (see `crypto/x509.ts`, `crypto/pkcs7.ts`).
 *
 * What differs from a DER reader, because the kernel differs: lengths need not be minimal but have at most two bytes; the
 * constructed bit is ignored where a constructed type is expected; an alternative that is missing at the very end of its
 * container counts as present if the element before it matched; bytes after the outermost element are not looked at.
 * Work is bounded: input has at most 65,535 bytes and every step consumes input or grammar.
 */
import { EBADMSG, EMSGSIZE } from '../isa/errno.ts';
import { Rejection } from './rejection.ts';

/** Largest input, in bytes. */
export const MAX_INPUT = 65535;
const MAX_DEPTH = 10;
const CONSTRUCTED = 0x20;
const LONG_TAG = 0x1f;
const INDEFINITE = 0x80;

/** Tags that the grammars use (identifier octet with the constructed bit where the type is constructed). */
export const TAG: Readonly<Record<
  'boolean' | 'integer' | 'bitString' | 'octetString' | 'null' | 'oid' | 'utf8String' | 'sequence' | 'set' | 'utcTime' | 'generalizedTime'
  | 'printableString' | 'ia5String', number>> = {
    boolean: 0x01, integer: 0x02, bitString: 0x03, octetString: 0x04, null: 0x05, oid: 0x06, utf8String: 0x0c, sequence: 0x30,
    set: 0x31, utcTime: 0x17, generalizedTime: 0x18, printableString: 0x13, ia5String: 0x16,
  };

/** Context-specific primitive tag `[n]`. */
export const context = (n: number): number => 0x80 | n;
/** Context-specific constructed tag `[n]`. */
export const contextConstructed = (n: number): number => 0xa0 | n;

/** The element that an action looks at. Offsets count from the start of the input. */
export interface Element {
  /** Identifier octet. */
  readonly tag: number;
  /** Bytes of identifier and length. */
  readonly header: number;
  /** Offset of the content. */
  readonly start: number;
  /** Content bytes; of an indefinite primitive read as "any", its end marker is included. */
  readonly length: number;
  readonly input: Uint8Array;
}

/** Content of an element. */
export const content = (e: Element): Uint8Array => e.input.subarray(e.start, e.start + e.length);
/** Identifier, length and content. */
export const encoding = (e: Element): Uint8Array => e.input.subarray(e.start - e.header, e.start + e.length);

/** Called when an element was read; throws {@link Rejection} to refuse. */
export type Action<C> = (context: C, element: Element) => void;

interface Tagged {
  /** May be absent. */
  readonly optional: boolean;
  /** A later alternative of a choice: not tried once one matched. */
  readonly alternative: boolean;
}
interface Leaf<C> extends Tagged {
  readonly kind: 'leaf';
  readonly tag: number;
  readonly action: Action<C> | undefined;
}
interface Any<C> extends Tagged {
  readonly kind: 'any';
  readonly action: Action<C> | undefined;
}
interface Constructed<C> extends Tagged {
  readonly kind: 'constructed';
  readonly tag: number;
  /** `SEQUENCE OF` / `SET OF`: members repeat, at least once, until the content ends. */
  readonly repeated: boolean;
  readonly members: readonly Pattern<C>[];
  readonly action: Action<C> | undefined;
}
interface Choice<C> {
  readonly kind: 'choice';
  readonly alternatives: readonly Pattern<C>[];
  readonly optional: boolean;
  readonly action: Action<C> | undefined;
}
/** A pattern with an action that sees the element read last, whichever it was. */
interface Acted<C> {
  readonly kind: 'acted';
  readonly inner: Pattern<C>;
  readonly action: Action<C>;
  /** Only where the pattern matched. */
  readonly ifMatched: boolean;
}

/** A grammar over BER. */
export type Pattern<C> = Leaf<C> | Any<C> | Constructed<C> | Choice<C> | Acted<C>;

/** A primitive type: its identifier octet must be exactly `tag`. */
export function leaf<C>(tag: number, action?: Action<C>): Pattern<C> {
  return { kind: 'leaf', tag, action, optional: false, alternative: false };
}
/** Any one element. */
export function any<C>(action?: Action<C>): Pattern<C> {
  return { kind: 'any', action, optional: false, alternative: false };
}
/** A constructed type with fixed members. */
export function sequence<C>(members: readonly Pattern<C>[], action?: Action<C>, tag: number = TAG.sequence): Pattern<C> {
  return { kind: 'constructed', tag, repeated: false, members, action, optional: false, alternative: false };
}
/** A constructed type with one kind of member, at least once. */
export function repeated<C>(tag: number, member: Pattern<C>, action?: Action<C>): Pattern<C> {
  return { kind: 'constructed', tag, repeated: true, members: [member], action, optional: false, alternative: false };
}
/** An explicit context tag around one pattern. */
export function explicit<C>(n: number, member: Pattern<C>): Pattern<C> {
  return sequence([member], undefined, contextConstructed(n));
}
/** May be absent. */
export function optional<C>(pattern: Pattern<C>): Pattern<C> {
  return pattern.kind === 'acted' ? { ...pattern, inner: optional(pattern.inner), ifMatched: true } : { ...pattern, optional: true };
}
/** One of several; with `mayBeAbsent`, none. The action runs in any case, on the element read last. */
export function choice<C>(alternatives: readonly Pattern<C>[], options: { mayBeAbsent?: boolean; action?: Action<C> } = {}): Pattern<C> {
  const later = (pattern: Pattern<C>): Pattern<C> => pattern.kind === 'acted'
    ? { ...pattern, inner: later(pattern.inner) }
    : pattern.kind === 'choice' ? pattern : { ...pattern, alternative: true };
  return {
    kind: 'choice',
    alternatives: alternatives.map((pattern, i) => i === 0 ? optional(pattern) : later(optional(pattern))),
    optional: options.mayBeAbsent ?? false,
    action: options.action,
  };
}
/** A pattern, then an action on what was read last. */
export function acted<C>(inner: Pattern<C>, action: Action<C>): Pattern<C> {
  return { kind: 'acted', inner, action, ifMatched: false };
}

/** Walks one grammar over one input. */
class Reader<C> implements Element {
  readonly input: Uint8Array;
  readonly context: C;
  tag: number = 0;
  header: number = 0;
  start: number = 0;
  length: number = 0;
  /** Where the next identifier octet is. */
  private position = 0;
  /** End of the innermost container of definite length. */
  private limit: number;
  private depth = 0;
  /** The element looked at last matched, or nothing was looked at since one did. */
  private matched = false;
  /** An optional or alternative container was just completed. */
  private completed = false;
  private indefinite = false;

  constructor(input: Uint8Array, context: C) {
    this.input = input;
    this.context = context;
    this.limit = input.length;
  }

  read(pattern: Pattern<C>): void {
    switch (pattern.kind) {
      case 'leaf':
      case 'any':
        if (this.enter(pattern, pattern.kind === 'any' ? undefined : pattern.tag)) this.finishLeaf(pattern.action);
        return;
      case 'constructed':
        if (this.enter(pattern, pattern.tag)) this.readMembers(pattern);
        return;
      case 'choice':
        for (const alternative of pattern.alternatives) this.read(alternative);
        if (!pattern.optional && !this.matched) this.fail('none of the permitted elements is here');
        pattern.action?.(this.context, this);
        return;
      case 'acted':
        this.read(pattern.inner);
        if (!pattern.ifMatched || this.completed) pattern.action(this.context, this);
        return;
      default:
        pattern satisfies never;
    }
  }

  /** Reads identifier and length; false where the pattern is skipped. `expected` is undefined for "any". */
  private enter(pattern: Tagged, expected: number | undefined): boolean {
    if ((pattern.alternative && this.matched) || (pattern.optional && this.position === this.limit)) {
      this.completed = false;
      return false;
    }
    this.matched = this.completed = this.indefinite = false;
    this.header = 2;
    if (this.limit - this.position < 2) this.fail('no room for an element');
    this.tag = this.byte();
    if ((this.tag & LONG_TAG) === LONG_TAG) this.fail('tag number above 30');
    if (expected !== undefined) {
      const ignored = expected & CONSTRUCTED;
      if (((expected ^ this.tag) & ~ignored) !== 0) {
        if (!pattern.optional) this.fail(`element 0x${this.tag.toString(16)} where 0x${expected.toString(16)} is expected`);
        this.position--;
        return false;
      }
    }
    this.matched = true;
    this.readLength();
    this.start = this.position;
    return true;
  }

  private readLength(): void {
    const first = this.byte();
    this.length = first;
    if (first === INDEFINITE) {
      if ((this.tag & CONSTRUCTED) === 0) this.fail('indefinite length of a primitive element');
      this.indefinite = true;
      if (this.limit - this.position < 2) this.fail('indefinite length without an end');
      return;
    }
    if (first > INDEFINITE) {
      const count = first - INDEFINITE;
      if (count > 2) this.fail('length of more than two bytes');
      if (count > this.limit - this.position) this.fail('length beyond the end');
      this.header += count;
      this.length = count === 1 ? this.byte() : this.byte() * 256 + this.byte();
    }
    if (this.length > this.limit - this.position) this.fail('content beyond the end');
  }

  private finishLeaf(action: Action<C> | undefined): void {
    if (this.indefinite) this.length = this.indefiniteLength() - this.position;
    action?.(this.context, this);
    this.position += this.length;
  }

  private readMembers(pattern: Constructed<C>): void {
    if (++this.depth > MAX_DEPTH) this.fail('nested too deeply');
    const { start, header, indefinite } = this, outer = this.limit;
    if (!indefinite) this.limit = this.position + this.length;
    do {
      for (const member of pattern.members) this.read(member);
    } while (pattern.repeated && !this.atEnd(indefinite));
    if (indefinite) {
      if (this.limit - this.position < 2 || this.byte() !== 0) this.fail('indefinite length without its end marker');
      if (this.byte() !== 0) this.fail('end marker with a length');
      this.length = this.position - start - 2;
    } else {
      if (this.position !== this.limit) this.fail('bytes left over in a container');
      this.length = this.limit - start;
      this.limit = outer;
    }
    this.depth--;
    this.start = start;
    this.header = header;
    pattern.action?.(this.context, this);
    // Inline containers of the kernel's compiled grammars leave these flags as the last member did; only optional ones and
    // alternatives, which are called like subroutines, set them.
    if (pattern.optional || pattern.alternative) this.matched = this.completed = true;
  }

  private atEnd(indefinite: boolean): boolean {
    if (!indefinite) return this.position >= this.limit;
    if (this.limit - this.position < 2) this.fail('indefinite length without its end marker');
    return this.input[this.position] === 0;
  }

  /** Offset behind the end marker that closes the indefinite element whose content starts here. */
  private indefiniteLength(): number {
    const { input, limit } = this;
    let at = this.position;
    for (let open = 1; open > 0;) {
      if (limit - at < 2) this.fail('indefinite length without an end');
      const tag = input[at++] ?? 0;
      if (tag === 0) {
        if (input[at++] !== 0) this.fail('end marker with a length');
        open--;
        continue;
      }
      if ((tag & LONG_TAG) === LONG_TAG) {
        let more = true;
        while (more) {
          if (limit - at < 2) this.fail('tag beyond the end');
          more = ((input[at++] ?? 0) & 0x80) !== 0;
        }
      }
      let length = input[at++] ?? 0;
      if (length === INDEFINITE) {
        if ((tag & CONSTRUCTED) === 0) this.fail('indefinite length of a primitive element');
        open++;
        continue;
      }
      if (length > INDEFINITE) {
        const count = length - INDEFINITE;
        if (count > 7 || count > limit - at) this.fail('length beyond the end');
        length = 0;
        for (let i = 0; i < count; i++) length = length * 256 + (input[at++] ?? 0);
      }
      if (length > limit - at) this.fail('content beyond the end');
      at += length;
    }
    return at;
  }

  private byte(): number {
    return this.input[this.position++] ?? 0;
  }

  private fail(reason: string): never {
    throw new Rejection(EBADMSG, reason, Math.min(this.position, this.input.length));
  }
}

/**
 * Walks `pattern` over `input`, calling actions with `context`. Throws {@link Rejection}: `EMSGSIZE` above 65,535 bytes,
 * `EBADMSG` for whatever the grammar does not allow, or what an action throws.
 */
export function readBER<C>(pattern: Pattern<C>, input: Uint8Array, context: C): void {
  if (input.length > MAX_INPUT) throw new Rejection(EMSGSIZE, `more than ${MAX_INPUT} bytes`);
  new Reader(input, context).read(pattern);
}
