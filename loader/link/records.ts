/**
 * @module loader/link/records
 * Function and line information and CO-RE relocations of the linked object: collected by output section, written as one `.BTF.ext`.
 * Reproduces `linker_append_btf_ext` and `finalize_btf_ext` of `tools/lib/bpf/linker.c`.
 */
import type { Rewrite } from '../../btf/references.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import { recordsOf, type ExtInfo } from '../object/btf-ext.ts';
import type { ObjectBTF } from '../object/btf-object.ts';
import type { LinkInput } from './input.ts';

const HEADER_SIZE = 32;
const SECTION_HEADER_WORDS = 2;

/** Kinds of records, in the order of the file. */
type RecordKind = 'functions' | 'lines' | 'relocations';
const KINDS: readonly RecordKind[] = ['functions', 'lines', 'relocations'];
const KIND_NAMES: Readonly<Record<RecordKind, string>> = { functions: 'func_info', lines: 'line_info', relocations: 'core_relo_info' };
/** Words of a record that are string offsets, and those that are type ids. */
const STRING_WORDS: Readonly<Record<RecordKind, readonly number[]>> = { functions: [], lines: [1, 2], relocations: [2] };
const TYPE_WORDS: Readonly<Record<RecordKind, readonly number[]>> = { functions: [1], lines: [], relocations: [1] };

interface RecordList {
  /** Bytes of a record; 0 until there is one. */
  size: number;
  readonly records: Uint32Array[];
}

/** Records of one output section. */
export class SectionRecords {
  readonly lists: Readonly<Record<RecordKind, RecordList>> = {
    functions: { size: 0, records: [] }, lines: { size: 0, records: [] }, relocations: { size: 0, records: [] },
  };
}

/** What of the linker the records need. */
interface RecordTarget {
  readonly btf: ObjectBTF;
  readonly typeIDs: Uint32Array;
  /** Records of the output section at an index; 0 stands for those of a section that was left out. */
  records(outputIndex: number): SectionRecords;
}

/** Adds the records of an input object. */
export function appendRecords(input: LinkInput, target: RecordTarget): void {
  if (input.ext === undefined) return;
  for (const kind of KINDS) appendKind(input, input.ext[kind], kind, target);
}

function appendKind(input: LinkInput, info: ExtInfo, kind: RecordKind, { btf, typeIDs, records }: RecordTarget): void {
  const source = input.btf;
  if (source === undefined) return;
  for (const from of info.sections) {
    const name = source.string(from.nameOffset);
    const section = input.section(name) ?? input.fail('section .BTF.ext', `can't find section '${name}' referenced from .BTF.ext`);
    const list = records(section.outputIndex).lists[kind];
    if (list.size === 0) list.size = info.recordSize;
    if (list.size !== info.recordSize) input.fail('section .BTF.ext', `incompatible .BTF.ext record sizes for section '${name}'`);
    for (const record of recordsOf(from)) {
      const copy = record.slice();
      copy[0] = (copy[0] ?? 0) + section.outputOffset;
      for (const at of TYPE_WORDS[kind]) copy[at] = typeIDs[copy[at] ?? 0] ?? 0;
      for (const at of STRING_WORDS[kind]) copy[at] = btf.addString(source.string(copy[at] ?? 0));
      list.records.push(copy);
    }
  }
}

/** Changes the type ids of all records. */
export function rewriteRecordTypes(sections: readonly SectionRecords[], rewrite: Rewrite): void {
  for (const kind of KINDS) {
    for (const { lists } of sections) {
      for (const record of lists[kind].records) for (const at of TYPE_WORDS[kind]) record[at] = rewrite(record[at] ?? 0);
    }
  }
}

/** Sections with the offset of their name among the strings, in the order of the output. */
export interface NamedRecords {
  readonly name: string;
  readonly records: SectionRecords;
}

/**
 * Names the sections of the records in the strings; to be done before types are merged, as libbpf does.
 * @throws InputError where objects have records of different sizes
 */
export function nameRecordSections(sections: readonly NamedRecords[], btf: ObjectBTF): void {
  for (const kind of KINDS) {
    let size = 0;
    for (const { records } of sections) {
      const list = records.lists[kind];
      if (list.records.length === 0) continue;
      if (size !== 0 && size !== list.size) throw new InputError('linked object', 'section .BTF.ext', `mismatch in ${KIND_NAMES[kind]} record size ${size} != ${list.size}`);
      size = list.size;
    }
  }
  for (const kind of KINDS) for (const { name, records } of sections) if (records.lists[kind].records.length > 0) btf.addString(name);
}

/** The section `.BTF.ext`; `undefined` where there is no record. */
export function encodeRecords(sections: readonly NamedRecords[], btf: ObjectBTF, littleEndian: boolean): Uint8Array | undefined {
  const bodies = KINDS.map((kind) => encodeKind(sections, kind, btf));
  const length = bodies.reduce((sum, body) => sum + body.length, 0);
  if (length === 0) return undefined;
  const view = new DataView(new ArrayBuffer(HEADER_SIZE + 4 * length));
  view.setUint16(0, U.BTF_MAGIC, littleEndian);
  view.setUint8(2, U.BTF_VERSION);
  view.setUint32(4, HEADER_SIZE, littleEndian);
  let offset = 0;
  for (const [i, body] of bodies.entries()) {
    view.setUint32(8 + 8 * i, offset, littleEndian);
    view.setUint32(12 + 8 * i, 4 * body.length, littleEndian);
    for (const [k, word] of body.entries()) view.setUint32(HEADER_SIZE + offset + 4 * k, word, littleEndian);
    offset += 4 * body.length;
  }
  return new Uint8Array(view.buffer);
}

/** Words: the size of a record, then for each section its name, its count and its records. */
function encodeKind(sections: readonly NamedRecords[], kind: RecordKind, btf: ObjectBTF): Uint32Array {
  const used = sections.flatMap(({ name, records }) => (records.lists[kind].records.length > 0 ? [{ name, list: records.lists[kind] }] : []));
  const size = used[0]?.list.size ?? 0;
  if (size === 0) return new Uint32Array(0);
  const words = new Uint32Array(used.reduce((sum, { list }) => sum + SECTION_HEADER_WORDS + (list.records.length * size) / 4, 1));
  words[0] = size;
  let at = 1;
  for (const { name, list } of used) {
    words[at] = btf.addString(name);
    words[at + 1] = list.records.length;
    at += SECTION_HEADER_WORDS;
    for (const record of list.records) {
      words.set(record, at);
      at += size / 4;
    }
  }
  return words;
}
