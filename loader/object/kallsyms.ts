/**
 * @module loader/object/kallsyms
 * Kernel symbols without types that an object refers to, looked up in the text of `/proc/kallsyms`. A generated loader looks them up
 * again when it runs; libbpf nevertheless wants them on the machine that it generates on. Reproduces `kallsyms_cb` and the last part
 * of `bpf_object__resolve_externs` of `tools/lib/bpf/libbpf.c`.
 */
import { InputError } from '../../isa/errors.ts';
import { BTF_KIND_VAR } from '../../isa/uapi.ts';
import type { BPFObject } from './model.ts';

/**
 * Looks for the object's symbols without types.
 *
 * @param text lines of address, type and name, as the kernel prints them
 * @throws InputError with libbpf's reason where a strong one is missing, or one has two addresses
 */
export function resolveSymbols(object: BPFObject, text: string): void {
  const wanted = new Map(object.externs.filter(({ kind, typeID, btfID }) => kind === 'ksym' && typeID === 0 && object.btf?.kind(btfID) === BTF_KIND_VAR)
    .map((extern) => [extern.name, extern]));
  if (wanted.size === 0) return;
  const fail = (reason: string): never => {
    throw new InputError(object.file, 'section .ksyms', reason);
  };
  const addresses = new Map<string, string>();
  for (const [, address = '', type, symbol = ''] of text.matchAll(/^([0-9a-f]+) (\S) (\S+)/gim)) {
    const suffix = type === 'd' ? symbol.indexOf('.llvm.') : -1;
    const name = suffix < 0 ? symbol : symbol.slice(0, suffix);
    if (!wanted.has(name)) continue;
    const known = addresses.get(name);
    if (known !== undefined && known !== address) {
      fail(`extern (ksym) '${symbol}': resolution is ambiguous: 0x${BigInt(`0x${known}`).toString(16)} or 0x${BigInt(`0x${address}`).toString(16)}`);
    }
    addresses.set(name, address);
  }
  for (const { name, isWeak } of wanted.values()) if (!isWeak && !addresses.has(name)) fail(`extern '${name}' (strong): not resolved`);
}
