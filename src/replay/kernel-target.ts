/**
 * @module src/replay/kernel-target
 * A transcript's process on our kernel. Owns nothing but the translation; the kernel is `kernel/`.
 */
import type { KernelOptions } from '../../kernel/api.ts';
import { CAP_FULL_SET } from '../../kernel/api.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { KEY_SPEC_SESSION_KEYRING } from '../../kernel/keys/keyrings.ts';
import type { ReplayTarget } from './target.ts';
import type { Admissions } from './transcript.ts';

const FILES_OF_RECORDER = 2;

/** Our kernel, as a transcript sees it. */
export class KernelTarget implements ReplayTarget {
  readonly kernel: Kernel;
  readonly #ownFDs = new Set<number>();
  #unhook: (() => void) | undefined;
  #count = 0;
  #last = { verdict: -1, keyringType: -1, serial: 0 };

  constructor(options: KernelOptions) {
    this.kernel = new Kernel(options);
    // the recorder reads its requests from one file and writes results to another: the first descriptor of a case is 5, and logs show it
    for (let i = 0; i < FILES_OF_RECORDER; i++) this.#ownFDs.add(this.kernel.dup(0));
  }

  bpf(cmd: number, attrAddress: number, size: number): number {
    return this.kernel.bpf(cmd, attrAddress, size);
  }
  allocUser(size: number): number {
    return this.kernel.allocUser(size);
  }
  freeUser(address: number): void {
    this.kernel.freeUser(address);
  }
  readUser(address: number, length: number): Uint8Array {
    return this.kernel.readUser(address, length);
  }
  writeUser(address: number, bytes: Uint8Array): void {
    this.kernel.writeUser(address, bytes);
  }
  close(fd: number): number {
    return this.kernel.close(fd);
  }
  dup(fd: number): number {
    return this.kernel.dup(fd);
  }
  mmap(address: number, length: number, prot: number, flags: number, fd: number, offset: number): number {
    return this.kernel.mmap(address, length, prot, flags, fd, offset);
  }
  munmap(address: number, length: number): number {
    return this.kernel.munmap(address, length);
  }
  addKey(name: string, der: Uint8Array): number {
    return this.kernel.keyrings.addKey('asymmetric', name, der, KEY_SPEC_SESSION_KEYRING);
  }
  keyringID(id: number): number {
    return this.kernel.keyrings.getKeyringID(id, false);
  }
  setCapabilities(effective: bigint): void {
    this.kernel.setCapabilities(effective);
  }

  resetProcess(): void {
    this.kernel.setCapabilities(CAP_FULL_SET);
    this.kernel.keyrings.clear(KEY_SPEC_SESSION_KEYRING);
    this.#unhook?.();
    this.#unhook = undefined;
    this.#count = 0;
    this.#last = { verdict: -1, keyringType: -1, serial: 0 };
  }

  watchAdmissions(): void {
    this.#unhook ??= this.kernel.hooks.attach('bpf_prog_load', (program) => {
      this.#count++;
      const { verdict, keyringType, keyringSerial } = program.signature;
      this.#last = { verdict, keyringType, serial: keyringSerial };
      return 0;
    });
    this.#count = 0;
  }

  takeAdmissions(): Admissions {
    const { verdict, keyringType, serial } = this.#last;
    const count = this.#count;
    this.#count = 0;
    return { count, verdict, keyringType, serial: serial === 0 ? 'none' : serial === this.keyringID(KEY_SPEC_SESSION_KEYRING) ? 'session' : 'other' };
  }

  liveObjects(): readonly string[] {
    const { files, maps, programs, btfs, links } = this.kernel.objects();
    return [
      ...files.filter(({ fd }) => !this.#ownFDs.has(fd)).map(({ kind, fd }) => `fd ${fd} (${kind})`),
      ...maps.map(({ name, refcount }) => `map ${name} (${refcount} references)`),
      ...programs.map(({ name, refcount }) => `program ${name} (${refcount} references)`),
      ...btfs.map(({ id, refcount }) => `BTF ${id} (${refcount} references)`),
      ...links.map(({ id }) => `link ${id}`),
    ];
  }
}
