/**
 * @module isa/errors
 * The two error classes of the project. A verdict is a value and a system call returns `-errno`; these are for what is
 * left: input that cannot be read, and a broken invariant of our own.
 */

/** The caller's fault: an input that cannot be used. Ends the command line with exit status 2. */
export class InputError extends Error {
  /** The file or stream, or `""` where there is none. */
  readonly file: string;
  /** Where in it: `"line 12"`, `"section .maps"`, `"byte 40"`; `""` where it concerns the whole. */
  readonly place: string;
  /** What is wrong, one line. */
  readonly reason: string;

  constructor(file: string, place: string, reason: string) {
    super([file, place, reason].filter((part) => part !== '').join(': '));
    this.name = 'InputError';
    this.file = file;
    this.place = place;
    this.reason = reason;
  }
}

/** A broken invariant of our own: "this is a bug". Ends the command line with exit status 70. */
export class InternalError extends Error {
  constructor(message: string) {
    super(`this is a bug: ${message}`);
    this.name = 'InternalError';
  }
}
