/**
 * Key scenarios: `add_key`, `request_key`, `keyctl` and signed loads, step by step with the answers of Linux 7.3.4.
 * Data: test/parity/data/keys.json.gz, made by test/parity/gen/keys.mjs.
 */
import { describe, expect, test } from 'vitest';
import { RECORDED_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { fromHex, toHex } from '../../../crypto/bytes.ts';
import type { Keyrings } from '../../../kernel/keys/keyrings.ts';
import { freshKeyrings, readData } from '../crypto/recorded.ts';

type Argument = number | string;
interface Step {
  readonly call: string;
  readonly args: readonly Argument[];
  /** A result, `-errno`, or `"$N"`: the serial number that step N gave first. */
  readonly want: number | string;
  readonly data?: { readonly hex?: string; readonly keys?: readonly string[] };
}

const scenarios = JSON.parse(readData('keys.json.gz')) as readonly { readonly name: string; readonly steps: readonly Step[] }[];
const PROGRAM = fromHex('b7000000000000009500000000000000');

/** Performs the steps of a scenario on fresh keyrings. */
class Performer {
  private now = 1_700_000_000;
  private readonly keyrings: Keyrings = freshKeyrings({ algorithms: RECORDED_ALGORITHMS, now: () => this.now });
  private readonly results: number[] = [];
  private readonly serials = new Map<number, string>();

  perform(step: Step): { got: number | string; data: Step['data'] } {
    const answer = this.call(step.call, step.args), result = typeof answer === 'number' ? answer : answer.length;
    this.results.push(result);
    const givesSerial = ['add', 'req', 'get', 'join', 'search'].includes(step.call);
    const got = givesSerial && result >= 3 ? this.name(result) : result;
    return { got, data: typeof answer === 'number' || answer.length === 0 ? undefined : this.data(answer, step) };
  }

  private name(serial: number): string {
    const known = this.serials.get(serial) ?? `$${this.results.length - 1}`;
    this.serials.set(serial, known);
    return known;
  }

  private data(bytes: Uint8Array, step: Step): Step['data'] {
    if (step.data?.keys === undefined) return { hex: toHex(bytes) };
    return { keys: [...new Int32Array(bytes.slice().buffer)].map((serial) => this.serials.get(serial) ?? '?').toSorted() };
  }

  private number(value: Argument | undefined): number {
    const word = String(value);
    return word.startsWith('$') ? this.results[Number(word.slice(1))] ?? NaN : Number(word);
  }

  private text(value: Argument | undefined): string | undefined {
    const word = String(value);
    if (word === '-' || value === undefined) return undefined;
    const bare = word.startsWith('t:') ? word.slice(2) : word;
    return bare.replaceAll('\x01', ' ').replaceAll(/\$\d+/g, (reference) => String(this.number(reference)));
  }

  private call(call: string, [a, b, c, d]: readonly Argument[]): number | Uint8Array {
    const { keyrings } = this;
    switch (call) {
      case 'add': return keyrings.addKey(this.text(a) ?? '', this.text(b), fromHex(String(c)), this.number(d));
      case 'req': return keyrings.requestKey(this.text(a) ?? '', this.text(b) ?? '', this.number(c));
      case 'get': return keyrings.getKeyringID(this.number(a), b === 1);
      case 'join': return keyrings.joinSession(this.text(a));
      case 'update': return keyrings.update(this.number(a), new Uint8Array(0));
      case 'revoke': return keyrings.revoke(this.number(a));
      case 'clear': return keyrings.clear(this.number(a));
      case 'link': return keyrings.link(this.number(a), this.number(b));
      case 'unlink': return keyrings.unlink(this.number(a), this.number(b));
      case 'move': return keyrings.move(this.number(a), this.number(b), this.number(c), this.number(d));
      case 'search': return keyrings.search(this.number(a), this.text(b) ?? '', this.text(c) ?? '', this.number(d));
      case 'setperm': return keyrings.setPermissions(this.number(a), this.number(b));
      case 'timeout': return keyrings.setTimeout(this.number(a), this.number(b));
      case 'invalidate': return keyrings.invalidate(this.number(a));
      case 'restrict': return keyrings.restrict(this.number(a), this.text(b), this.text(c));
      case 'read': return keyrings.read(this.number(a));
      case 'describe': {
        const text = keyrings.describe(this.number(a));
        return typeof text === 'number' ? text : new TextEncoder().encode(`${text}\0`);
      }
      case 'load': {
        const ring = keyrings.resolveKeyring(this.number(a));
        return ring === undefined ? -22 : keyrings.verifySignature(PROGRAM, fromHex(String(b)), ring);
      }
      case 'sleep': this.now += this.number(a); return 0;
      default: throw new Error(`unknown step ${call}`);
    }
  }
}

describe('key scenarios of Linux', () => {
  test.each(scenarios)('$name', ({ name, steps }) => {
    const performer = new Performer(), wrong: string[] = [];
    for (const [i, step] of steps.entries()) {
      const { got, data } = performer.perform(step), place = `${name} ${i}`;
      const want = step.data?.keys === undefined ? step.data : { keys: step.data.keys.toSorted() };
      if (got !== step.want || JSON.stringify(data) !== JSON.stringify(want)) {
        wrong.push(`${place} ${step.call} ${step.args.map((arg) => String(arg).slice(0, 40)).join(' ')}: ${got} ${JSON.stringify(data) ?? ''}, recorded ${step.want} ${JSON.stringify(want) ?? ''}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});
