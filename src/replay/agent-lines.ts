/**
 * @module src/replay/agent-lines
 * Operations as lines for a program that performs them elsewhere (assets/kernel-agent.c), and its answers read back. Pure.
 */
import { toHex } from '../../crypto/bytes.ts';
import { InputError } from '../../isa/errors.ts';
import { latin1UpToNUL } from '../../isa/latin1.ts';
import * as U from '../../isa/uapi.ts';
import { maskLog } from './compare.ts';
import { FD_COMMANDS, LOG_OFFSET, type Got } from './perform.ts';
import { hexToBytes, type BPFCall, type Operation } from './transcript.ts';

const RETVAL_AT = 4, DATA_SIZE_AT = 12;
const hex = (bytes: Uint8Array): string => (bytes.length === 0 ? '-' : toHex(bytes));

function callLine(call: BPFCall): string {
  const tokens = [
    ...call.inputs.map(({ offset, bytes, answered }) => `${answered ? 'x' : 'p'}${offset}=${hex(bytes)}`),
    ...call.outputs.map(({ offset, size }) => `o${offset}=${size}`),
    ...call.nested.map(({ offset, at, bytes, size }) => (bytes === undefined ? `m${offset}:${at}=${size}` : `n${offset}:${at}=${hex(bytes)}`)),
    ...call.fds.map(({ offset, slot }) => `f${offset}=${slot}`),
    ...call.nestedFDs.map(({ offset, at, slot }) => `i${offset}:${at}=${slot}`),
    ...call.taken.map(({ offset, at, slot }) => `k${offset}:${at}=${slot}`),
    ...(call.save === undefined ? [] : [`s=${call.save}`]),
  ];
  return ['bpf', call.cmd, hex(call.attr), ...tokens].join(' ');
}

/** True for what the agent can perform. */
export function canAgentPerform(operation: Operation): boolean {
  return operation.op !== 'watch' && operation.op !== 'admissions';
}

/** The line of an operation. */
export function agentLine(operation: Operation): string {
  switch (operation.op) {
    case 'bpf': return callLine(operation);
    case 'key': return `key ${operation.name} ${hex(operation.der)}`;
    case 'keyid': return `keyid ${operation.id}`;
    case 'caps': return `caps ${operation.effective.toString(16)}`;
    case 'mmap': return `mmap ${operation.slot} ${operation.size} ${operation.prot}`;
    case 'close': return `close ${operation.slot}`;
    case 'dup': return `dup ${operation.slot} ${operation.save}`;
    case 'munmap': case 'watch': case 'admissions': return operation.op;
  }
}

function trimmed(text: string): string {
  return text.replace(/(00)+$/, '');
}

/**
 * What the agent answered to an operation, in the form of `perform.ts`.
 * @throws InputError for a line that is no answer
 */
export function readAgentAnswer(operation: Operation, line: string): Got {
  const [retText = '', errnoText = '', ...fields] = line.split(' ');
  const ret = Number(retText), errno = Number(errnoText);
  if (!Number.isInteger(ret) || !Number.isInteger(errno) || retText === '' || errnoText === '') throw new InputError('agent', '', `no answer: ${line.slice(0, 80)}`);
  if (operation.op === 'dup') return { ret: ret < 0 ? ret : 'fd', errno };
  if (operation.op !== 'bpf') return { ret, errno };
  const out: Record<string, string> = {};
  let log: string | undefined, attr: Uint8Array | undefined;
  const logs = new Set([
    ...(LOG_OFFSET.has(operation.cmd) ? [String(LOG_OFFSET.get(operation.cmd))] : []),
    ...operation.nested.flatMap(({ offset, at, isLog }) => (isLog ? [`${offset}+${at}`] : [])),
  ]);
  for (const field of fields) {
    const equals = field.indexOf('=');
    if (equals < 0) {
      attr = hexToBytes(field.slice(1));
      continue;
    }
    const key = field.slice(0, equals), value = field.slice(equals + 1) === '-' ? '' : field.slice(equals + 1);
    if (logs.has(key)) log = maskLog(latin1UpToNUL(hexToBytes(value) ?? new Uint8Array(0)));
    else out[key] = trimmed(value);
  }
  const isRun = operation.cmd === U.BPF_PROG_TEST_RUN && attr !== undefined && attr.length >= DATA_SIZE_AT + 4;
  const view = attr === undefined ? undefined : new DataView(attr.buffer, attr.byteOffset, attr.byteLength);
  return {
    ret: ret >= 0 && FD_COMMANDS.has(operation.cmd) ? 'fd' : ret, errno, log, out: Object.keys(out).length === 0 ? undefined : out,
    retval: isRun ? view?.getUint32(RETVAL_AT, true) : undefined, dataSizeOut: isRun ? view?.getUint32(DATA_SIZE_AT, true) : undefined,
  };
}
