/**
 * @module src/node/chart-library
 * The text of chart.js as one script, for reports that carry it with them.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Reads the UMD build of the installed chart.js, licence line included. */
export function readChartLibrary(): string {
  // The package's exports do not name the UMD build, which lies beside the file that they do name.
  const entry = createRequire(import.meta.url).resolve('chart.js');
  return readFileSync(join(dirname(entry), 'chart.umd.min.js'), 'utf8');
}
