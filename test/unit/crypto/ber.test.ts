/** The BER reader on hostile input: an error number or an answer, always, in work bounded by the input. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ALL_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { any, content, leaf, MAX_INPUT, readBER, repeated, sequence, TAG, type Pattern } from '../../../crypto/ber.ts';
import { concatBytes, fromHex, toHex } from '../../../crypto/bytes.ts';
import { derElement, derInteger, derSequence } from '../../../crypto/der.ts';
import { decodeOID, encodeOID, OID } from '../../../crypto/oid.ts';
import { parseSignedMessage } from '../../../crypto/pkcs7.ts';
import { isRefusal, orRefusal } from '../../../crypto/rejection.ts';
import { parseCertificate } from '../../../crypto/x509.ts';
import { readCases } from './recorded.ts';

const context = { algorithms: ALL_ALGORITHMS };
const numbers: Pattern<string[]> = repeated(TAG.sequence, leaf(TAG.integer, (seen, e) => { seen.push(toHex(content(e))); }));
const read = (hex: string): string[] | number => {
  const seen: string[] = [], answer = orRefusal(() => {
    readBER(numbers, fromHex(hex), seen);
    return seen;
  });
  return isRefusal(answer) ? answer.errno : seen;
};

describe('lengths and tags', () => {
  test.each<[string, string, string[] | number]>([
    ['short', '3006020101020102', ['01', '02']], ['long form of a small number', '308103020101', ['01']], ['two bytes', '30820003020101', ['01']],
    ['three bytes', '3083000003020101', 74], ['indefinite', '30800201010000', ['01']], ['indefinite with two', '30800201010201020000', ['01', '02']],
    ['indefinite without end', '3080020101', 74], ['end marker with a length', '30800201010001ff', 74], ['indefinite primitive', '30050280010000', 74],
    ['constructed bit cleared', '1003020101', ['01']], ['primitive with the constructed bit', '3003220101', 74], ['bytes behind', '3003020101ff', ['01']],
    ['bytes left over', '3004020101ff', 74], ['empty', '3000', 74], ['content beyond', '3010020101', 74], ['member beyond', '3003020501', 74],
    ['long tag', '1f0103020101', 74], ['nothing', '', 74], ['one byte', '30', 74], ['another tag', '3103020101', 74],
  ])('%s', (_, hex, want) => expect(read(hex)).toEqual(want));

  test('more than 65535 bytes', () => {
    expect(read('00'.repeat(MAX_INPUT + 1))).toBe(90);
    expect(read('00'.repeat(MAX_INPUT))).toBe(74);
  });
});

describe('hostile input', () => {
  const answered = (bytes: Uint8Array): void => {
    for (const answer of [parseSignedMessage(bytes, context), parseCertificate(bytes, context)]) {
      if (isRefusal(answer)) expect(answer.errno).toBeGreaterThan(0);
    }
  };
  const cases = readCases('signatures.jsonl.gz').flatMap(({ load }) => load?.signature ?? []);

  test('nesting without end', () => {
    answered(concatBytes(...Array.from({ length: 30000 }, () => Uint8Array.of(0x30, 0x80))));
    let nested = fromHex('0500');
    for (let i = 0; i < 5000; i++) nested = Uint8Array.from(derElement(0x30, nested));
    answered(nested);
  });

  test('indefinite elements inside parameters, thousands deep', () => {
    const deep = concatBytes(...Array.from({ length: 10000 }, () => Uint8Array.of(0x30, 0x80)), new Uint8Array(20000));
    const anything: Pattern<object> = sequence([leaf(TAG.oid), any()]);
    expect(isRefusal(orRefusal(() => {
      readBER(anything, derSequence(derElement(0x06, encodeOID(OID.sha256)), deep), {});
      return {};
    }))).toBe(false);
  });

  test('thousands of members', () => {
    const many = derElement(0x30, ...Array.from({ length: 20000 }, () => derInteger(Uint8Array.of(1))));
    expect(read(toHex(many))).toHaveLength(20000);
  });

  test('random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), answered), { numRuns: 300 });
  });

  test('recorded messages with bytes replaced, removed and repeated', () => {
    fc.assert(fc.property(fc.nat(cases.length - 1), fc.nat(), fc.nat(255), fc.nat(40), (which, place, value, count) => {
      const whole = cases[which] ?? new Uint8Array(1), at = place % Math.max(1, whole.length);
      answered(concatBytes(whole.subarray(0, at), new Uint8Array(count).fill(value), whole.subarray(at + (value % 40))));
    }), { numRuns: 500 });
  });
});

test('a refusal names its place in the whole message', () => {
  const recorded = readCases('signatures.jsonl.gz').find(({ name }) => name === 'message: embedded certificate ed25519')?.load?.signature;
  const answer = parseSignedMessage(recorded ?? new Uint8Array(0), context);
  if (!isRefusal(answer) || recorded === undefined || answer.offset === undefined) throw new Error('not refused with a place');
  expect(answer).toMatchObject({ errno: 65, reason: 'embedded certificate: certificate signature algorithm is not supported' });
  // The place is behind the identifier of Ed25519, 1.3.101.112, in the certificate.
  expect(toHex(recorded.subarray(answer.offset - 5, answer.offset + 5))).toContain('06032b6570');
});

test('object identifiers there and back', () => {
  for (const dotted of Object.values(OID)) expect(decodeOID(encodeOID(dotted))).toBe(dotted);
  expect(decodeOID(fromHex('80'))).toBe('?80');
  expect(decodeOID(fromHex(''))).toBe('?');
  expect(decodeOID(fromHex('ff'.repeat(12) + '7f'))).toMatch(/^\?/);
});
