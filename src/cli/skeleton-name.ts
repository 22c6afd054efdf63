/**
 * @module src/cli/skeleton-name
 * The words after an object that name its skeleton.
 */
import { cutObjectName, defaultObjectName } from '../../loader/gen/skeleton-model.ts';
import { UsageError } from './failure.ts';

/**
 * The name from `name NAME`, or the object's where there are no words.
 * @throws UsageError for other words
 */
export function nameOfSkeleton(file: string, words: readonly string[]): string {
  const [keyword, name, ...rest] = words;
  if (keyword === undefined) return defaultObjectName(file);
  // bpftool takes any beginning of the word.
  if (!'name'.startsWith(keyword) || rest.length > 0) throw new UsageError(`unknown arg ${keyword === 'name' ? rest[0] ?? '' : keyword}`);
  if (name === undefined || name === '') throw new UsageError("'name' needs at least 1 argument, 0 found");
  return cutObjectName(name);
}
