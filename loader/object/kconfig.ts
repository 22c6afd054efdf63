/**
 * @module loader/object/kconfig
 * Values of `__kconfig` externs: those that libbpf knows by itself (`LINUX_…`), and `CONFIG_…` from the text of a kernel's
 * configuration. Reproduces the kconfig part of `bpf_object__resolve_externs` of `tools/lib/bpf/libbpf.c`, with its messages. libbpf
 * reads the configuration of the machine it runs on; here it is an argument, so that the same input gives the same bytes.
 */
import { InputError } from '../../isa/errors.ts';
import type { BPFObject, Extern } from './model.ts';

/** The twin's version: 7.3.4. */
const KERNEL_VERSION = (7 << 16) | (3 << 8) | 4;
const VIRTUAL: ReadonlyMap<string, bigint> = new Map([['LINUX_HAS_BPF_COOKIE', 1n], ['LINUX_HAS_SYSCALL_WRAPPER', 1n]]);
const TRISTATE: Readonly<Record<string, bigint>> = { n: 0n, y: 1n, m: 2n };

/**
 * Fills in the `.kconfig` map of an object.
 *
 * @param configuration text of a `.config`; without it only weak `CONFIG_…` externs resolve, to zero
 * @param kernelVersion `LINUX_KERNEL_VERSION`; default that of Linux 7.3.4
 * @throws InputError with libbpf's reason where a value is missing or does not fit
 */
export function resolveConfiguration(object: BPFObject, configuration: string | undefined, kernelVersion: number = KERNEL_VERSION): void {
  const map = object.maps[object.kconfigIndex];
  if (map?.data === undefined) return;
  const values = configuration === undefined ? new Map<string, string>() : parseConfiguration(configuration);
  const writer = new ConfigurationWriter(object, map.data, kernelVersion);
  for (const extern of object.externs) if (extern.kind === 'kconfig') writer.write(extern, values.get(extern.name));
}

/** `NAME=value` lines; the first of a name counts. */
function parseConfiguration(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, value] = /^(CONFIG_[^=]+)=(.+)$/.exec(line.trimEnd()) ?? [];
    if (name !== undefined && value !== undefined && !values.has(name)) values.set(name, value);
  }
  return values;
}

class ConfigurationWriter {
  readonly #object: BPFObject;
  readonly #data: Uint8Array;
  readonly #version: bigint;

  constructor(object: BPFObject, data: Uint8Array, version: number) {
    this.#object = object;
    this.#data = data;
    this.#version = BigInt(version);
  }

  #fail(reason: string): never {
    throw new InputError(this.#object.file, 'section .kconfig', reason);
  }

  write(extern: Extern, text: string | undefined): void {
    const { name, isWeak } = extern;
    const virtual = name === 'LINUX_KERNEL_VERSION' ? this.#version : VIRTUAL.get(name);
    if (virtual !== undefined) return this.#number(extern, virtual);
    if (!name.startsWith('CONFIG_')) {
      if (!name.startsWith('LINUX_') || !isWeak) this.#fail(`extern (kcfg) '${name}': unrecognized virtual extern`);
      return;
    }
    if (text !== undefined) this.#value(extern, text);
    else if (!isWeak) this.#fail(`extern '${name}' (strong): not resolved`);
  }

  #value(extern: Extern, text: string): void {
    if (text === 'y' || text === 'n' || text === 'm') return this.#tristate(extern, text);
    if (text.startsWith('"')) return this.#string(extern, text);
    if (!/^(0[xX][0-9a-fA-F]+|-?\d+)$/.test(text)) this.#fail(`extern (kcfg) '${extern.name}': value '${text}' isn't a valid integer`);
    this.#number(extern, BigInt(text));
  }

  #tristate(extern: Extern, text: 'y' | 'n' | 'm'): void {
    switch (extern.configKind) {
      case 'bool':
        if (text === 'm') this.#fail(`extern (kcfg) '${extern.name}': value 'm' implies tristate or char type`);
        return this.#store(extern, text === 'y' ? 1n : 0n);
      case 'tristate': return this.#store(extern, TRISTATE[text] ?? 0n);
      case 'char': return this.#store(extern, BigInt(text.charCodeAt(0)));
      default: this.#fail(`extern (kcfg) '${extern.name}': value '${text}' implies bool, tristate, or char type`);
    }
  }

  #string(extern: Extern, text: string): void {
    if (extern.configKind !== 'string') this.#fail(`extern (kcfg) '${extern.name}': value '${text}' implies char array type`);
    if (!text.endsWith('"') || text.length < 2) this.#fail(`extern (kcfg) '${extern.name}': invalid string config '${text}'`);
    const bytes = new TextEncoder().encode(text.slice(1, -1)).subarray(0, extern.size - 1);
    this.#data.fill(0, extern.dataOffset, extern.dataOffset + extern.size);
    this.#data.set(bytes, extern.dataOffset);
  }

  #number(extern: Extern, value: bigint): void {
    const { configKind, size, isSigned, name } = extern;
    if (configKind !== 'int' && configKind !== 'char' && configKind !== 'bool') this.#fail(`extern (kcfg) '${name}': value '${value}' implies integer, char, or boolean type`);
    if (configKind === 'bool' && value !== 0n && value !== 1n) this.#fail(`extern (kcfg) '${name}': value '${value}' isn't boolean compatible`);
    const bits = 8 * size;
    const fits = bits === 64 || (isSigned ? BigInt.asIntN(bits, value) === value : BigInt.asUintN(bits, value) === BigInt.asUintN(64, value));
    if (!fits) this.#fail(`extern (kcfg) '${name}': value '${value}' doesn't fit in ${size} bytes`);
    this.#store(extern, value);
  }

  /** In the order of the machine that libbpf runs on, whatever the object's: nothing turns these values around. */
  #store({ dataOffset, size }: Extern, value: bigint): void {
    for (let i = 0; i < size; i++) this.#data[dataOffset + i] = Number(BigInt.asUintN(8, value >> BigInt(8 * i)));
  }
}
