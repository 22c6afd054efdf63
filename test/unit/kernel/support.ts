/** Building attribute blocks and performing calls, for tests of the kernel room. */
import { ATTR_SIZE, COMMANDS, commandByName, type Field, writeInt, writeLong, writeName } from '../../../isa/attr.ts';
import { Kernel } from '../../../kernel/kernel.ts';
import type { KernelOptions } from '../../../kernel/api.ts';

export type Value = number | bigint | string | Uint8Array;

/** Calls `bpf()` with named fields; bytes are put into user memory and passed by address. Buffers stay until the kernel's end. */
export class Caller {
  readonly kernel: Kernel;
  readonly attr: number;
  /** Address of the last buffer passed for a field. */
  readonly buffers: Map<string, number> = new Map();

  private readonly owned: number[] = [];

  constructor(options: KernelOptions = {}, kernel: Kernel = new Kernel(options)) {
    this.kernel = kernel;
    this.attr = this.kernel.allocUser(4096);
    this.owned.push(this.attr);
  }

  /** Gives all buffers back. */
  release(): void {
    for (const address of this.owned.splice(0)) this.kernel.freeUser(address);
  }

  /** Performs a command; `size` is the whole union unless given. */
  call(name: string, fields: Readonly<Record<string, Value>>, size: number = ATTR_SIZE): number {
    const spec = commandByName(name);
    if (spec === undefined) throw new Error(`no command ${name}`);
    const view = new DataView(new ArrayBuffer(ATTR_SIZE));
    for (const [key, value] of Object.entries(fields)) this.set(view, spec.fields.find((field) => field.name === key) ?? fail(key), value);
    this.kernel.writeUser(this.attr, new Uint8Array(view.buffer).subarray(0, Math.min(size, ATTR_SIZE)));
    return this.kernel.bpf(spec.cmd, this.attr, size);
  }

  private set(view: DataView, field: Field, value: Value): void {
    if (value instanceof Uint8Array) {
      const address = this.kernel.userAlloc(value.length === 0 ? 1 : value);
      this.owned.push(address);
      this.buffers.set(field.name, address);
      writeLong(view, 0, field as Field<'ptr'>, BigInt(address));
    } else if (typeof value === 'string') writeName(view, 0, field as Field<'name'>, value);
    else if (field.size === 8) writeLong(view, 0, field as Field<'u64'>, BigInt(value));
    else writeInt(view, 0, field as Field<'u32'>, Number(value));
  }

  /** A 32-bit field of the union after the call. */
  result(offset: number): number {
    return new DataView(this.kernel.readUser(this.attr + offset, 4).buffer).getUint32(0, true);
  }

  /** User memory of `size` bytes; its address. */
  buffer(size: number): number {
    const address = this.kernel.allocUser(size);
    this.owned.push(address);
    return address;
  }

  map(type: number, key: number, value: number, entries: number, more: Readonly<Record<string, Value>> = {}): number {
    return this.call('MAP_CREATE', { map_type: type, key_size: key, value_size: value, max_entries: entries, ...more });
  }

  update(fd: number, key: Uint8Array, value: Uint8Array, flags = 0n): number {
    return this.call('MAP_UPDATE_ELEM', { map_fd: fd, key, value, flags });
  }

  /** The value, or `-errno`. */
  lookup(fd: number, key: Uint8Array, size: number, flags = 0n): Uint8Array | number {
    const out = this.buffer(Math.max(size, 1));
    const result = this.call('MAP_LOOKUP_ELEM', { map_fd: fd, key, value: out, flags });
    return result < 0 ? result : this.kernel.readUser(out, size);
  }
}

function fail(name: string): never {
  throw new Error(`no field ${name} (commands: ${COMMANDS.length})`);
}

export function u32(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setUint32(i * 4, value, true);
  return bytes;
}

/** Instructions as bytes: `[code, dst | src << 4, off, imm]` each. */
export function instructions(...list: readonly (readonly [code: number, registers: number, off: number, imm: number])[]): Uint8Array {
  const bytes = new Uint8Array(list.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, [code, registers, off, imm]] of list.entries()) {
    view.setUint8(i * 8, code);
    view.setUint8(i * 8 + 1, registers);
    view.setInt16(i * 8 + 2, off, true);
    view.setInt32(i * 8 + 4, imm, true);
  }
  return bytes;
}

/** A NUL-terminated string. */
export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
