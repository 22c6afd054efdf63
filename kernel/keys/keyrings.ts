/**
 * @module kernel/keys/keyrings
 * The keys and keyrings of one kernel and of the one process that uses it: `add_key`, `request_key`, the `keyctl` operations
 * that loaders and tests need, the system keyrings, and what `BPF_PROG_LOAD` asks of them (`security/keys/`,
 * `certs/system_keyring.c`, `kernel/bpf/helpers.c`). Calls return a result or a negative error number.
 *
 * Does not own: certificates and signatures (`crypto/`), who may load a program. The caller is one process of user 0; time and
 * serial numbers come from the kernel instance.
 */
import {
  EACCES, EAGAIN, EDEADLK, EEXIST, EINVAL, EKEYREJECTED, EKEYREVOKED, ENODEV, ENOENT, ENOKEY, ENOTDIR, EOPNOTSUPP, EPERM,
} from '../../isa/errno.ts';
import { InputError } from '../../isa/errors.ts';
import { DISTRIBUTION_ALGORITHMS, type KernelAlgorithms } from '../../crypto/algorithms.ts';
import { toHex } from '../../crypto/bytes.ts';
import { isRefusal } from '../../crypto/rejection.ts';
import { sameID } from '../../crypto/signature.ts';
import { checkStrictly } from '../../crypto/strict.ts';
import { verifyDetached, type TrustedKey, type TrustKeyring, type Verification } from '../../crypto/verify.ts';
import { recallCertificate, type Certificate } from '../../crypto/x509.ts';
import type { ResolvedKeyring } from '../../verifier/types.ts';
import {
  checkPermission, COLLECTION_DELAY, describe, Key, permissions, PERMISSION, procLine, snapshot, validate, type KeySnapshot, type KeyType, type LinkCandidate, type Right,
} from './key.ts';
import {
  KEY_SPEC_THREAD_KEYRING, KEY_SPEC_PROCESS_KEYRING, KEY_SPEC_SESSION_KEYRING, KEY_SPEC_USER_KEYRING,
  KEY_SPEC_USER_SESSION_KEYRING, KEY_SPEC_GROUP_KEYRING, KEY_SPEC_REQKEY_AUTH_KEY, KEY_SPEC_REQUESTOR_KEYRING, type KeyringsOptions,
} from './options.ts';
import { asymmetricRestriction, BLACKLISTED, rejectAll, signedBy, type RestrictionContext } from './restrict.ts';
import { queryByID, queryFor, searchTree, type Query, type SearchOptions } from './search.ts';

/** Group of keyrings that belong to no group. */
const NO_GROUP = 65534;
const MAX_PAYLOAD = 1024 * 1024 - 1;
const MAX_USER_PAYLOAD = 32767;
const MAX_UPDATE = 4096;
const MAX_TYPE = 31;
const MAX_DESCRIPTION = 4095;
const BUILTIN = 0, SECONDARY = 1, PLATFORM = 2;
const KEYCTL_MOVE_EXCL = 1;

interface Found {
  readonly key: Key;
  readonly possessed: boolean;
}

const isError = (answer: unknown): answer is number => typeof answer === 'number';

const POSSESSOR_ALL = PERMISSION.all, { view, read, write, search, link, setattr } = PERMISSION;
const SYSTEM_KEYRING = permissions(POSSESSOR_ALL & ~setattr, view | read | search);
const SYSTEM_KEY = permissions(POSSESSOR_ALL & ~setattr, view | read);

/** Permissions of a new key whose creator gave none. */
function defaultPermissions(type: KeyType): number {
  const readable = type === 'user' || type === 'keyring', writable = readable || type === 'logon';
  return permissions(view | search | link | setattr | (readable ? read : 0) | (writable ? write : 0), view);
}

function isKeyType(name: string): name is 'keyring' | 'user' | 'logon' | 'asymmetric' {
  return name === 'keyring' || name === 'user' || name === 'logon' || name === 'asymmetric';
}

/** What a keyring has in the place of a key: keyrings are indexed by type and description. */
function sameIndex(ring: Key, key: Key): Key | undefined {
  return ring.links.find((other) => other.type === key.type && other.description === key.description);
}

export * from './options.ts';

/** Keys and keyrings of one kernel. */
export class Keyrings {
  readonly algorithms: KernelAlgorithms;
  private readonly options: KeyringsOptions;
  private readonly uid: number;
  private readonly keys = new Map<number, Key>();
  private readonly builtin: Key;
  private readonly secondary: Key;
  private readonly platform: Key | undefined;
  private readonly blacklist: Key;
  private thread: Key | undefined;
  private process: Key | undefined;
  private session: Key | undefined;
  private user: Key | undefined;
  private userSession: Key | undefined;
  private lastVerification: Verification | undefined;
  private collectedAt: number | undefined;
  private readonly restrictions: RestrictionContext;

  constructor(options: KeyringsOptions) {
    this.options = options;
    this.uid = options.uid ?? 0;
    this.algorithms = options.algorithms ?? DISTRIBUTION_ALGORITHMS;
    this.restrictions = {
      algorithms: this.algorithms,
      trust: (keyring) => this.trust(keyring),
      findByName: (keyring, subject) => this.findAsymmetric(keyring, {
        type: 'asymmetric', iterate: true, matches: ({ trusted }) => sameID(trusted?.ids[2], subject),
      }),
      lookup: (serial) => this.lookup(serial),
      now: options.now,
    };
    this.blacklist = this.systemKeyring('.blacklist', permissions(search, view | read | search));
    for (const hash of options.blacklist ?? []) this.addBlacklistEntry(hash);
    this.builtin = this.systemKeyring('.builtin_trusted_keys', SYSTEM_KEYRING);
    this.secondary = this.systemKeyring('.secondary_trusted_keys', (SYSTEM_KEYRING | permissions(0, write)) >>> 0);
    this.secondary.restriction = { check: signedBy(this.restrictions, () => this.secondary), trusted: undefined };
    this.attach(this.secondary, this.builtin);
    this.platform = options.platform === undefined ? undefined : this.systemKeyring('.platform', SYSTEM_KEYRING);
    this.fill(this.builtin, options.builtin, 'builtin');
    this.fill(this.secondary, options.secondary, 'secondary');
    if (this.platform !== undefined) this.fill(this.platform, options.platform, 'platform');
    this.fill(this.blacklist, options.revoked, 'revoked');
    if (options.withoutSession !== true) this.joinSession(undefined);
  }

  // Calls of user space.

  /** `add_key(2)`: the serial number or a negative error number. */
  addKey(type: string, description: string | undefined, payload: Uint8Array, ringID: number): number {
    if (payload.length > MAX_PAYLOAD) return -EINVAL;
    const named = this.checkTypeName(type);
    if (named !== 0) return named;
    const wanted = description === '' ? undefined : description;
    if (wanted !== undefined && wanted.length > MAX_DESCRIPTION) return -EINVAL;
    if (wanted?.startsWith('.') === true && type.startsWith('keyring')) return -EPERM;
    const ring = this.find(ringID, { create: true, right: 'write' });
    return isError(ring) ? ring : this.createOrUpdate(ring, type, wanted, payload);
  }

  /** `request_key(2)` for keys that exist; nothing is ever constructed, so `-ENOKEY` otherwise. */
  requestKey(type: string, description: string, destination: number = 0): number {
    const named = this.checkTypeName(type);
    if (named !== 0) return named;
    const ring = destination === 0 ? undefined : this.find(destination, { create: true, right: 'write' });
    if (isError(ring)) return ring;
    if (!isKeyType(type)) return -ENOKEY;
    const query = queryFor(type, description);
    if (isError(query)) return query;
    const found = this.searchProcess((options) => ({ query, options: { ...options, checkState: true, ignoreExpired: true } }));
    if (isError(found)) return found === -EAGAIN ? -ENOKEY : found;
    if (ring !== undefined) {
      const linked = this.require({ key: found, possessed: true }, 'link') || this.linkKey(ring.key, found);
      if (linked !== 0) return linked;
    }
    return validate(found, this.now()) || found.serial;
  }

  /** KEYCTL_GET_KEYRING_ID. */
  getKeyringID(id: number, create: boolean): number {
    const found = this.find(id, { create, right: 'search' });
    return isError(found) ? found : found.key.serial;
  }

  /** KEYCTL_JOIN_SESSION_KEYRING: the serial number of the new session keyring. */
  joinSession(name: string | undefined): number {
    if (name === undefined) {
      this.session = this.hold(this.session, this.newKeyring('_ses', permissions(POSSESSOR_ALL, view | read), true));
      return this.session.serial;
    }
    if (name.startsWith('.')) return -EPERM;
    if (name === '') return -EINVAL;
    const existing = [...this.keys.values()].find((key) => (
      key.type === 'keyring' && key.description === name && !key.revoked && checkPermission(key, this.uid, false, 'search') === 0));
    if (existing !== undefined && existing === this.session) return 0;
    this.session = this.hold(this.session, existing ?? this.newKeyring(name, permissions(POSSESSOR_ALL, view | read | link), true));
    return this.session.serial;
  }

  /** KEYCTL_CLEAR. */
  clear(ringID: number): number {
    const found = this.find(ringID, { create: true, right: 'write' });
    if (isError(found)) return found;
    if (found.key.type !== 'keyring') return -ENOTDIR;
    this.detachAll(found.key);
    return 0;
  }

  /** KEYCTL_LINK. */
  link(id: number, ringID: number): number {
    const ring = this.find(ringID, { create: true, right: 'write' });
    if (isError(ring)) return ring;
    const found = this.find(id, { create: true, right: 'link' });
    return isError(found) ? found : this.linkKey(ring.key, found.key);
  }

  /** KEYCTL_UNLINK. */
  unlink(id: number, ringID: number): number {
    const ring = this.find(ringID, { right: 'write' });
    if (isError(ring)) return ring;
    const found = this.find(id, { partial: true });
    if (isError(found)) return found;
    if (ring.key.type !== 'keyring') return -ENOTDIR;
    return this.detach(ring.key, found.key) ? 0 : -ENOENT;
  }

  /** KEYCTL_MOVE; with KEYCTL_MOVE_EXCL in `flags` a key of the same type and description is not replaced (`-EEXIST`). */
  move(id: number, fromID: number, toID: number, flags: number = 0): number {
    if ((flags & ~KEYCTL_MOVE_EXCL) !== 0) return -EINVAL;
    const found = this.find(id, { create: true, right: 'link' });
    if (isError(found)) return found;
    const from = this.find(fromID, { right: 'write' });
    if (isError(from)) return from;
    const to = this.find(toID, { create: true, right: 'write' });
    if (isError(to)) return to;
    const { key } = found;
    if (from.key === to.key) return 0;
    if (from.key.type !== 'keyring' || to.key.type !== 'keyring') return -ENOTDIR;
    if (sameIndex(from.key, key) === undefined) return -ENOENT;
    if (to.key.revoked) return -EKEYREVOKED;
    if (flags !== 0 && sameIndex(to.key, key) !== undefined) return -EEXIST;
    const linked = this.linkKey(to.key, key);
    if (linked === 0) this.detach(from.key, key);
    return linked;
  }

  /** KEYCTL_SEARCH: the serial number of what was found, linked to `destination` unless that is 0. */
  search(ringID: number, type: string, description: string, destination: number = 0): number {
    const named = this.checkTypeName(type);
    if (named !== 0) return named;
    const ring = this.find(ringID, { right: 'search' });
    if (isError(ring)) return ring;
    const into = destination === 0 ? undefined : this.find(destination, { create: true, right: 'write' });
    if (isError(into)) return into;
    if (!isKeyType(type)) return -ENOKEY;
    const query = queryFor(type, description);
    if (isError(query)) return query;
    const found = searchTree(ring.key, query, { uid: this.uid, now: this.now(), possessed: ring.possessed, recurse: true, checkState: true });
    if (isError(found)) return found === -EAGAIN ? -ENOKEY : found;
    if (into !== undefined) {
      const linked = this.require({ key: found, possessed: ring.possessed }, 'link') || this.linkKey(into.key, found);
      if (linked !== 0) return linked;
    }
    return found.serial;
  }

  /** KEYCTL_UPDATE. */
  update(id: number, payload: Uint8Array): number {
    if (payload.length > MAX_UPDATE) return -EINVAL;
    const found = this.find(id, { right: 'write' });
    if (isError(found)) return found;
    if (found.key.type !== 'user' && found.key.type !== 'logon') return -EOPNOTSUPP;
    if (payload.length === 0 || payload.length > MAX_USER_PAYLOAD) return -EINVAL;
    found.key.payload = payload.slice();
    found.key.expiry = Infinity;
    return 0;
  }

  /** KEYCTL_REVOKE. */
  revoke(id: number): number {
    let found = this.find(id, { right: 'write' });
    if (found === -EACCES) found = this.find(id, { right: 'setattr' });
    if (isError(found)) return found;
    const { key } = found;
    if (key.revoked) return 0;
    key.revoked = true;
    key.expiry = Math.min(key.expiry, this.now());
    if (key.type === 'keyring') this.detachAll(key);
    key.payload = new Uint8Array(0);
    return 0;
  }

  /** KEYCTL_INVALIDATE. */
  invalidate(id: number): number {
    const found = this.find(id, { right: 'search' });
    if (isError(found)) return found;
    found.key.invalidatedAt ??= this.now();
    return 0;
  }

  /** KEYCTL_SET_TIMEOUT: seconds from now, 0 for never. */
  setTimeout(id: number, seconds: number): number {
    const found = this.find(id, { create: true, partial: true, right: 'setattr' });
    if (isError(found)) return found;
    found.key.expiry = seconds === 0 ? Infinity : this.now() + seconds;
    return 0;
  }

  /** KEYCTL_SETPERM. */
  setPermissions(id: number, mask: number): number {
    if ((mask & ~permissions(POSSESSOR_ALL, POSSESSOR_ALL) & ~0x3f3f) !== 0) return -EINVAL;
    const found = this.find(id, { create: true, partial: true, right: 'setattr' });
    if (isError(found)) return found;
    found.key.permissions = mask >>> 0;
    return 0;
  }

  /** KEYCTL_DESCRIBE. */
  describe(id: number): string | number {
    const found = this.find(id, { partial: true, right: 'view' });
    return isError(found) ? found : describe(found.key);
  }

  /** KEYCTL_READ: a user key's payload, a keyring's serial numbers (32 bits each, little-endian). */
  read(id: number): Uint8Array | number {
    const found = this.find(id, { deferred: true });
    if (isError(found)) return -ENOKEY;
    const { key, possessed } = found;
    if (this.require(found, 'read') !== 0 && !possessed) return -EACCES;
    const invalid = validate(key, this.now());
    if (invalid !== 0) return invalid;
    if (key.type === 'user') return key.payload.slice();
    if (key.type !== 'keyring') return -EOPNOTSUPP;
    return new Uint8Array(Int32Array.from(key.links, (linked) => linked.serial).buffer);
  }

  /** KEYCTL_RESTRICT_KEYRING; without a type nothing can be linked any more. */
  restrict(id: number, type?: string, restriction?: string): number {
    const found = this.find(id, { right: 'setattr' });
    if (isError(found)) return found;
    if ((type === undefined) !== (restriction === undefined)) return -EINVAL;
    if (type !== undefined && this.checkTypeName(type) !== 0) return this.checkTypeName(type);
    const { key } = found;
    if (key.type !== 'keyring') return -ENOTDIR;
    if (type !== undefined && !isKeyType(type)) return -ENOKEY;
    if (type !== undefined && type !== 'asymmetric') return -ENOENT;
    const made = restriction === undefined ? { check: rejectAll, trusted: undefined } : asymmetricRestriction(restriction, key, this.restrictions, {
      builtin: () => this.builtin, secondary: () => this.secondary,
    });
    if (isError(made)) return made;
    if (key.restriction !== undefined) return -EEXIST;
    for (let at = made.trusted; at?.type === 'keyring'; at = at.restriction?.trusted) if (at === key) return -EDEADLK;
    key.restriction = made;
    return 0;
  }

  /** The text of `/proc/keys`: keys that the caller may view, by serial number. */
  list(): string {
    this.collect();
    const now = this.now();
    return [...this.keys.values()].toSorted((a, b) => a.serial - b.serial)
      .filter((key) => checkPermission(key, this.uid, this.possesses(key), 'view') === 0)
      .map((key) => `${procLine(key, now)}\n`).join('');
  }

  /** Every key as plain data, by serial number. */
  snapshot(): KeySnapshot[] {
    this.collect();
    return [...this.keys.values()].toSorted((a, b) => a.serial - b.serial).map((key) => snapshot(key));
  }

  /** Links of all keyrings together, for audits. */
  get linkCount(): number {
    this.collect();
    let count = 0;
    for (const { links } of this.keys.values()) count += links.length;
    return count;
  }

  // Calls of BPF_PROG_LOAD.

  /** What `keyring_id` of a load names; `undefined` for nothing. Validity is judged when the signature is. */
  resolveKeyring(keyringID: number): ResolvedKeyring | undefined {
    if (keyringID >= BUILTIN && keyringID <= PLATFORM) return { type: keyringID + 1, serial: 0, handle: keyringID };
    const found = this.find(keyringID, { deferred: true });
    return isError(found) ? undefined : { type: 4, serial: found.key.serial, handle: found.key };
  }

  /**
   * Verifies a detached signature with the keys of a keyring: 0 or a negative error number. Details are in {@link verification}.
   */
  verifySignature(data: Uint8Array | readonly Uint8Array[], signature: Uint8Array, keyring: ResolvedKeyring): number {
    this.lastVerification = undefined;
    if (!this.algorithms.dataVerification) return -EOPNOTSUPP;
    const ring = keyring.handle instanceof Key ? keyring.handle : this.systemKeyringByID(Number(keyring.handle));
    if (keyring.handle instanceof Key) {
      const invalid = validate(keyring.handle, this.now());
      if (invalid !== 0) return invalid;
    }
    const verification = verifyDetached(data, signature, {
      algorithms: this.algorithms, isBlacklisted: (tbs) => this.isBlacklisted(tbs),
      keyring: ring === undefined ? undefined : this.trust(ring), phases: this.options.phases,
      // Where nothing was revoked nothing can be found: the search for it would be a third of the work beside the signature itself.
      ...(this.blacklist.links.some(({ type }) => type === 'asymmetric') ? { revocationList: this.trust(this.blacklist) } : {}),
    });
    this.lastVerification = this.options.strict === true ? this.strictly(signature, verification) : verification;
    return this.lastVerification.errno === 0 ? 0 : -this.lastVerification.errno;
  }

  /** What the last {@link verifySignature} found out, for reports; `undefined` where it did not come to reading the message. */
  get verification(): Verification | undefined {
    return this.lastVerification;
  }

  // Inside.

  private strictly(signature: Uint8Array, verification: Verification): Verification {
    const [broken] = verification.errno === 0 ? checkStrictly(signature, verification, this.now()) : [];
    if (broken === undefined) return verification;
    return { ...verification, errno: EKEYREJECTED, step: 'strict', reason: `strict mode, ${broken.rule}: ${broken.reason}`, offset: broken.offset };
  }

  private now(): number {
    return this.options.now();
  }

  private checkTypeName(type: string): number {
    if (type === '' || type.length > MAX_TYPE) return -EINVAL;
    return type.startsWith('.') ? -EPERM : 0;
  }

  private isBlacklisted(tbs: string): boolean {
    return this.blacklist.links.some((key) => key.type === 'blacklist' && key.description === `tbs:${tbs}`);
  }

  private systemKeyringByID(id: number): Key | undefined {
    if (id === SECONDARY) return this.secondary;
    return id === PLATFORM ? this.platform : this.builtin;
  }

  private findAsymmetric(keyring: Key, query: Query): TrustedKey | number {
    this.collect();
    const found = searchTree(keyring, query, { uid: this.uid, now: this.now(), possessed: true, recurse: true, checkState: true });
    if (isError(found)) return found === -EACCES || found === -ENOTDIR || found === -EAGAIN ? -ENOKEY : found;
    return found.trusted ?? -ENOKEY;
  }

  private trust(keyring: Key): TrustKeyring {
    return { find: (id) => this.findAsymmetric(keyring, queryByID(id)) };
  }

  private newSerial(): number {
    for (let serial = this.options.random() >>> 1; ; serial = serial === 0x7fffffff ? 3 : serial + 1) {
      if (serial >= 3 && !this.keys.has(serial)) return serial;
    }
  }

  private newKey(type: KeyType, description: string, permission: number, inQuota: boolean, gid: number = this.uid): Key {
    this.collect();
    const key = new Key({ serial: this.newSerial(), type, description, permissions: permission, uid: this.uid, gid, inQuota });
    this.keys.set(key.serial, key);
    return key;
  }

  private newKeyring(description: string, permission: number, inQuota: boolean, gid: number = this.uid): Key {
    return this.newKey('keyring', description, permission, inQuota, gid);
  }

  private systemKeyring(description: string, permission: number): Key {
    const keyring = this.newKeyring(description, permission, false);
    keyring.builtin = true;
    keyring.holders++;
    return keyring;
  }

  private addBlacklistEntry(hash: string): void {
    if (!/^(?:tbs|bin):(?:[0-9a-f]{2})+$/.test(hash)) throw new InputError('blacklist', '', `not a blacklist entry: ${hash.slice(0, 80)}`);
    const key = this.newKey('blacklist', hash, permissions(search, view | search), false);
    this.attach(this.blacklist, key);
  }

  private fill(keyring: Key, certificates: readonly Uint8Array[] | undefined, name: string): void {
    for (const [i, der] of (certificates ?? []).entries()) {
      const certificate = this.readCertificate(der);
      if (isError(certificate)) throw new InputError(`${name} certificate ${i + 1}`, '', 'the kernel does not accept this certificate');
      this.addCertificate(keyring, certificate, this.proposedDescription(certificate), SYSTEM_KEY, false).builtin = true;
    }
  }

  private readCertificate(der: Uint8Array): Certificate | number {
    const certificate = recallCertificate(der, this.algorithms);
    if (isRefusal(certificate)) return -certificate.errno;
    return this.isBlacklisted(toHex(certificate.tbsDigest)) ? BLACKLISTED : certificate;
  }

  private proposedDescription(certificate: Certificate): string {
    return `${certificate.subjectName}: ${toHex(certificate.subjectKeyID ?? certificate.serial)}`;
  }

  private addCertificate(keyring: Key, certificate: Certificate, description: string, permission: number, inQuota: boolean): Key {
    const key = this.newKey('asymmetric', description, permission, inQuota);
    key.certificate = certificate;
    this.attach(keyring, key);
    return key;
  }

  private createOrUpdate(ring: Found, type: string, description: string | undefined, payload: Uint8Array): number {
    if (!isKeyType(type)) return -ENODEV;
    if (ring.key.type !== 'keyring') return -ENOTDIR;
    const prepared = this.prepare(type, description, payload);
    if (isError(prepared)) return prepared;
    if (ring.key.revoked) return -EKEYREVOKED;
    const { certificate } = prepared, candidate: LinkCandidate = { type, certificate, key: undefined };
    const refused = ring.key.restriction?.check(candidate) ?? 0;
    if (refused !== 0) return refused;
    const denied = this.require(ring, 'write');
    if (denied !== 0) return denied;
    if (type === 'user' || type === 'logon') {
      const existing = ring.key.links.find((key) => (
        key.type === type && key.description === prepared.description && !key.revoked && !key.invalidated));
      if (existing !== undefined) {
        const mayWrite = this.require({ key: existing, possessed: ring.possessed }, 'write');
        if (mayWrite !== 0) return mayWrite;
        existing.payload = payload.slice();
        existing.expiry = Infinity;
        return existing.serial;
      }
    }
    const key = this.newKey(type, prepared.description, defaultPermissions(type), true);
    key.certificate = certificate;
    if (type === 'user' || type === 'logon') key.payload = payload.slice();
    this.attach(ring.key, key);
    return key.serial;
  }

  /** Reads the payload as the type does, and finds a description. */
  private prepare(
    type: 'keyring' | 'user' | 'logon' | 'asymmetric', description: string | undefined, payload: Uint8Array,
  ): { readonly description: string; readonly certificate: Certificate | undefined } | number {
    if (type === 'asymmetric') {
      if (payload.length === 0) return -EINVAL;
      const certificate = this.readCertificate(payload.slice());
      return isError(certificate) ? certificate : { description: description ?? this.proposedDescription(certificate), certificate };
    }
    if (type === 'keyring' ? payload.length !== 0 : payload.length === 0 || payload.length > MAX_USER_PAYLOAD) return -EINVAL;
    if (description === undefined || (type === 'logon' && description.indexOf(':') < 1)) return -EINVAL;
    return { description, certificate: undefined };
  }

  private require(found: Found, right: Right): number {
    return checkPermission(found.key, this.uid, found.possessed, right);
  }

  private hold(old: Key | undefined, now: Key): Key {
    now.holders++;
    if (old !== undefined) {
      old.holders--;
      this.release(old);
    }
    return now;
  }

  private attach(ring: Key, key: Key): void {
    const old = sameIndex(ring, key);
    key.linkedFrom++;
    if (old === undefined) {
      ring.links.push(key);
      return;
    }
    ring.links.splice(ring.links.indexOf(old), 1, key);
    this.drop(old);
  }

  /** Takes out what stands in the key's place: that key, or another of its type and description. */
  private detach(ring: Key, key: Key): boolean {
    const linked = sameIndex(ring, key);
    if (linked === undefined) return false;
    ring.links.splice(ring.links.indexOf(linked), 1);
    this.drop(linked);
    return true;
  }

  private detachAll(ring: Key): void {
    for (const key of ring.links.splice(0)) this.drop(key);
  }

  private drop(key: Key): void {
    key.linkedFrom--;
    this.release(key);
  }

  private release(key: Key): void {
    if (key.holders === 0 && key.linkedFrom === 0) key.releasedAt = this.now();
  }

  /** Forgets a key that nothing refers to any more. */
  private forget(key: Key): void {
    if (key.holders > 0 || key.linkedFrom > 0) {
      key.releasedAt = undefined;
      return;
    }
    this.keys.delete(key.serial);
    this.detachAll(key);
  }

  /**
   * Removes links to invalidated keys, and to revoked and expired ones once their time is over, and forgets keys without
   * references. The kernel does this in the background; here it happens when the next second begins.
   */
  private collect(): void {
    const now = this.now();
    if (now === this.collectedAt) return;
    this.collectedAt = now;
    const isDead = (key: Key): boolean => (key.invalidatedAt !== undefined && now > key.invalidatedAt) || now >= key.expiry + COLLECTION_DELAY;
    for (const ring of this.keys.values()) for (const key of ring.links.filter(isDead)) this.detach(ring, key);
    for (const key of this.keys.values()) if (key.releasedAt !== undefined && (key.releasedAt < now || isDead(key))) this.forget(key);
  }

  private linkKey(ring: Key, key: Key): number {
    if (ring.type !== 'keyring') return -ENOTDIR;
    if (ring.revoked) return -EKEYREVOKED;
    const refused = ring.restriction?.check({ type: key.type, certificate: key.certificate, key }) ?? 0;
    if (refused !== 0) return refused;
    if (key.type === 'keyring') {
      const inside = searchTree(key, { type: 'keyring', iterate: false, matches: (other) => other === ring }, {
        uid: this.uid, now: this.now(), possessed: true, recurse: true, checkState: false, internal: true,
      });
      if (!isError(inside)) return -EDEADLK;
      if (inside !== -EAGAIN) return inside;
    }
    if (!ring.links.includes(key)) this.attach(ring, key);
    return 0;
  }

  private lookup(serial: number): Key | number {
    return this.keys.get(serial) ?? -ENOKEY;
  }

  private userKeyrings(): readonly [user: Key, session: Key] {
    if (this.user === undefined || this.userSession === undefined) {
      const rights = permissions(POSSESSOR_ALL & ~setattr, PERMISSION.all);
      const register = this.newKeyring('.user_reg', permissions(write | search, view | read), true, NO_GROUP);
      register.holders++;
      this.user = this.newKeyring(`_uid.${this.uid}`, rights, true, NO_GROUP);
      this.userSession = this.newKeyring(`_uid_ses.${this.uid}`, rights, true, NO_GROUP);
      this.user.userKeyring = this.userSession.userKeyring = true;
      this.attach(register, this.user);
      this.attach(register, this.userSession);
      this.attach(this.userSession, this.user);
    }
    return [this.user, this.userSession];
  }

  /** The keyring of a special serial number, or the key of an ordinary one. */
  private special(id: number, create: boolean): Key | number | undefined {
    switch (id) {
      case KEY_SPEC_THREAD_KEYRING:
        if (this.thread === undefined && create) this.thread = this.hold(undefined, this.newKeyring('_tid', permissions(POSSESSOR_ALL, view), true));
        return this.thread ?? -ENOKEY;
      case KEY_SPEC_PROCESS_KEYRING:
        if (this.process === undefined && create) this.process = this.hold(undefined, this.newKeyring('_pid', permissions(POSSESSOR_ALL, view), true));
        return this.process ?? -ENOKEY;
      case KEY_SPEC_SESSION_KEYRING:
        if (this.session === undefined && !create) this.session = this.hold(undefined, this.userKeyrings()[1]);
        else if (this.session === undefined || (this.session.userKeyring && create)) this.joinSession(undefined);
        return this.session ?? -ENOKEY;
      case KEY_SPEC_USER_KEYRING:
        return this.userKeyrings()[0];
      case KEY_SPEC_USER_SESSION_KEYRING:
        return this.userKeyrings()[1];
      case KEY_SPEC_GROUP_KEYRING:
        return -EINVAL;
      case KEY_SPEC_REQKEY_AUTH_KEY:
      case KEY_SPEC_REQUESTOR_KEYRING:
        return -ENOKEY;
      default:
        return undefined;
    }
  }

  private searchProcess(make: (options: SearchOptions) => { query: Parameters<typeof searchTree>[1]; options: SearchOptions }): Key | number {
    const { query, options } = make({ uid: this.uid, now: this.now(), possessed: true, recurse: true, checkState: false });
    let missing: number | undefined, other: number = -EAGAIN;
    for (const keyring of [this.thread, this.process, this.session ?? this.userSession]) {
      if (keyring === undefined) continue;
      const found = searchTree(keyring, query, options);
      if (!isError(found)) return found;
      if (found === -EAGAIN) missing ??= found;
      else other = found;
    }
    return missing ?? other;
  }

  /** Whether the process can reach a key from its own keyrings. */
  private possesses(key: Key): boolean {
    const query = { type: key.type, iterate: false, matches: (other: Key): boolean => other === key };
    return !isError(this.searchProcess((options) => ({ query, options })));
  }

  /**
   * What a serial number names (`lookup_user_key`). `partial` only checks validity, `deferred` checks nothing; without a right
   * nothing is checked either (unlinking).
   */
  private find(id: number, how: { create?: boolean; partial?: boolean; deferred?: boolean; right?: Right }): Found | number {
    this.collect();
    const special = this.special(id, how.create ?? false);
    if (isError(special)) return special;
    if (special === undefined && id < 1) return -EINVAL;
    const key = special ?? this.lookup(id);
    if (isError(key)) return key;
    const found = { key, possessed: special !== undefined || this.possesses(key) };
    if (how.right === undefined) return found;
    const invalid = validate(key, this.now());
    if (invalid !== 0) return invalid;
    const denied = this.require(found, how.right);
    return denied === 0 ? found : denied;
  }
}

