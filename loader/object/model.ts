/**
 * @module loader/object/model
 * An opened object: programs, maps, externs and relocations as libbpf sees them after `bpf_object__open`. Plain data that the later
 * steps change (relocation, generation of a loader); owns the shapes only.
 */
import type { ELFObject } from './elf.ts';
import type { ObjectBTF } from './btf-object.ts';
import type { ObjectBTFExt } from './btf-ext.ts';
import type { SectionDef } from './section-defs.ts';

/** Where a map comes from. */
export type MapKind = 'user' | 'data' | 'rodata' | 'bss' | 'percpu' | 'kconfig' | 'struct_ops';

/** The numbers of a map's creation. */
export interface MapDefinition {
  /** `BPF_MAP_TYPE_*` */
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  /** `BPF_F_*` */
  flags: number;
  mapExtra: bigint;
  numaNode: number;
  keyTypeID: number;
  valueTypeID: number;
  /** `LIBBPF_PIN_BY_NAME` */
  pinned: boolean;
}

/** A map of the object. */
export interface ObjectMap {
  /** Name for the kernel, before it is cut to 15 characters. */
  readonly name: string;
  /** Section name of an internal map. */
  readonly realName: string;
  readonly kind: MapKind;
  readonly definition: MapDefinition;
  readonly sectionIndex: number;
  readonly sectionOffset: number;
  /** Index of the variable in DATASEC `.maps`. */
  readonly variableIndex: number;
  /** First contents of an internal map, of the arena's globals, or of a structure of callbacks. */
  data: Uint8Array | undefined;
  /** False for maps that are only created when the user says so. */
  readonly autocreate: boolean;
  /** Programs that a `struct_ops` map names: index by index of the member. */
  readonly callbacks: Map<number, number>;
  readonly inner: ObjectMap | undefined;
  /** Initial slots: map or program indexes. */
  readonly slots: Map<number, number>;
}

/** What a relocation of an instruction refers to. */
export type RelocationKind = 'map' | 'data' | 'extern' | 'extern-call' | 'call' | 'subprog' | 'core' | 'jump-table';

export interface ProgramRelocation {
  readonly kind: RelocationKind;
  /** Slot in the program. */
  instruction: number;
  /** Index of the map or extern. */
  readonly target: number;
  /** Value of the symbol, and for a jump table its bytes. */
  readonly symbolOffset: number;
  readonly symbolSize?: number;
  /** Of a subprogram that was appended: how far it moved from its section's begin to the program's, in instructions. */
  readonly moved?: number;
  /** CO-RE: type id, access string, kind. */
  readonly core: { readonly typeID: number; readonly access: number; readonly kind: number } | undefined;
}

/** A function of the object: an entry point, or in `.text` a subprogram. */
export interface ObjectProgram {
  readonly name: string;
  /** Without a leading `?`. */
  readonly sectionName: string;
  readonly sectionIndex: number;
  /** In instructions. */
  readonly sectionOffset: number;
  /** Slots of this function alone. */
  readonly ownLength: number;
  /** Little-endian in memory whatever the object's order; subprograms are appended. */
  instructions: Uint8Array;
  autoload: boolean;
  readonly isGlobal: boolean;
  /** Hidden visibility: its FUNC becomes static. */
  readonly markStatic: boolean;
  readonly isSubprogram: boolean;
  readonly definition: SectionDef | undefined;
  /** `BPF_PROG_TYPE_*`, 0 where the section says nothing. */
  type: number;
  expectedAttachType: number;
  relocations: ProgramRelocation[];
  /** Where this subprogram was appended in the program being relocated, in instructions; 0 for not yet. */
  subOffset: number;
  /** Records of this function and of those that were appended, an array a function. */
  functionInfo: Uint32Array[];
  functionInfoSize: number;
  lineInfo: Uint32Array[];
  lineInfoSize: number;
}

/** A symbol that somebody else defines. */
export interface Extern {
  readonly name: string;
  readonly symbolIndex: number;
  readonly isWeak: boolean;
  readonly btfID: number;
  readonly kind: 'ksym' | 'kconfig';
  /** ksym: the type behind it, 0 for typeless (`extern const void`). */
  readonly typeID: number;
  /** kconfig: offset in the map, size, alignment. */
  dataOffset: number;
  readonly size: number;
  readonly align: number;
  readonly isSigned: boolean;
  /** kconfig: what the variable can hold. */
  readonly configKind: ConfigKind | undefined;
}

/** Forms of a configuration value (`enum kcfg_type`). */
export type ConfigKind = 'bool' | 'tristate' | 'char' | 'int' | 'string';

/** An opened object. */
export interface BPFObject {
  readonly file: string;
  readonly name: string;
  readonly elf: ELFObject;
  readonly littleEndian: boolean;
  readonly license: string;
  readonly btf: ObjectBTF | undefined;
  readonly ext: ObjectBTFExt | undefined;
  /** Sorted by section, then offset. */
  readonly programs: ObjectProgram[];
  readonly maps: ObjectMap[];
  readonly externs: Extern[];
  /** Section `.text`, 0 for none. */
  readonly textIndex: number;
  /** Section `.maps`, -1 for none. */
  readonly mapsIndex: number;
  /** Index of the arena's and of `.kconfig`'s map, -1 for none. */
  arenaIndex: number;
  kconfigIndex: number;
  readonly arenaSection: number;
  readonly jumpTableSection: number;
}
