/**
 * @module loader/object/passed-over
 * The sections of an object that libbpf makes nothing of, and what it says of them: variables in a section of no known name and pointers
 * in initial values are lost silently otherwise. Reproduces the last branches of `bpf_object__elf_collect` of `tools/lib/bpf/libbpf.c`.
 */
import {
  SHF_EXECINSTR, SHT_LLVM_ADDRSIG, SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_STRTAB, SHT_SYMTAB, type ELFObject, type Section,
} from './elf.ts';
import { isStructOpsSection } from './struct-ops.ts';

const READ_BY_NAME: ReadonlySet<string> = new Set(['license', 'version', 'maps', '.maps', '.BTF', '.BTF.ext']);
const DATA_SECTIONS = ['.data', '.rodata', '.percpu'] as const;

/** Gets a line that libbpf would say, without its name in front and the line's end. */
export type Note = (line: string) => void;

/** Sections that libbpf passes over without a word (`ignore_elf_section`). */
export function isIgnored({ type, name, size }: Section): boolean {
  if (type === SHT_STRTAB || type === SHT_LLVM_ADDRSIG || (type === SHT_PROGBITS && size === 0 && name === '.text')) return true;
  const isRelocation = name.startsWith('.rel');
  const target = isRelocation ? name.slice('.rel'.length) : name;
  return target.startsWith('.debug_') || (isRelocation && (target === '.BTF' || target === '.BTF.ext'));
}

/** The section itself, or one of its kind: `.data` and `.data.x`. */
function isNamed(name: string, wanted: string): boolean {
  return name === wanted || name.startsWith(`${wanted}.`);
}

/** Code, maps and structures of callbacks are relocated, nothing else. */
export function isRelocated({ name }: Section, target: Section | undefined): boolean {
  const isCode = target !== undefined && target.type === SHT_PROGBITS && (target.flags & SHF_EXECINSTR) !== 0;
  return isCode || name === '.rel.maps' || (name.startsWith('.rel') && isStructOpsSection(name.slice('.rel'.length)));
}

/** What libbpf says of a section that it makes nothing of; `undefined` where it takes it. */
export function passedOver(section: Section, elf: ELFObject): string | undefined {
  const { type, name, index, size, flags, info } = section;
  if (READ_BY_NAME.has(name) || type === SHT_SYMTAB) return undefined;
  if (type === SHT_PROGBITS && size > 0) {
    const isTaken = (flags & SHF_EXECINSTR) !== 0 || DATA_SECTIONS.some((data) => isNamed(name, data)) || isStructOpsSection(name)
      || name === '.addr_space.1' || name === '.jumptables';
    return isTaken ? undefined : `elf: skipping unrecognized data section(${index}) ${name}`;
  }
  if (type === SHT_REL) {
    const target = elf.sections[info];
    return isRelocated(section, target) ? undefined : `elf: skipping relo section(${index}) ${name} for section(${info}) ${target?.name ?? '<?>'}`;
  }
  return type === SHT_NOBITS && isNamed(name, '.bss') ? undefined : `elf: skipping section(${index}) ${name} (size ${size})`;
}

/** What libbpf says, without debugging, of an object that it opens: a line for each section that it makes nothing of. */
export function noteSections(elf: ELFObject, note: Note): void {
  for (const section of elf.sections.slice(1)) {
    const line = isIgnored(section) ? undefined : passedOver(section, elf);
    if (line !== undefined) note(line);
  }
}
