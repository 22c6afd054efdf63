/**
 * @module src/fuzz/mutators/der
 * Changes to BER and DER that know tags and lengths: elements left out, doubled, exchanged, retagged, their lengths written in other
 * forms or wrong, with the lengths around them made right again (or not). Reading never fails: what is no BER stays a run of bytes.
 */
import { concatBytes } from '../../../crypto/bytes.ts';
import type { Random } from '../random.ts';
import { mutateBytes, withInteger } from './bytes.ts';

const DEEPEST = 16;
const MOST_NODES = 4096;
const CONSTRUCTED = 0x20;

/** How a length is written: as DER wants it, with more bytes than it needs, without an end, or as another number. */
export type LengthForm = 'shortest' | 'long1' | 'long2' | 'indefinite' | { readonly claim: number };

/** One element: identifier octet, and either members or content. */
export interface Node {
  readonly tag: number;
  readonly form: LengthForm;
  readonly members: readonly Node[] | undefined;
  readonly content: Uint8Array;
}

/** A message: elements, then bytes that are none. */
export interface Forest {
  readonly nodes: readonly Node[];
  readonly rest: Uint8Array;
}

interface Budget {
  nodes: number;
}

function readForest(bytes: Uint8Array, depth: number, budget: Budget): Forest {
  const nodes: Node[] = [];
  let at = 0;
  while (at + 2 <= bytes.length && budget.nodes > 0) {
    const tag = bytes[at]!, first = bytes[at + 1]!;
    const more = first > 0x80 ? first - 0x80 : 0;
    if ((tag & 0x1f) === 0x1f || first === 0x80 || more > 2 || at + 2 + more > bytes.length) break;
    let length = first;
    if (more > 0) length = more === 1 ? bytes[at + 2]! : bytes[at + 2]! * 256 + bytes[at + 3]!;
    const start = at + 2 + more;
    if (start + length > bytes.length) break;
    budget.nodes--;
    const content = bytes.slice(start, start + length);
    const inner = (tag & CONSTRUCTED) !== 0 && depth < DEEPEST ? readForest(content, depth + 1, budget) : undefined;
    const shortest = length < 0x80 ? 0 : length < 0x100 ? 1 : 2;
    const form: LengthForm = more === shortest ? 'shortest' : more === 1 ? 'long1' : 'long2';
    nodes.push({ tag, form, members: inner !== undefined && inner.rest.length === 0 ? inner.nodes : undefined, content });
    at = start + length;
  }
  return { nodes, rest: bytes.slice(at) };
}

/** Takes bytes apart; `writeBER` of the result gives them back. */
export function parseBER(bytes: Uint8Array): Forest {
  return readForest(bytes, 0, { nodes: MOST_NODES });
}

function lengthBytes(form: LengthForm, length: number): Uint8Array {
  const value = typeof form === 'object' ? form.claim : length;
  if (form === 'indefinite') return Uint8Array.of(0x80);
  if (form === 'long2' || value > 0xff) return Uint8Array.of(0x82, value >> 8, value);
  return form === 'long1' || value >= 0x80 ? Uint8Array.of(0x81, value) : Uint8Array.of(value);
}

function writeNode(node: Node): Uint8Array {
  const body = node.members === undefined ? node.content : concatBytes(...node.members.map(writeNode));
  const end = node.form === 'indefinite' ? Uint8Array.of(0, 0) : new Uint8Array(0);
  return concatBytes(Uint8Array.of(node.tag), lengthBytes(node.form, body.length), body, end);
}

/** The bytes of a message. */
export function writeBER({ nodes, rest }: Forest): Uint8Array {
  return concatBytes(...nodes.map(writeNode), rest);
}

/** Where a node is: the index at each level. */
type Path = readonly number[];

function pathsOf(nodes: readonly Node[], base: Path = []): Path[] {
  return nodes.flatMap((node, i) => [[...base, i], ...(node.members === undefined ? [] : pathsOf(node.members, [...base, i]))]);
}

function nodeAt(nodes: readonly Node[], path: Path): Node {
  const [first = 0, ...deeper] = path;
  const node = nodes[first]!;
  return deeper.length === 0 ? node : nodeAt(node.members ?? [], deeper);
}

/** The nodes with the one at `path` replaced by `by`, any number of them. */
function replaceAt(nodes: readonly Node[], path: Path, by: readonly Node[]): readonly Node[] {
  const [first = 0, ...deeper] = path;
  if (deeper.length === 0) return nodes.toSpliced(first, 1, ...by);
  const node = nodes[first]!;
  return nodes.with(first, { ...node, members: replaceAt(node.members ?? [], deeper, by) });
}

const TAGS = [0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x17, 0x18, 0x30, 0x31, 0x80, 0x81, 0xa0, 0xa1, 0xa2, 0xa3, 0x1f] as const;

function changeNode(node: Node, random: Random, foreign: readonly Node[]): readonly Node[] {
  switch (random.below(10)) {
    case 0: return [];
    case 1: return [node, node];
    case 2: return [{ ...node, tag: random.oneIn(2) ? random.pick(TAGS) : node.tag ^ (1 << random.below(8)) }];
    case 3: return [{ ...node, form: random.pick(['long1', 'long2', 'indefinite'] as const) }];
    case 4: return [{ ...node, form: { claim: random.oneIn(2) ? random.below(0x10000) : Math.max(0, node.content.length + random.between(-2, 2)) } }];
    case 5: return [{ tag: random.pick([0x30, 0x31, 0xa0, 0x04]), form: 'shortest', members: [node], content: new Uint8Array(0) }];
    case 6: return node.members === undefined ? [{ ...node, content: node.content.slice(0, random.below(node.content.length + 1)) }] : node.members;
    case 7: return foreign.length === 0 ? [node, node] : [random.pick(foreign)];
    case 8: return node.members === undefined || node.members.length < 2
      ? [node]
      : [{ ...node, members: [...node.members.slice(1), node.members[0]!] }];
    default: return node.members === undefined
      ? [{ ...node, content: mutateBytes(node.content, random, undefined, 4096) }]
      : [{ ...node, members: [] }];
  }
}

/**
 * One change to a message that is BER, or close to it; mostly to one element with the lengths around it kept right, now and then to bytes.
 * @example mutateBER(certificate, new Random(9), undefined)
 */
export function mutateBER(bytes: Uint8Array, random: Random, other: Uint8Array | undefined): Uint8Array {
  if (random.oneIn(5)) return random.oneIn(2) ? mutateBytes(bytes, random, other, 8192) : flipBit(bytes, random);
  const forest = parseBER(bytes);
  const paths = pathsOf(forest.nodes);
  if (paths.length === 0) return mutateBytes(bytes, random, other, 8192);
  const path = random.pick(paths);
  const foreignForest = other === undefined || random.oneIn(2) ? forest : parseBER(other);
  const foreign = pathsOf(foreignForest.nodes).map((place) => nodeAt(foreignForest.nodes, place));
  const changed = replaceAt(forest.nodes, path, changeNode(nodeAt(forest.nodes, path), random, foreign));
  const rest = random.oneIn(20) ? random.bytes(random.below(4)) : forest.rest;
  return writeBER({ nodes: changed, rest });
}

function flipBit(bytes: Uint8Array, random: Random): Uint8Array {
  if (bytes.length === 0) return bytes;
  const at = random.below(bytes.length);
  return withInteger(bytes, at, 1, bytes[at]! ^ (1 << random.below(8)));
}
