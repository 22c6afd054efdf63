/**
 * @module src/cli/start
 * The package's entry, which is built into one CommonJS file (`.ci/bundle.mjs`): that starts sooner than modules do. A plain
 * `gen skeleton -L` is run from one other file; every other command line is `main.ts`'s.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { readCode, writeCode } from './code-cache.ts';
import { descriptors } from './descriptors.ts';
import { lightCall, type LightCall } from './light-call.ts';
import type { runLight } from './light.ts';

/** The file with `light.ts` and all that it needs; its name changes with its contents. */
declare const LIGHT_BUNDLE: string;

/** What the file exports, once it has run. */
interface Light {
  runLight?: typeof runLight;
}

/** Bytes of an object from which on optimised code is worth its compilation; the kernel's own are smaller. */
const LARGE = 4 * 1024 * 1024;

type Wrapped = (exports: Light, require: NodeJS.Require) => void;

const call = lightCall(process.argv.slice(2));
if (call === undefined) void import('./main.ts').then(({ start }) => start());
else process.exit(run(call));

/** What V8 compiled is kept from one run to the next: compiling would be half of the work for a small object. */
function run(object: LightCall): number {
  const file = join(__dirname, LIGHT_BUNDLE);
  // Code depends on V8's flags.
  const name = isLarge(object.file) ? `${LIGHT_BUNDLE}-optimised` : LIGHT_BUNDLE;
  if (name === LIGHT_BUNDLE) compileSimply();
  const cachedData = readCode(name);
  const script = new Script(`(function (exports, require) { ${readFileSync(file, 'utf8')}\n})`, { filename: file, ...(cachedData === undefined ? {} : { cachedData }) });
  const exports: Light = {};
  (script.runInThisContext() as Wrapped)(exports, require);
  const status = exports.runLight?.(object, descriptors()) ?? 70;
  // By now the functions are compiled that a run needs.
  if (status === 0 && (cachedData === undefined || script.cachedDataRejected === true)) writeCode(name, script.createCachedData());
  return status;
}

function isLarge(file: string): boolean {
  try {
    return statSync(file).size > LARGE;
  } catch {
    // Who reads it says why it cannot be read.
    return false;
  }
}

/** The process ends before optimised code is worth what other threads spend on making it: a fifth of the processor's time. */
function compileSimply(): void {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  setFlagsFromString('--no-opt');
  setFlagsFromString('--no-maglev');
}
