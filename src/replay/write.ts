/**
 * @module src/replay/write
 * Operations as lines of a transcript: what `transcript.ts` reads, written. The format is described in docs/transcripts.md.
 */
import { toHex } from '../../crypto/bytes.ts';
import type { Answer, BPFCall, Operation } from './transcript.ts';

function callObject(call: BPFCall): Record<string, unknown> {
  const { inputs, outputs, nested, fds, nestedFDs, taken, save } = call;
  const pairs = <T>(list: readonly T[], pair: (item: T) => readonly [number, unknown]): Record<string, unknown> =>
    Object.fromEntries(list.map((item) => pair(item)).map(([offset, value]) => [String(offset), value]));
  const some = (key: string, value: Record<string, unknown> | readonly unknown[]): Record<string, unknown> =>
    (Object.keys(value).length === 0 ? {} : { [key]: value });
  return {
    op: 'bpf', cmd: Number.isInteger(Number(call.name)) ? call.cmd : call.name, attr: toHex(call.attr),
    ...some('in', pairs(inputs.filter(({ answered }) => !answered), ({ offset, bytes }) => [offset, toHex(bytes)])),
    ...some('inout', pairs(inputs.filter(({ answered }) => answered), ({ offset, bytes }) => [offset, toHex(bytes)])),
    ...some('out', pairs(outputs, ({ offset, size }) => [offset, size])),
    ...some('inptr', nested.flatMap(({ offset, at, bytes }) => (bytes === undefined ? [] : [[offset, at, toHex(bytes)]]))),
    ...some('outptr', nested.flatMap(({ offset, at, bytes, size, isLog }) => (bytes !== undefined || isLog ? [] : [[offset, at, size]]))),
    ...some('logptr', nested.flatMap(({ offset, at, size, isLog }) => (isLog ? [[offset, at, size]] : []))),
    ...some('fd', pairs(fds, ({ offset, slot }) => [offset, slot])),
    ...some('infd', nestedFDs.map(({ offset, at, slot }) => [offset, at, slot])),
    ...some('take', taken.map(({ offset, at, slot }) => [offset, at, slot])),
    ...some('ignore', Object.fromEntries(call.ignored)),
    ...(save === undefined ? {} : { save }),
  };
}

function operationObject(operation: Operation): Record<string, unknown> {
  switch (operation.op) {
    case 'bpf': return callObject(operation);
    case 'key': return { op: 'key', name: operation.name, der: toHex(operation.der) };
    case 'keyid': return { op: 'keyid', id: operation.id };
    case 'caps': return { op: 'caps', effective: operation.effective.toString(16) };
    case 'mmap': return { op: 'mmap', slot: operation.slot, size: operation.size, prot: operation.prot };
    case 'close': return { op: 'close', slot: operation.slot };
    case 'dup': return { op: 'dup', slot: operation.slot, save: operation.save };
    case 'munmap': case 'watch': case 'admissions': return { op: operation.op };
  }
}

/**
 * One line, without its end, with `answer` in the place of the recorded one.
 * @example writeOperation({ op: 'close', slot: 3, want }, { ret: 0, errno: 0 })
 */
export function writeOperation(operation: Operation, answer: Answer): string {
  return JSON.stringify({ ...operationObject(operation), want: answer });
}
