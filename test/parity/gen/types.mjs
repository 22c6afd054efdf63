// BTF and the records that go with a program, for the generators of this folder. Types are numbered in the order of their calls.
import { u32 } from './build.mjs';

export class TypeBlob {
  #types = [];
  #strings = Buffer.from([0]);
  string(text) { if (text === '') return 0; const at = this.#strings.length; this.#strings = Buffer.concat([this.#strings, Buffer.from(`${text}\0`, 'latin1')]); return at; }
  /** One type: name, kind, entries, size or type, the words behind it. */
  add(name, kind, vlen, word, ...rest) { this.#types.push(u32(typeof name === 'string' ? this.string(name) : name, (kind << 24 | vlen & 0xffff | (vlen & 0x80000000)) >>> 0, word, ...rest)); return this.#types.length; }
  int(name, size, encoding = 1) { return this.add(name, 1, 0, size, (encoding << 24 | size * 8) >>> 0); }
  pointer(type) { return this.add(0, 2, 0, type); }
  array(type, index, count) { return this.add(0, 3, 0, 0, type, index, count); }
  struct(name, size, members, kind = 4) { return this.add(name, kind, members.length, size, ...members.flatMap(([member, type, offset]) => [this.string(member), type, offset])); }
  union(name, size, members) { return this.struct(name, size, members, 5); }
  forward(name) { return this.add(name, 7, 0, 0); }
  typedef(name, type) { return this.add(name, 8, 0, type); }
  constant(type) { return this.add(0, 10, 0, type); }
  volatile(type) { return this.add(0, 9, 0, type); }
  enumeration(name, values, size = 4) { return this.add(name, 6, values.length, size, ...values.flatMap(([label, value]) => [this.string(label), value])); }
  proto(returns, params) { return this.add(0, 13, params.length, returns, ...params.flatMap(([param, type]) => [this.string(param), type])); }
  func(name, proto, linkage = 0) { return this.add(name, 12, linkage, proto); }
  variable(name, type, linkage = 1) { return this.add(name, 14, 0, type, linkage); }
  section(name, size, entries) { return this.add(name, 15, entries.length, size, ...entries.flat()); }
  tag(name, type, component = -1) { return this.add(name, 17, 0, type, component); }
  typeTag(name, type) { return this.add(name, 18, 0, type); }
  bytes() { const types = Buffer.concat(this.#types); return Buffer.concat([Buffer.from('9feb010018000000', 'hex'), u32(0, types.length, types.length, this.#strings.length), types, this.#strings]); }
}
export const functionInfo = (...records) => Buffer.concat(records.map((record) => u32(...record)));
/** Records of instruction, file name, source line, line, column. */
export const lineInfo = (...records) => Buffer.concat(records.map(([at, file, text, line, column]) => u32(at, file, text, (line << 10 | column) >>> 0)));
