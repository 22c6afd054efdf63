/**
 * @module src/cli/start
 * The package's entry, which is built into one CommonJS file (`build/bundle.mjs`): that starts sooner than modules do. A plain
 * `gen skeleton -L` is run from one other file; every other command line is `main.ts`'s.
 */
import { readFileSync } from 'node:fs';
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

type Wrapped = (exports: Light, require: NodeJS.Require) => void;

const call = lightCall(process.argv.slice(2));
if (call === undefined) void import('./main.ts').then(({ start }) => start());
else process.exit(run(call));

/** What V8 compiled is kept from one run to the next: compiling would be half of the work for a small object. */
function run(object: LightCall): number {
  const file = join(__dirname, LIGHT_BUNDLE);
  const cachedData = readCode(LIGHT_BUNDLE);
  const script = new Script(`(function (exports, require) { ${readFileSync(file, 'utf8')}\n})`, { filename: file, ...(cachedData === undefined ? {} : { cachedData }) });
  const exports: Light = {};
  (script.runInThisContext() as Wrapped)(exports, require);
  const status = exports.runLight?.(object, descriptors()) ?? 70;
  // By now the functions are compiled that a run needs.
  if (status === 0 && (cachedData === undefined || script.cachedDataRejected === true)) writeCode(LIGHT_BUNDLE, script.createCachedData());
  return status;
}
