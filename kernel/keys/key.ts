/**
 * @module kernel/keys/key
 * One key or keyring: its facts, permission bits, validity and descriptions (`security/keys/key.c`, `permission.c`, `proc.c`,
 * `include/linux/key.h`). Does not own: how keys are found and linked (`keyrings.ts`, `search.ts`).
 */
import { EACCES, EKEYEXPIRED, EKEYREVOKED, ENOKEY } from '../../isa/errno.ts';
import { toHex } from '../../crypto/bytes.ts';
import { trustedKey, type TrustedKey } from '../../crypto/verify.ts';
import type { Certificate } from '../../crypto/x509.ts';

/** Key types of this kernel. */
export type KeyType = 'keyring' | 'user' | 'logon' | 'asymmetric' | 'blacklist';

/** Permission bits: one byte each for possessor, user, group and others, high to low. */
export const PERMISSION = {
  view: 0x01, read: 0x02, write: 0x04, search: 0x08, link: 0x10, setattr: 0x20, all: 0x3f,
} as const;

/** A right that an operation needs. */
export type Right = Exclude<keyof typeof PERMISSION, 'all'>;

/** Permission word from the possessor's and the owner's rights. */
export function permissions(possessor: number, user: number): number {
  return ((possessor << 24) | (user << 16)) >>> 0;
}

/** Why a keyring refuses a link: 0 to permit, else a negative error number. */
export type LinkCheck = (candidate: LinkCandidate) => number;

/** What a link restriction looks at. */
export interface LinkCandidate {
  readonly type: KeyType;
  readonly certificate: Certificate | undefined;
  /** The key itself where it exists already. */
  readonly key: Key | undefined;
}

/** A link restriction of a keyring, with the keyring whose keys vouch. */
export interface Restriction {
  readonly check: LinkCheck;
  readonly trusted: Key | undefined;
}

/** Facts that a key is made from. */
export interface KeyFacts {
  readonly serial: number;
  readonly type: KeyType;
  readonly description: string;
  readonly permissions: number;
  readonly uid: number;
  readonly gid: number;
  readonly inQuota: boolean;
}

/** Seconds after which a revoked or expired key is collected. */
export const COLLECTION_DELAY = 300;

/** A key. Fields that calls change are public and mutable; only `kernel/keys` touches them. */
export class Key {
  readonly serial: number;
  readonly type: KeyType;
  readonly description: string;
  readonly uid: number;
  readonly gid: number;
  readonly inQuota: boolean;
  permissions: number;
  /** Whole seconds; `Infinity` for never. */
  expiry: number = Infinity;
  revoked = false;
  /** Second of invalidation. */
  invalidatedAt: number | undefined;
  /** Part of the kernel's own keys. */
  builtin = false;
  /** A user's default keyring. */
  userKeyring = false;
  /** References from credentials. */
  holders = 0;
  /** Keyrings that link to it. */
  linkedFrom = 0;
  /** Second in which the last reference went; the key can be looked up until that second is over. */
  releasedAt: number | undefined;
  /** Content of a keyring, in the order of linking. */
  readonly links: Key[] = [];
  restriction: Restriction | undefined;
  /** Content of a user or logon key. */
  payload: Uint8Array = new Uint8Array(0);
  certificate: Certificate | undefined;
  private vouching: TrustedKey | undefined;

  constructor(facts: KeyFacts) {
    this.serial = facts.serial;
    this.type = facts.type;
    this.description = facts.description;
    this.permissions = facts.permissions;
    this.uid = facts.uid;
    this.gid = facts.gid;
    this.inQuota = facts.inQuota;
  }

  get invalidated(): boolean {
    return this.invalidatedAt !== undefined;
  }

  /** What this key can vouch for, if it is asymmetric. */
  get trusted(): TrustedKey | undefined {
    if (this.vouching === undefined && this.certificate !== undefined) this.vouching = trustedKey(this.certificate);
    return this.vouching;
  }
}

/** Whether a caller of user `uid` has a right; 0 or `-EACCES` (`key_task_permission`). */
export function checkPermission(key: Key, uid: number, possessed: boolean, right: Right): number {
  const own = key.uid === uid ? key.permissions >>> 16 : key.permissions;
  const granted = possessed ? own | (key.permissions >>> 24) : own;
  return (granted & PERMISSION[right]) === 0 ? -EACCES : 0;
}

/** 0, or why a key is no longer good (`key_validate`). */
export function validate(key: Key, now: number): number {
  if (key.invalidated) return -ENOKEY;
  if (key.revoked) return -EKEYREVOKED;
  return now >= key.expiry ? -EKEYEXPIRED : 0;
}

/** "type;uid;gid;perm;description" of KEYCTL_DESCRIBE. */
export function describe(key: Key): string {
  return `${key.type};${key.uid};${key.gid};${hex8(key.permissions)};${key.description}`;
}

function hex8(value: number): string {
  return value.toString(16).padStart(8, '0');
}

function remaining(key: Key, now: number): string {
  if (key.expiry === Infinity) return 'perm';
  if (now >= key.expiry) return 'expd';
  const left = key.expiry - now;
  for (const [limit, unit, letter] of [[60, 1, 's'], [3600, 60, 'm'], [86400, 3600, 'h'], [604800, 86400, 'd']] as const) {
    if (left < limit) return `${Math.floor(left / unit)}${letter}`;
  }
  return `${Math.floor(left / 604800)}w`;
}

function summary(key: Key): string {
  const { description, certificate } = key;
  if (key.type === 'keyring') return `${description}: ${key.links.length === 0 ? 'empty' : key.links.length}`;
  if (certificate !== undefined) {
    const id = certificate.subjectKeyID;
    return `${description}: X509.${certificate.key.algorithm}${id === undefined ? '' : ` ${toHex(id.subarray(Math.max(0, id.length - 4)))}`} []`;
  }
  return key.type === 'user' ? `${description}: ${key.payload.length}` : description;
}

/** One line of `/proc/keys`, without the newline. */
export function procLine(key: Key, now: number): string {
  const flag = (set: boolean, letter: string): string => set ? letter : '-';
  const flags = `I${flag(key.revoked, 'R')}-${flag(key.inQuota, 'Q')}--${flag(key.invalidated, 'i')}`;
  const owner = `${String(key.uid).padStart(5)} ${String(key.gid).padStart(5)}`;
  return `${hex8(key.serial)} ${flags} ${String(key.holders + key.linkedFrom).padStart(5)} ${remaining(key, now).padStart(4)} `
    + `${hex8(key.permissions)} ${owner} ${key.type.slice(0, 9).padEnd(9)} ${summary(key)}`;
}

/** A key as plain data. */
export interface KeySnapshot {
  readonly serial: number;
  readonly type: KeyType;
  readonly description: string;
  readonly permissions: number;
  readonly uid: number;
  readonly revoked: boolean;
  readonly invalidated: boolean;
  /** Whole seconds since 1970; `undefined` for never. */
  readonly expiry: number | undefined;
  /** Serial numbers of a keyring's keys. */
  readonly links: readonly number[] | undefined;
  readonly certificate: Certificate | undefined;
  readonly payload: Uint8Array | undefined;
}

/** The facts of a key. */
export function snapshot(key: Key): KeySnapshot {
  const { serial, type, description, uid, revoked, invalidated, certificate } = key;
  return {
    serial, type, description, permissions: key.permissions, uid, revoked, invalidated, expiry: key.expiry === Infinity ? undefined : key.expiry,
    links: type === 'keyring' ? key.links.map((linked) => linked.serial) : undefined, certificate,
    payload: type === 'user' ? key.payload.slice() : undefined,
  };
}
