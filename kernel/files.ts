/**
 * @module kernel/files
 * The file descriptor table of the one simulated process: lowest free number first, `dup` shares the open file, the last
 * close releases it. Owns numbers and open files, not what they refer to. Reproduces `fs/file.c` (`alloc_fd`, `close_fd`).
 */
import { EBADF, EMFILE } from '../isa/errno.ts';

/** Access mode bits of an open file (`FMODE_CAN_READ`, `FMODE_CAN_WRITE`). */
export const FMODE_READ = 1;
export const FMODE_WRITE = 2;

/** An open file: what `struct file` is. `T` tells by its `kind` what it refers to. */
export interface OpenFile<T> {
  readonly target: T;
  readonly mode: number;
  references: number;
  /** Called once with the target, when the last descriptor and mapping is gone. */
  readonly release: (target: T) => void;
}

/** Descriptors 0 to 2 are the terminal of the process: open from the start, of no kind that BPF knows. */
const FIRST_FREE = 3;
/** `RLIMIT_NOFILE` of the instance. */
const DESCRIPTOR_LIMIT = 65536;

export class FileTable<T> {
  private readonly slots: (OpenFile<T> | undefined)[] = [];
  private lowestFree: number = FIRST_FREE;
  /** Asked before each allocation; true makes it fail. */
  private readonly failing: () => boolean;

  /** @param terminal what descriptors 0 to 2 refer to */
  constructor(failing: () => boolean, terminal: T) {
    this.failing = failing;
    const file: OpenFile<T> = { target: terminal, mode: FMODE_READ | FMODE_WRITE, references: FIRST_FREE, release: () => undefined };
    for (let fd = 0; fd < FIRST_FREE; fd++) this.slots.push(file);
  }

  /** Installs a new open file; its descriptor or `-EMFILE` (then `release` is not called). */
  install<O extends T>(target: O, mode: number, release: (target: O) => void): number {
    if (this.failing()) return -EMFILE;
    return this.place({ target, mode, references: 1, release: release as (target: T) => void });
  }

  get(fd: number): OpenFile<T> | undefined {
    return fd < 0 || fd >= this.slots.length ? undefined : this.slots[fd];
  }

  /** A second descriptor for the same open file, or `-EBADF`, `-EMFILE`. */
  dup(fd: number): number {
    const file = this.get(fd);
    if (file === undefined) return -EBADF;
    const copy = this.place(file);
    if (copy >= 0) file.references++;
    return copy;
  }

  /** 0 or `-EBADF`. */
  close(fd: number): number {
    const file = this.get(fd);
    if (file === undefined) return -EBADF;
    this.slots[fd] = undefined;
    if (fd < this.lowestFree) this.lowestFree = fd;
    this.put(file);
    return 0;
  }

  /** Drops one reference that a descriptor or a mapping held. */
  put(file: OpenFile<T>): void {
    if (--file.references === 0) file.release(file.target);
  }

  /** Open descriptors in ascending order, without the terminal's. */
  list(): { fd: number; file: OpenFile<T> }[] {
    const open: { fd: number; file: OpenFile<T> }[] = [];
    for (let fd = FIRST_FREE; fd < this.slots.length; fd++) {
      const file = this.slots[fd];
      if (file !== undefined) open.push({ fd, file });
    }
    return open;
  }

  private place(file: OpenFile<T>): number {
    let fd = this.lowestFree;
    while (fd < this.slots.length && this.slots[fd] !== undefined) fd++;
    if (fd >= DESCRIPTOR_LIMIT) return -EMFILE;
    while (this.slots.length <= fd) this.slots.push(undefined);
    this.slots[fd] = file;
    this.lowestFree = fd + 1;
    return fd;
  }
}
