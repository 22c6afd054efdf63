import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../../isa/errors.ts';
import { CLexer, type Token } from '../../../loader/c-lexer.ts';

function tokens(text: string | Uint8Array): Token[] {
  const lexer = new CLexer(typeof text === 'string' ? new TextEncoder().encode(text) : text, 'a.h');
  const list: Token[] = [];
  for (let token = lexer.next(); token.kind !== 'end'; token = lexer.next()) list.push(token);
  return list;
}

const texts = (text: string): string[] => tokens(text).map((token) => token.text);
const string = (text: string): number[] => [...(tokens(text)[0]?.bytes ?? [])];
const failure = (text: string): string => {
  try {
    tokens(text);
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return 'no error';
};

describe('tokens', () => {
  it('splits names, numbers and punctuation', () => {
    expect(texts('skel->maps.a_$1 = 0x1fUL;')).toEqual(['skel', '->', 'maps', '.', 'a_$1', '=', '0x1fUL', ';']);
    expect(texts('1e-3 0xe-1 a==b')).toEqual(['1e-3', '0xe', '-', '1', 'a', '==', 'b']);
  });

  it('passes over comments, splices and blanks and counts lines', () => {
    expect(tokens('a /* x\n* / */ b // c \\\n d\n\\\n e').map((token) => [token.text, token.line])).toEqual([['a', 1], ['b', 2], ['e', 5]]);
  });

  it('gives the line on which a string begins, and goes on behind it', () => {
    expect(tokens('"a\\\nb\\\nc" d').map((token) => [token.kind, token.line])).toEqual([['string', 1], ['name', 3]]);
  });

  it('does not mind a byte order mark or carriage returns', () => {
    expect(texts('\ufeff#ifndef A\r\n#define A\r\nint x;\r\n#endif\r\n')).toEqual(['int', 'x', ';']);
    expect(string('"\\x01\\\r\n\\x02"')).toEqual([1, 2]);
  });
});

describe('escapes', () => {
  it.each([
    ['"\\a\\b\\f\\n\\r\\t\\v\\e"', [7, 8, 12, 10, 13, 9, 11, 27]],
    ['"\\\\\\\'\\"\\?"', [92, 39, 34, 63]],
    ['"\\0\\7\\18\\377\\0001"', [0, 7, 1, 0x38, 255, 0, 0x31]],
    ['"\\x0\\x7f\\xff\\x0041g"', [0, 127, 255, 0x41, 0x67]],
    ['"\\u00e9\\U0001f600"', [0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80]],
    ['"\\x41\\\n\\x42"', [0x41, 0x42]],
    ['""', []],
  ])('%s', (text, bytes) => {
    expect(string(text)).toEqual(bytes);
  });

  it('keeps bytes beyond ASCII as they are', () => {
    expect(tokens(Uint8Array.of(34, 0xff, 0x80, 34))[0]?.bytes).toEqual(Uint8Array.of(0xff, 0x80));
  });

  it.each([
    ['\n"\\q"', 'a.h: line 2: unknown escape \\ and \'q\' in a string literal'],
    ['"\\x"', 'a.h: line 1: \\x without a hexadecimal digit in a string literal'],
    ['"\\x100"', 'a.h: line 1: a hexadecimal escape above \\xff in a string literal'],
    ['"\\400"', 'a.h: line 1: an octal escape above \\377 in a string literal'],
    ['"\\u12"', 'a.h: line 1: a universal character name without all of its digits in a string literal'],
    ['"\\ud800"', 'a.h: line 1: a universal character name that is no character'],
    ['"a\nb"', 'a.h: line 1: a string literal ends at the end of its line, without a closing quote'],
    ['"a\\', 'a.h: line 1: the file ends inside a string literal'],
    ['x /* \n', 'a.h: line 1: a comment that begins here does not end'],
  ])('refuses %j', (text, message) => {
    expect(failure(text)).toBe(message);
  });

  it('decodes what bpftool writes for any bytes', () => {
    const encode = (bytes: Uint8Array): string => {
      let text = '"\\\n';
      let width = 0;
      for (const byte of bytes) {
        const piece = byte === 0 ? '\\0' : `\\x${byte.toString(16).padStart(2, '0')}`;
        width += piece.length;
        if (width > 78) {
          text += '\\\n';
          width = piece.length;
        }
        text += piece;
      }
      return `${text}"`;
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      expect(tokens(encode(bytes))[0]?.bytes).toEqual(bytes);
    }));
  });
});

describe('preprocessor', () => {
  it('reads what a C compiler in user space reads', () => {
    const text = '#ifndef G\n#define G\na\n#ifdef __KERNEL__\nb "\n#else\nc\n#endif\n#if 0\nd\n#endif\n#if 1\ne\n#endif\n#endif\n';
    expect(texts(text)).toEqual(['a', 'c', 'e']);
  });

  it('skips conditionals inside what is not read', () => {
    expect(texts('#ifdef A\n#ifndef B\nx\n#else\ny\n#endif\n#endif\nz')).toEqual(['z']);
  });

  it('collects directives, comments taken out', () => {
    const lexer = new CLexer(new TextEncoder().encode('#define A /* 1 */ 2\n # include <x.h> // y\n'), 'a.h');
    lexer.next();
    expect(lexer.directives).toEqual([{ name: 'define', argument: 'A   2', line: 1 }, { name: 'include', argument: '<x.h>', line: 2 }]);
  });

  it.each([
    ['#ifndef A\n', 'a.h: line 2: the file ends inside the conditional opened in line 1'],
    ['#endif\n', 'a.h: line 1: #endif without #if'],
    ['#else\n', 'a.h: line 1: #else without #if'],
    ['#if A > 1\n', 'a.h: line 1: #if with a condition in a generated header'],
    ['#error x\n', 'a.h: line 1: #error in a generated header'],
  ])('refuses %j', (text, message) => {
    expect(failure(text)).toBe(message);
  });
});

describe('hostile input', () => {
  it('ends on any bytes, with tokens or an InputError', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        expect(tokens(bytes).length).toBeLessThanOrEqual(bytes.length);
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
      }
    }));
  });

  it('bounds names, preprocessor lines and conditionals', () => {
    expect(failure('a'.repeat(10_000))).toContain('a name longer than');
    expect(failure(`#define ${'x'.repeat(10_000)}`)).toContain('a preprocessor line longer than');
    expect(failure('#ifndef A\n'.repeat(100))).toContain('more than 64 conditionals');
  });
});
