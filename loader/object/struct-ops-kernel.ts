/**
 * @module loader/object/struct-ops-kernel
 * Structures of callbacks against a kernel's types: which of its structures a map is, and which members its programs attach to.
 * Reproduces `find_struct_ops_kern_types` and `bpf_map__init_kern_struct_ops` of `tools/lib/bpf/libbpf.c`, with their messages.
 */
import type { BTF } from '../../btf/btf.ts';
import { essentialNameLength } from '../../btf/core.ts';
import { memberOf, resolveSize, typeSource } from '../../btf/type-source.ts';
import { InputError } from '../../isa/errors.ts';
import * as U from '../../isa/uapi.ts';
import type { BPFObject, ObjectMap } from './model.ts';

const VALUE_PREFIX = 'bpf_struct_ops_';
const POINTER_SIZE = 8;
/** Bytes of libbpf's buffer for a structure's name, without the NUL. */
const MAX_TYPE_NAME = 191;
/** Kernels have no structure of callbacks near this size. */
const MAX_VALUE = 1 << 20;

/** What a map is in a kernel. */
export interface KernelStructOps {
  /** Type of the map's value among the kernel's, and its bytes. */
  readonly valueTypeID: number;
  readonly valueSize: number;
  /** Type of the structure, to which its programs attach. */
  readonly typeID: number;
  /** Index of each callback's member in the kernel's structure. */
  readonly memberIndexes: ReadonlyMap<number, number>;
  /** The map's value as the kernel lays it out, callbacks zero; and where in it the descriptor of each callback goes. */
  readonly value: Uint8Array;
  readonly callbackOffsets: ReadonlyMap<number, number>;
}

/**
 * Finds a map's structure in a kernel's types and compares the members.
 * @param isSet whether a callback is to be installed
 * @throws InputError with libbpf's reason
 */
export function resolveStructOps(object: BPFObject, map: ObjectMap, kernel: BTF | undefined, isSet: (programIndex: number) => boolean): KernelStructOps {
  const { btf, file } = object;
  const fail = (reason: string): never => {
    throw new InputError(file, `map ${map.name}`, `struct_ops init_kern${reason}`);
  };
  const structID = map.definition.valueTypeID;
  if (btf === undefined) return fail(': no types');
  const full = btf.name(structID);
  const name = full.slice(0, Math.min(essentialNameLength(full), MAX_TYPE_NAME));
  const valueTypeID = kernel?.findByNameKind(VALUE_PREFIX + name, U.BTF_KIND_STRUCT) ?? 0;
  if (kernel === undefined || valueTypeID <= 0) return fail(`: struct ${VALUE_PREFIX}${name} is not found in kernel BTF`);
  const typeID = kernel.findByNameKind(name, U.BTF_KIND_STRUCT);
  if (typeID <= 0) fail(`: struct ${name} is not found in kernel BTF`);
  const dataMember = kernel.members(valueTypeID).find(({ type }) => type === typeID);
  if (dataMember === undefined) return fail(`: struct ${name} data is not found in struct ${VALUE_PREFIX}${name}`);
  const dataOffset = dataMember.bitOffset / 8;
  const valueSize = kernel.size(valueTypeID);
  const value = new Uint8Array(Math.min(valueSize, MAX_VALUE));
  const callbackOffsets = new Map<number, number>();
  const kernelTypes = typeSource(kernel, (place, reason) => fail(`: ${place}: ${reason}`), POINTER_SIZE);
  const kernelMembers = kernel.members(typeID);
  const memberIndexes = new Map<number, number>();
  for (let i = 0; i < btf.vlen(structID); i++) {
    const member = memberOf(btf, structID, i);
    const memberName = btf.memberName(structID, i);
    const size = btf.resolveSize(member.type);
    if (size < 0) fail(` ${map.name}: failed to resolve the size of member ${memberName}`);
    const callback = map.callbacks.get(i);
    const hasProgram = callback !== undefined && isSet(callback);
    const index = kernelMembers.findIndex((candidate) => candidate.name === memberName);
    const kernelMember = kernelMembers[index];
    if (kernelMember === undefined) {
      const isZero = !hasProgram && (map.data?.subarray(member.offset / 8, member.offset / 8 + size).every((byte) => byte === 0) ?? true);
      if (!isZero) fail(` ${map.name}: Cannot find member ${memberName} in kernel BTF`);
      continue;
    }
    if (member.bits !== 0 || kernelMember.bitfieldSize !== 0) fail(` ${map.name}: bitfield ${memberName} is not supported`);
    const type = btf.skipModifiers(member.type);
    const kernelType = kernel.skipModifiers(kernelMember.type);
    const [kind, kernelKind] = [btf.kind(type), kernel.kind(kernelType)];
    if (kind !== kernelKind) fail(` ${map.name}: Unmatched member type ${memberName} ${kind} != ${kernelKind}(kernel)`);
    if (kind === U.BTF_KIND_PTR) {
      if (!hasProgram) continue;
      if (kernel.kind(kernel.skipModifiers(kernel.type(kernelType))) !== U.BTF_KIND_FUNC_PROTO) fail(` ${map.name}: kernel member ${memberName} is not a func ptr`);
      memberIndexes.set(i, index);
      callbackOffsets.set(i, dataOffset + kernelMember.bitOffset / 8);
      continue;
    }
    const kernelSize = resolveSize(kernelTypes, kernelType);
    if (size !== kernelSize) fail(` ${map.name}: Error in size of member ${memberName}: ${size} != ${kernelSize}(kernel)`);
    const at = dataOffset + kernelMember.bitOffset / 8;
    if (map.data !== undefined && at + size <= value.length) value.set(map.data.subarray(member.offset / 8, member.offset / 8 + size), at);
  }
  return { valueTypeID, valueSize, typeID, memberIndexes, value, callbackOffsets };
}
