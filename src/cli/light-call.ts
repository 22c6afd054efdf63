/**
 * @module src/cli/light-call
 * Tells whether a command line is a plain `gen skeleton -L`, which needs no more reading than this.
 */

/** The object, and the words after it. */
export interface LightCall {
  readonly file: string;
  readonly words: readonly string[];
}

/** `undefined` where there is any other option, too, or something is missing. */
export function lightCall([command, subcommand, ...rest]: readonly string[]): LightCall | undefined {
  if (command !== 'gen' || subcommand !== 'skeleton') return undefined;
  let isLight = false;
  const words: string[] = [];
  for (const argument of rest) {
    if (argument === '-L' || argument === '--use-loader') isLight = true;
    else if (argument.startsWith('-')) return undefined;
    else words.push(argument);
  }
  const [file, ...others] = words;
  return isLight && file !== undefined ? { file, words: others } : undefined;
}
