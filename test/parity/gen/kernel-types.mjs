// The BTF of the kernel that the recordings come from (assets/vmlinux-7.3.4.btf.gz): ids by name, arguments and members.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const raw = gunzipSync(readFileSync(new URL('../../../assets/vmlinux-7.3.4.btf.gz', import.meta.url)));
const header = raw.readUInt32LE(4), strings = header + raw.readUInt32LE(16), end = header + raw.readUInt32LE(8) + raw.readUInt32LE(12);
const EXTRA = { 1: 4, 3: 12, 14: 4, 17: 4 }, EACH = { 4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12 };
const text = (at) => raw.toString('latin1', strings + at, raw.indexOf(0, strings + at));
const ids = new Map(), places = [0];
for (let at = header + raw.readUInt32LE(8), id = 1; at < end; id++) {
  const info = raw.readUInt32LE(at + 4), kind = info >>> 24 & 31;
  const key = `${kind} ${text(raw.readUInt32LE(at))}`;
  if (!ids.has(key)) ids.set(key, id);
  places.push(at);
  at += 12 + (EXTRA[kind] ?? 0) + (EACH[kind] ?? 0) * (info & 0xffff);
}
/** Id of a named type, a function unless `kind` says otherwise; 0 where the kernel has none. */
export const kernelTypeID = (name, kind = 12) => ids.get(`${kind} ${name}`) ?? 0;
const word = (id, at) => raw.readUInt32LE(places[id] + 4 * at);
export const kindOf = (id) => (id === 0 ? 0 : word(id, 1) >>> 24 & 31);
export const target = (id) => word(id, 2);
/** Behind typedefs, qualifiers and type tags. */
export function plain(id) { while ([8, 9, 10, 11, 18].includes(kindOf(id))) id = target(id); return id; }
/** Types of the parameters of a function or prototype. */
export function parameters(id) {
  const proto = kindOf(id) === 12 ? target(id) : id;
  return Array.from({ length: word(proto, 1) & 0xffff }, (_, i) => word(proto, 4 + 2 * i));
}
/** Members of a structure: type, byte offset. */
export function members(id) {
  const flag = word(id, 1) >>> 31;
  return Array.from({ length: word(id, 1) & 0xffff }, (_, i) => ({ type: word(id, 4 + 3 * i), offset: (flag ? word(id, 5 + 3 * i) & 0xffffff : word(id, 5 + 3 * i)) >>> 3 }));
}
