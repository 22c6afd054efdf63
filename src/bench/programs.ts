/**
 * @module src/bench/programs
 * Programs of any size for measurements: straight code, loops, chains of branches. Instructions as bytes, the same every time.
 */
import { alu64, assemble, exit, jump, ldx, mov64, type Item } from '../../isa/encode.ts';

/** `count` instructions one after the other, at least 3. */
export function straightProgram(count: number): Uint8Array {
  const items: Item[] = [mov64('r0', 0)];
  while (items.length < count - 2) items.push(alu64('add', 'r0', 1));
  return assemble([...items, mov64('r0', 0), exit()]);
}

/** A loop whose every turn the verifier follows: about two processed instructions a turn. */
export function loopProgram(turns: number): Uint8Array {
  return assemble([mov64('r1', 0), alu64('add', 'r1', 1), jump('jlt', 'r1', turns, -2), mov64('r0', 0), exit()]);
}

/** `count` branches on one unknown word of the context, each of which makes another state: about 1.5 count² processed instructions. */
export function branchProgram(count: number): Uint8Array {
  const items: Item[] = [ldx('u32', 'r6', 'r1')];
  for (let i = 0; i < count; i++) items.push(jump('jeq', 'r6', i, 1), mov64('r0', 1), mov64('r0', 2));
  return assemble([...items, mov64('r0', 0), exit()]);
}
