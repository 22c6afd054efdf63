/**
 * @module loader/link/elf-writer
 * Writes ELF64 relocatable objects: lays sections out one after the other and puts the section headers behind them. Owns the layout,
 * which is that of libelf's `elf_update` without flags (elfutils), because linked objects must be equal to libbpf's byte for byte.
 */
import { EM_BPF, ET_REL, HEADER_SIZE, SECTION_HEADER_SIZE, SHT_NOBITS } from '../object/elf.ts';

/** A section to write; the empty first one is not given. */
export interface OutputSection {
  readonly nameOffset: number;
  readonly type: number;
  readonly flags: number;
  readonly flagsHigh: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entrySize: number;
  /** Bytes; for `SHT_NOBITS` there is only a size. */
  readonly data: Uint8Array;
  readonly size: number;
}

/** The section headers begin at a multiple of it. */
const TABLE_ALIGN = 8;

function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}

/**
 * The file.
 * @param namesIndex section that holds the sections' names, counted from 1
 */
export function writeELF(sections: readonly OutputSection[], namesIndex: number, littleEndian: boolean): Uint8Array {
  let end = HEADER_SIZE;
  const offsets = sections.map(({ type, align, size }) => {
    end = alignUp(end, Math.max(1, align));
    const offset = end;
    if (type !== SHT_NOBITS) end += size;
    return offset;
  });
  const table = alignUp(end, TABLE_ALIGN);
  const bytes = new Uint8Array(table + (sections.length + 1) * SECTION_HEADER_SIZE);
  const view = new DataView(bytes.buffer);
  writeHeader(view, table, sections.length + 1, namesIndex, littleEndian);
  for (const [i, section] of sections.entries()) {
    const offset = offsets[i] ?? 0;
    if (section.type !== SHT_NOBITS) bytes.set(section.data, offset);
    writeSectionHeader(view, table + (i + 1) * SECTION_HEADER_SIZE, section, offset, littleEndian);
  }
  return bytes;
}

function writeHeader(view: DataView, table: number, sections: number, namesIndex: number, little: boolean): void {
  const identity = [0x7f, 0x45, 0x4c, 0x46, 2, little ? 1 : 2, 1];
  for (const [i, byte] of identity.entries()) view.setUint8(i, byte);
  view.setUint16(16, ET_REL, little);
  view.setUint16(18, EM_BPF, little);
  view.setUint32(20, 1, little);
  view.setBigUint64(40, BigInt(table), little);
  view.setUint16(52, HEADER_SIZE, little);
  view.setUint16(58, SECTION_HEADER_SIZE, little);
  view.setUint16(60, sections, little);
  view.setUint16(62, namesIndex, little);
}

function writeSectionHeader(view: DataView, at: number, section: OutputSection, offset: number, little: boolean): void {
  view.setUint32(at, section.nameOffset, little);
  view.setUint32(at + 4, section.type, little);
  view.setBigUint64(at + 8, (BigInt(section.flagsHigh) << 32n) | BigInt(section.flags), little);
  view.setBigUint64(at + 24, BigInt(offset), little);
  view.setBigUint64(at + 32, BigInt(section.size), little);
  view.setUint32(at + 40, section.link, little);
  view.setUint32(at + 44, section.info, little);
  view.setBigUint64(at + 48, BigInt(Math.max(1, section.align)), little);
  view.setBigUint64(at + 56, BigInt(section.entrySize), little);
}
