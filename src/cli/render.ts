/**
 * @module src/cli/render
 * Text for people: boxes and colours on a terminal, aligned columns elsewhere. The libraries for it are loaded only on a terminal,
 * where nobody notices the milliseconds.
 */
import type { Context } from './io.ts';

/** What a piece of text means; a terminal shows it in colour. */
export type Tone = 'plain' | 'good' | 'bad' | 'warning' | 'dim' | 'strong';

/** Text in tones. */
export interface Renderer {
  tone(tone: Tone, text: string): string;
  /** A table; every row has as many cells as `head`. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): string;
}

/** The renderer that suits the context. */
export async function createRenderer(context: Context): Promise<Renderer> {
  return context.colours ? createTerminalRenderer(context) : createPlainRenderer();
}

async function createTerminalRenderer(context: Context): Promise<Renderer> {
  const [{ Chalk }, { default: Table }] = await Promise.all([import('chalk'), import('cli-table3')]);
  const chalk = new Chalk({ level: context.env['COLORTERM'] === 'truecolor' ? 3 : 1 });
  const tones: Readonly<Record<Tone, (text: string) => string>> = {
    plain: (text) => text, good: chalk.green, bad: chalk.red, warning: chalk.yellow, dim: chalk.dim, strong: chalk.bold,
  };
  return {
    tone: (tone, text) => tones[tone](text),
    table: (head, rows) => {
      const table = new Table({ head: head.map((cell) => chalk.bold(cell)), style: { head: [], border: ['gray'] } });
      for (const row of rows) table.push([...row]);
      return `${table.toString()}\n`;
    },
  };
}

/** Columns separated by two blanks, numbers to the right. */
export function createPlainRenderer(): Renderer {
  return {
    tone: (_tone, text) => text,
    table: (head, rows) => {
      const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0)));
      const isNumber = head.map((_, i) => rows.length > 0 && rows.every((row) => /^(-?\d+|-|)$/.test(row[i] ?? '')));
      const line = (row: readonly string[]): string =>
        row.map((cell, i) => (isNumber[i] === true ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join('  ').trimEnd();
      return [head, ...rows].map((row) => `${line(row)}\n`).join('');
    },
  };
}
