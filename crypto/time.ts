/**
 * @module crypto/time
 * UTCTime and GeneralizedTime as the kernel reads them (`x509_decode_time`): RFC 5280 section 4.1.2.5 without time zones and
 * fractions, leap seconds and 24:00:00 permitted.
 */
import { EBADMSG } from '../isa/errno.ts';
import { content, TAG, type Element } from './ber.ts';
import { Rejection } from './rejection.ts';

const DAYS: readonly number[] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

/** Seconds since 1970 of a time element; throws {@link Rejection} with `EBADMSG`. */
export function decodeTime(element: Element): number {
  const bad = (reason: string): never => {
    throw new Rejection(EBADMSG, `time: ${reason}`, element.start);
  };
  const digits = content(element), isUTC = element.tag === TAG.utcTime;
  if (!isUTC && element.tag !== TAG.generalizedTime) bad('neither UTCTime nor GeneralizedTime');
  if (digits.length !== (isUTC ? 13 : 15)) bad(`${digits.length} characters`);
  let at = 0;
  const pair = (): number => {
    const tens = (digits[at++] ?? 0) - 0x30, ones = (digits[at++] ?? 0) - 0x30;
    if (tens < 0 || tens > 9 || ones < 0 || ones > 9) bad('not a digit');
    return 10 * tens + ones;
  };
  let year = pair();
  if (isUTC) year += year >= 50 ? 1900 : 2000;
  else {
    year = 100 * year + pair();
    if (year >= 1950 && year <= 2049) bad('GeneralizedTime for a year that UTCTime can express');
  }
  const month = pair(), day = pair(), hour = pair(), minute = pair(), second = pair();
  if (digits[at] !== 0x5a) bad('does not end in Z');
  if (year < 1970) bad('before 1970');
  if (month < 1 || month > 12) bad(`month ${month}`);
  const last = month === 2 && isLeap(year) ? 29 : DAYS[month - 1] ?? 0;
  if (day < 1 || day > last || hour > 24 || minute > 59 || second > 60) bad('out of range');
  return Date.UTC(year, month - 1, day, hour, minute, second) / 1000;
}
