/**
 * @module src/node/fuzz-instrument
 * Branch counters for the rooms that read hostile input: while a fuzzing worker loads their modules, a call that counts is put into every branch.
 * The modules on disk stay as they are. Owns what a branch is; the counters are `src/fuzz/coverage.ts`'s. A branch's id comes from the
 * module's path in the package and its number there, so it is the same on every machine.
 *
 * Node has two ways to hook into loading: `registerHooks` (in the thread itself) and, before it, `register` (in a thread of its own, where this
 * module is loaded again for its {@link load}).
 */
import * as nodeModule from 'node:module';
import { parse } from 'acorn';
import MagicString from 'magic-string';

/** Rooms whose modules get counters: those that read bytes from outside. The verifier and the machine have their own. */
const ROOMS = /^((?:btf|crypto|loader|kernel)\/[\w./-]+)\.js$/;
/** Where the rooms lie: this build's folder, wherever that is (an installed package's is inside `node_modules`). */
const ROOT = new URL('../../', import.meta.url).href;
/** Where the counting function is found. */
export const COUNTER_KEY = 'bpftwin.coverage';
const COUNTER = '__bpftwin_branch';

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';
}

/** Path of a module inside the package, whose build lies in `root`, where it is one of the rooms'. */
export function roomPath(url: string, root: string = ROOT): string | undefined {
  return url.startsWith(root) ? ROOMS.exec(url.slice(root.length))?.[1] : undefined;
}

function firstID(path: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < path.length; i++) h = Math.imul(h ^ path.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/**
 * The text of a module with a counter in every branch: bodies of functions, loops, conditions and cases, arms of `?:`, right sides of `&&`, `||`
 * and `??`.
 *
 * @example instrument('export const f = (a) => a || 1;', 'btf/x')
 */
export function instrument(source: string, path: string): string {
  const text = new MagicString(source);
  let id = firstID(path);
  const count = (): string => `${COUNTER}(${(id++ & 0x7fffffff) >>> 0})`;
  const statement = (node: Node): void => {
    if (node.type === 'BlockStatement') text.appendRight(node.start + 1, `${count()};`);
    else text.appendRight(node.start, `{${count()};`).appendLeft(node.end, '}');
  };
  const expression = (node: Node): void => void text.appendRight(node.start, `(${count()},`).appendLeft(node.end, ')');
  const visit = (node: Node): void => {
    switch (node.type) {
      case 'IfStatement':
        statement(node['consequent'] as Node);
        if (isNode(node['alternate']) && node['alternate'].type !== 'IfStatement') statement(node['alternate']);
        break;
      case 'ForStatement': case 'ForOfStatement': case 'ForInStatement': case 'WhileStatement': case 'DoWhileStatement':
        statement(node['body'] as Node);
        break;
      case 'SwitchCase': {
        const first = (node['consequent'] as readonly Node[])[0];
        if (first !== undefined) text.appendRight(first.start, `${count()};`);
        break;
      }
      case 'CatchClause': statement(node['body'] as Node); break;
      case 'ConditionalExpression':
        expression(node['consequent'] as Node);
        expression(node['alternate'] as Node);
        break;
      case 'LogicalExpression': expression(node['right'] as Node); break;
      case 'FunctionDeclaration': case 'FunctionExpression': statement(node['body'] as Node); break;
      case 'ArrowFunctionExpression': {
        const body = node['body'] as Node;
        if (body.type === 'BlockStatement') statement(body);
        break;
      }
      default:
    }
    for (const value of Object.values(node)) {
      if (isNode(value)) visit(value);
      else if (Array.isArray(value)) for (const item of value) if (isNode(item)) visit(item);
    }
  };
  visit(parse(source, { ecmaVersion: 'latest', sourceType: 'module' }) as unknown as Node);
  text.prepend(`const ${COUNTER} = globalThis[Symbol.for('${COUNTER_KEY}')];`);
  return text.toString();
}

interface Loaded {
  readonly format: string;
  readonly source?: unknown;
  readonly shortCircuit?: boolean;
}

function withCounters(url: string, loaded: Loaded): Loaded {
  const path = roomPath(url);
  if (path === undefined || loaded.source === undefined || loaded.source === null) return loaded;
  const source = typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source as Uint8Array);
  return { ...loaded, source: instrument(source, path) };
}

/** The hook of the thread that `register` makes. */
export async function load(url: string, context: unknown, nextLoad: (url: string, context: unknown) => Promise<Loaded>): Promise<Loaded> {
  return withCounters(url, await nextLoad(url, context));
}

/** Of `node:module`, what hooks into loading. */
export interface ModuleLoader {
  readonly registerHooks?: (hooks: Hooks) => unknown;
  readonly register: (specifier: string) => unknown;
}

type Hooks = { readonly load: (url: string, context: unknown, nextLoad: (url: string, context: unknown) => Loaded) => Loaded };

/** From here on modules of the rooms that this thread loads get counters, which call `hit`. */
export function installCounters(hit: (id: number) => void, loader: ModuleLoader = nodeModule as unknown as ModuleLoader): void {
  (globalThis as unknown as Record<symbol, unknown>)[Symbol.for(COUNTER_KEY)] = hit;
  const { registerHooks } = loader;
  if (registerHooks === undefined) loader.register(import.meta.url);
  else registerHooks({ load: (url, context, nextLoad) => withCounters(url, nextLoad(url, context)) });
}
