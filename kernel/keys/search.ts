/**
 * @module kernel/keys/search
 * Searching trees of keyrings (`security/keys/keyring.c`): keys of a keyring first, then the keyrings in it, at most six deep;
 * revoked and expired keys that are met leave their error for the case that nothing is found.
 */
import { EACCES, EAGAIN, EINVAL, EKEYEXPIRED, EKEYREVOKED, ELOOP, ENOTDIR } from '../../isa/errno.ts';
import { toHex } from '../../crypto/bytes.ts';
import { sameID } from '../../crypto/signature.ts';
import { checkPermission, type Key, type KeyType } from './key.ts';

/** Keyrings inside keyrings that are searched. */
export const MAX_DEPTH = 6;

/** What to look for. */
export interface Query {
  readonly type: KeyType;
  /** Whether every key of the type is looked at, or only those that `matches` can name by description. */
  readonly iterate: boolean;
  matches(key: Key): boolean;
}

/** How to search. */
export interface SearchOptions {
  readonly uid: number;
  readonly now: number;
  /** The caller possesses the keyring at the root, and so everything below it. */
  readonly possessed: boolean;
  readonly recurse: boolean;
  /** Skip invalidated, revoked and expired keys. */
  readonly checkState: boolean;
  /** Expired keys leave no error behind. */
  readonly ignoreExpired?: boolean;
  /** Ignore permission bits and complain about trees that are too deep. */
  readonly internal?: boolean;
}

/** One search. */
class Search {
  private readonly query: Query;
  private readonly options: SearchOptions;
  error: number = -EAGAIN;

  constructor(query: Query, options: SearchOptions) {
    this.query = query;
    this.options = options;
  }

  /** The key, if this one is what is looked for. */
  private consider(key: Key): 'found' | 'skipped' | 'other' {
    const { query, options } = this;
    if (key.type !== query.type || (!query.iterate && !query.matches(key))) return 'other';
    if (options.checkState) {
      if (key.invalidated || key.revoked) return this.skip(-EKEYREVOKED);
      if (options.now >= key.expiry) return this.skip(options.ignoreExpired === true ? this.error : -EKEYEXPIRED);
    }
    if (query.iterate && !query.matches(key)) return 'other';
    return this.mayFind(key) ? 'found' : this.skip(-EACCES);
  }

  private skip(error: number): 'skipped' {
    this.error = error;
    return 'skipped';
  }

  private mayFind(key: Key): boolean {
    const { internal, uid, possessed } = this.options;
    return internal === true || checkPermission(key, uid, possessed, 'search') === 0;
  }

  root(keyring: Key): Key | undefined {
    const verdict = this.consider(keyring);
    if (verdict === 'found') return keyring;
    return verdict === 'skipped' ? undefined : this.tree(keyring, 0);
  }

  private tree(keyring: Key, depth: number): Key | undefined {
    if (keyring.revoked || keyring.invalidated) return undefined;
    for (const key of keyring.links) if (this.consider(key) === 'found') return key;
    if (!this.options.recurse) return undefined;
    for (const key of keyring.links) {
      if (key.type !== 'keyring') continue;
      if (depth >= MAX_DEPTH) {
        if (this.options.internal === true) this.error = -ELOOP;
        return undefined;
      }
      if (!this.mayFind(key)) continue;
      const found = this.tree(key, depth + 1);
      if (found !== undefined || this.error === -ELOOP) return found;
    }
    return undefined;
  }
}

/** Searches a tree; a negative error number where nothing is found: `-EAGAIN`, or what was met on the way. */
export function searchTree(keyring: Key, query: Query, options: SearchOptions): Key | number {
  if (keyring.type !== 'keyring') return -ENOTDIR;
  if (options.internal !== true) {
    const denied = checkPermission(keyring, options.uid, options.possessed, 'search');
    if (denied !== 0) return denied;
  }
  const search = new Search(query, options);
  return search.root(keyring) ?? search.error;
}

/** Asymmetric keys by one of their first two identifiers. */
export function queryByID(id: Uint8Array): Query {
  return { type: 'asymmetric', iterate: true, matches: ({ trusted }) => sameID(trusted?.ids[0], id) || sameID(trusted?.ids[1], id) };
}

const HEX = /^(?:[0-9a-fA-F]{2})+$/;

/**
 * What a description asks for: asymmetric keys can be named by part of an identifier (`id:`), a whole one (`ex:`) or the
 * subject (`dn:`), in hexadecimal; everything else is an exact description.
 */
export function queryFor(type: KeyType, description: string): Query | number {
  if (type !== 'asymmetric') return { type, iterate: false, matches: (key) => key.description === description };
  if (description === '') return -EINVAL;
  const form = description.slice(0, 3);
  if (form !== 'id:' && form !== 'ex:' && form !== 'dn:') return { type, iterate: false, matches: (key) => key.description === description };
  const wanted = description.slice(3).toLowerCase();
  if (!HEX.test(wanted)) return -EINVAL;
  const compare = form === 'id:' ? (id: string): boolean => id.endsWith(wanted) : (id: string): boolean => id === wanted;
  const which = form === 'dn:' ? [2] as const : [0, 1] as const;
  return {
    type, iterate: true,
    matches: (key) => {
      const ids = key.trusted?.ids;
      return which.some((i) => {
        const id = ids?.[i];
        return id !== undefined && compare(toHex(id));
      });
    },
  };
}
