/**
 * @module verifier/printf_format
 * Format strings that BPF programs may print with, checked against the number of arguments (the checking part of
 * `bpf_bprintf_prepare`, kernel/bpf/helpers.c).
 */
import { EINVAL } from '../isa/errno.ts';

const isSpace = (c: string): boolean => c !== '' && ' \t\n\v\f\r\u00a0'.includes(c);
const isPunct = (c: string): boolean => /^[!-/:-@[-`{-~]$/.test(c);
const endsWord = (c: string): boolean => c === '' || isSpace(c) || isPunct(c);

/** Position behind the conversion that begins at `at` (its letter), -1 where it is none that programs may use. */
function conversionEnd(format: string, at: number): number {
  const c = format.charAt(at);
  const next = format.charAt(at + 1);
  if (c === 'p') {
    if (endsWord(next)) return at + 1;
    if ((next === 'k' || next === 'u') && format.charAt(at + 2) === 's') return endsWord(format.charAt(at + 3)) ? at + 3 : -1;
    if ('KxsSB'.includes(next)) return at + 2;
    if ((next === 'i' || next === 'I') && '46'.includes(format.charAt(at + 2)) && format.charAt(at + 2) !== '') return at + 3;
    return -1;
  }
  if (c === 's') return endsWord(next) ? at + 1 : -1;
  if (c === 'c') return at + 1;
  let i = at;
  for (let n = 0; n < 2 && format.charAt(i) === 'l'; n++) i++;
  const letter = format.charAt(i);
  return letter !== '' && 'iduxX'.includes(letter) ? i + 1 : -1;
}

/** 0 where `format` is one that programs may use and takes at most `args` arguments, else `-EINVAL`. */
export function checkPrintfFormat(format: string, args: number): number {
  let used = 0;
  for (let i = 0; i < format.length; i++) {
    const code = format.charCodeAt(i);
    if (code < 0x20 ? !isSpace(format.charAt(i)) : code === 0x7f) return -EINVAL;
    if (format.charAt(i) !== '%') continue;
    if (format.charAt(i + 1) === '%') {
      i++;
      continue;
    }
    if (used >= args) return -EINVAL;
    i++;
    if (format.charCodeAt(i) >= 0x80) return -EINVAL;
    while (i < format.length && '0+- '.includes(format.charAt(i))) i++;
    if (/[1-9]/.test(format.charAt(i))) while (/[0-9]/.test(format.charAt(i))) i++;
    const end = conversionEnd(format, i);
    if (end < 0) return -EINVAL;
    i = end - 1;
    used++;
  }
  return 0;
}
