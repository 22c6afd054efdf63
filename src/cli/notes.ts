/**
 * @module src/cli/notes
 * What libbpf says although it succeeds: kept until it did, because a failure is one line.
 */
import { writeLatin1, type Surroundings } from './io.ts';

export class Notes {
  readonly #lines: string[] = [];
  readonly take = (line: string): void => {
    this.#lines.push(`libbpf: ${line}\n`);
  };

  write({ stderr }: Pick<Surroundings, 'stderr'>): void {
    if (this.#lines.length > 0) writeLatin1(stderr, this.#lines.join(''));
  }
}
