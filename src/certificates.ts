/**
 * @module src/certificates
 * Certificates from files: PEM with any number of them, or one in DER. Owns the reading of the armour; what a certificate is
 * and whether a kernel takes it is `crypto/x509.ts`.
 */
import { ALL_ALGORITHMS } from '../crypto/algorithms.ts';
import { isRefusal } from '../crypto/rejection.ts';
import { parseCertificate, type Certificate } from '../crypto/x509.ts';
import { InputError } from '../isa/errors.ts';

const BEGIN = '-----BEGIN ';
const MAX_CERTIFICATES = 10_000;

/**
 * Reads every certificate of a file.
 *
 * @param bytes the file's contents, PEM or DER
 * @param file its name, for errors
 * @throws InputError naming file, place and reason where there is none or one that is malformed
 *
 * @example
 * readCertificates(readFileSync('signer.pem'), 'signer.pem').map((certificate) => certificate.subjectName);
 */
export function readCertificates(bytes: Uint8Array, file: string): Certificate[] {
  if (bytes.length === 0) throw new InputError(file, '', 'the file is empty');
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, 1 << 24));
  const blocks = text.includes(BEGIN) ? pemBlocks(text, file) : [{ der: bytes, place: '' }];
  return blocks.map(({ der, place }) => readOne(der, file, place));
}

function readOne(der: Uint8Array, file: string, place: string): Certificate {
  const certificate = parseCertificate(der, { algorithms: ALL_ALGORITHMS });
  if (!isRefusal(certificate)) return certificate;
  const at = certificate.offset === undefined ? '' : `byte ${certificate.offset}`;
  throw new InputError(file, [place, at].filter((part) => part !== '').join(', '), `not a certificate: ${certificate.reason}`);
}

function pemBlocks(text: string, file: string): { readonly der: Uint8Array; readonly place: string }[] {
  const blocks: { der: Uint8Array; place: string }[] = [];
  for (let at = text.indexOf(BEGIN); at >= 0; at = text.indexOf(BEGIN, at + 1)) {
    const labelEnd = text.indexOf('-----', at + BEGIN.length);
    const line = 1 + (text.slice(0, at).match(/\n/g)?.length ?? 0);
    const label = labelEnd < 0 ? '' : text.slice(at + BEGIN.length, labelEnd);
    // A bundle may hold the private key beside the certificate; it is not looked at.
    if (label !== 'CERTIFICATE' && label !== 'X509 CERTIFICATE' && label !== 'TRUSTED CERTIFICATE') continue;
    const end = text.indexOf(`-----END ${label}-----`, labelEnd);
    if (end < 0) throw new InputError(file, `line ${line}`, 'the file ends inside a certificate');
    if (blocks.length >= MAX_CERTIFICATES) throw new InputError(file, `line ${line}`, `more than ${MAX_CERTIFICATES} certificates`);
    blocks.push({ der: decodeBase64(text.slice(labelEnd + 5, end), file, line), place: `line ${line}` });
  }
  if (blocks.length === 0) throw new InputError(file, '', 'no certificate in it');
  return blocks;
}

function decodeBase64(text: string, file: string, line: number): Uint8Array {
  const bare = text.replace(/\s+/g, '');
  if (bare === '' || !/^[A-Za-z0-9+/]*={0,2}$/.test(bare) || bare.length % 4 !== 0) {
    throw new InputError(file, `line ${line}`, 'not a certificate: its base64 is malformed');
  }
  return Uint8Array.from(atob(bare), (char) => char.charCodeAt(0));
}
