/**
 * @module src/sign
 * `bpftwin sign` without the command line: what is signed of a file, the signature, and the report about it. The CMS message is
 * made in `crypto/sign.ts`; files and passphrases are the caller's business.
 */
import { toHex } from '../crypto/bytes.ts';
import { digest, sha256 } from '../crypto/digest.ts';
import { explainMessage, type SignerExplanation } from '../crypto/explain.ts';
import { parseSignedMessage } from '../crypto/pkcs7.ts';
import type { PrivateKey } from '../crypto/private-key.ts';
import type { HashName } from '../crypto/provider.ts';
import { isRefusal } from '../crypto/rejection.ts';
import { ALL_ALGORITHMS } from '../crypto/algorithms.ts';
import { signDetached } from '../crypto/sign.ts';
import type { Certificate } from '../crypto/x509.ts';
import { InternalError } from '../isa/errors.ts';
import { parseLightSkeleton } from '../loader/lskel.ts';

/** What a signature covers. */
export interface SignedRange {
  readonly what: 'instructions' | 'metadata' | 'file';
  readonly bytes: number;
  readonly sha256: string;
}

/** How to sign. */
export interface SignFileOptions {
  /** Whose contract: 7.3 signs instructions and metadata of a light skeleton, 6.18 the instructions alone. Default `"7.3"`. */
  readonly kernel?: '7.3' | '6.18';
  readonly hash?: HashName;
  /** Name the signer by issuer and serial number instead of its key identifier. */
  readonly bySerial?: boolean;
}

/** The JSON of `sign -j`. */
export interface SignReport {
  readonly file: string;
  readonly covers: readonly SignedRange[];
  readonly signature: { readonly bytes: number; readonly hex: string; readonly signer: SignerExplanation };
  /** Digest of the instructions, which the metadata map has to be exclusive to; `null` where the file is no light skeleton. */
  readonly exclusive_hash: string | null;
}

/** The byte strings that a signature of this file covers, in order. */
export function signedRanges(contents: Uint8Array, file: string, kernel: '7.3' | '6.18'): readonly { readonly what: SignedRange['what']; readonly bytes: Uint8Array }[] {
  if (!file.endsWith('.h')) return [{ what: 'file', bytes: contents }];
  const skeleton = parseLightSkeleton(contents, file), instructions = { what: 'instructions' as const, bytes: skeleton.instructions };
  return kernel === '6.18' ? [instructions] : [instructions, { what: 'metadata', bytes: skeleton.metadata }];
}

/**
 * Signs a file: a light skeleton (name ends in `.h`) as bpftool does, anything else byte for byte as it is.
 * @returns the DER of the signature, and the report
 * @throws InputError where the file is no skeleton, or certificate and key do not fit
 * @example const { signature } = signFile(bytes, 'a.lskel.h', key, certificate, {});
 */
export function signFile(
  contents: Uint8Array, file: string, key: PrivateKey, certificate: Certificate, options: SignFileOptions,
): { readonly signature: Uint8Array; readonly report: SignReport } {
  const ranges = signedRanges(contents, file, options.kernel ?? '7.3');
  const signature = signDetached(ranges.map(({ bytes }) => bytes), key, certificate.raw, {
    ...(options.hash === undefined ? {} : { hash: options.hash }), signerID: options.bySerial === true ? 'issuer and serial' : 'key identifier',
  });
  const message = parseSignedMessage(signature, { algorithms: ALL_ALGORITHMS }), signer = isRefusal(message) ? undefined : explainMessage(message).signers[0];
  if (signer === undefined) throw new InternalError('the signature that was made cannot be read');
  const instructions = ranges.find(({ what }) => what === 'instructions');
  return {
    signature,
    report: {
      file, covers: ranges.map(({ what, bytes }) => ({ what, bytes: bytes.length, sha256: toHex(sha256(bytes)) })),
      signature: { bytes: signature.length, hex: toHex(signature), signer },
      exclusive_hash: instructions === undefined ? null : toHex(digest('sha256', instructions.bytes)),
    },
  };
}
