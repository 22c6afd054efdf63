/**
 * @module src/fuzz/targets/signature
 * CMS messages and X.509 certificates, changed where their structure is. Promises held: readers answer with a result or a refusal that has
 * an error number; what is accepted holds by a second opinion (same signer, digest and payload); what the strict rules accept, the lax do.
 */
import { ALL_ALGORITHMS, DISTRIBUTION_ALGORITHMS } from '../../../crypto/algorithms.ts';
import { fromHex, toHex } from '../../../crypto/bytes.ts';
import { derElement, derExplicit, derImplicit, derOctetString, derOID, derSequence, derSetOf, derSmallInteger } from '../../../crypto/der.ts';
import { sha256 } from '../../../crypto/digest.ts';
import { signECDSA } from '../../../crypto/ecdsa.ts';
import { explainCertificate, explainMessage } from '../../../crypto/explain.ts';
import { OID } from '../../../crypto/oid.ts';
import { parseSignedMessage } from '../../../crypto/pkcs7.ts';
import { isRefusal } from '../../../crypto/rejection.ts';
import { checkStrictly } from '../../../crypto/strict.ts';
import { certificateKeyring, verifyDetached } from '../../../crypto/verify.ts';
import { parseCertificate, type Certificate } from '../../../crypto/x509.ts';
import { InputError } from '../../../isa/errors.ts';
import { errnoName } from '../../../isa/errno.ts';
import { parseLightSkeleton } from '../../../loader/lskel.ts';
import { readCertificates } from '../../certificates.ts';
import { combine, type Coverage } from '../coverage.ts';
import { signedLoadCalls, transcriptOf } from '../load-calls.ts';
import { mutateBER } from '../mutators/der.ts';
import { mutateBytes } from '../mutators/bytes.ts';
import { objection } from '../oracles/signature.ts';
import type { Random } from '../random.ts';
import { smallerBytes } from '../shrink.ts';
import type { Finding, Target, TargetEnvironment } from '../types.ts';
import { createSigner, type ECSigner } from './signer.ts';
import { textID } from './syscalls.ts';

/** A message, what it is said to sign, and the certificates of the keyring. */
export interface SignatureInput {
  readonly payload: Uint8Array;
  readonly message: Uint8Array;
  readonly certificates: readonly Uint8Array[];
}

const NOW = 1_780_000_000;
const MOST_BYTES = 8192;
const ascii = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** Structures that signers make, and some that nobody does. */
interface Shape {
  readonly attributes: boolean;
  readonly signingTime: boolean;
  readonly extraAttribute: boolean;
  readonly embedded: boolean;
  readonly strangerToo: boolean;
  readonly bySerial: boolean;
  readonly otherPayload: boolean;
}

const certificateParts = (signer: ECSigner): Certificate => {
  const certificate = parseCertificate(signer.certificate, { algorithms: ALL_ALGORITHMS });
  if (isRefusal(certificate)) throw new InputError('signer', '', certificate.reason);
  return certificate;
};

function signerInfo(signer: ECSigner, shape: Shape, payload: Uint8Array): Uint8Array {
  const { subjectKeyID, issuer, serial } = certificateParts(signer);
  const id = shape.bySerial || subjectKeyID === undefined
    ? derSequence(derElement(0x30, issuer), derElement(0x02, serial))
    : derImplicit(0, subjectKeyID);
  const attribute = (oid: string, ...values: readonly Uint8Array[]): Uint8Array => derSequence(derOID(oid), derSetOf(...values));
  const list = [
    attribute(OID.contentType, derOID(OID.data)), attribute(OID.messageDigest, derOctetString(sha256(payload))),
    ...(shape.signingTime ? [attribute(OID.signingTime, derElement(0x17, ascii('250601120000Z')))] : []),
    ...(shape.extraAttribute ? [attribute(OID.emailAddress, derElement(0x16, ascii('a@b')))] : []),
  ];
  const set = derSetOf(...list);
  const signed = shape.attributes ? set : payload;
  return derSequence(
    derSmallInteger(shape.bySerial ? 1 : 3), id, derSequence(derOID(OID.sha256)),
    ...(shape.attributes ? [set.with(0, 0xa0)] : []),
    derSequence(derOID(OID.ecdsaWithSHA256)), derOctetString(signECDSA('p256', signer.key.scalar, sha256(signed))),
  );
}

function messageOf(signers: readonly ECSigner[], shape: Shape, payload: Uint8Array): Uint8Array {
  return derSequence(derOID(OID.signedData), derExplicit(0, derSequence(
    derSmallInteger(shape.bySerial ? 1 : 3), derSetOf(derSequence(derOID(OID.sha256))), derSequence(derOID(OID.data)),
    ...(shape.embedded ? [derExplicit(0, ...signers.map(({ certificate }) => certificate))] : []),
    derSetOf(...signers.map((signer) => signerInfo(signer, shape, payload))),
  )));
}

class SignatureTarget implements Target<SignatureInput> {
  readonly name = 'signature';
  readonly #coverage: Coverage;
  readonly #signer: ECSigner = createSigner('fuzz');
  readonly #stranger: ECSigner = createSigner('stranger');
  readonly #example: SignatureInput;
  #known: { readonly bytes: Uint8Array; readonly certificate: Certificate }[] = [];

  constructor({ coverage, file }: TargetEnvironment) {
    this.#coverage = coverage;
    const { instructions, metadata, signature } = parseLightSkeleton(file('examples/flow-signed.lskel.h'), 'flow-signed.lskel.h');
    const payload = new Uint8Array(instructions.length + metadata.length);
    payload.set(instructions);
    payload.set(metadata, instructions.length);
    const certificates = readCertificates(file('examples/signer.crt'), 'signer.crt').map(({ raw }) => raw);
    this.#example = { payload, message: signature?.bytes ?? new Uint8Array(0), certificates };
  }

  seeds(): readonly SignatureInput[] {
    return [];
  }

  generate(random: Random): SignatureInput {
    if (random.oneIn(6)) return this.mutate(this.#example, random, undefined);
    const shape: Shape = {
      attributes: random.oneIn(2), signingTime: random.oneIn(3), extraAttribute: random.oneIn(4), embedded: random.oneIn(3), strangerToo: random.oneIn(5),
      bySerial: random.oneIn(3), otherPayload: random.oneIn(5),
    };
    const payload = random.bytes(8 * (1 + random.below(4)));
    const signers = shape.strangerToo ? (random.oneIn(2) ? [this.#stranger] : [this.#signer, this.#stranger]) : [this.#signer];
    const message = messageOf(signers, shape, shape.otherPayload ? random.bytes(8) : payload);
    return { payload, message, certificates: [this.#signer.certificate] };
  }

  mutate(input: SignatureInput, random: Random, other: SignatureInput | undefined): SignatureInput {
    let { payload, message, certificates } = input;
    for (let n = 1 + (random.oneIn(3) ? random.below(5) : 0); n > 0; n--) {
      const what = random.below(10);
      if (what === 0) payload = mutateBytes(payload, random, other?.payload, MOST_BYTES);
      else if (what < 3 && certificates.length > 0) {
        const at = random.below(certificates.length);
        certificates = certificates.with(at, mutateBER(certificates[at]!, random, other?.certificates[0]).slice(0, MOST_BYTES));
      } else message = mutateBER(message, random, other?.message).slice(0, MOST_BYTES);
    }
    return { payload, message, certificates };
  }

  /** Certificates that inputs share are read once. */
  #certificate(bytes: Uint8Array): Certificate | undefined {
    const known = this.#known.find((entry) => entry.bytes === bytes);
    if (known !== undefined) return known.certificate;
    const certificate = parseCertificate(bytes, { algorithms: DISTRIBUTION_ALGORITHMS });
    this.#saw(1, isRefusal(certificate) ? certificate.reason : 'read', isRefusal(certificate) ? certificate.errno : 0);
    if (isRefusal(certificate)) return undefined;
    explainCertificate(certificate);
    if (bytes === this.#signer.certificate) this.#known = [{ bytes, certificate }];
    return certificate;
  }

  #saw(what: number, reason: string, errno: number): void {
    this.#coverage.hit(combine(what, textID(reason), errno));
  }

  execute({ payload, message, certificates }: SignatureInput): Finding | undefined {
    const keyring = certificates.map((bytes) => this.#certificate(bytes)).filter((certificate) => certificate !== undefined);
    const parsed = parseSignedMessage(message, { algorithms: ALL_ALGORITHMS });
    if (!isRefusal(parsed)) explainMessage(parsed);
    const verification = verifyDetached(payload, message, { algorithms: DISTRIBUTION_ALGORITHMS, keyring: certificateKeyring(keyring) });
    this.#saw(2, `${verification.step} ${verification.reason}`, verification.errno);
    if (errnoName(verification.errno).startsWith('E?')) {
      return { oracle: 'errors', trace: 'verification errno', message: `refused with error number ${verification.errno}, which no kernel has` };
    }
    if (verification.errno !== 0) return undefined;
    if (verification.message === undefined) return { oracle: 'tamper', trace: 'no message', message: 'accepted without a message' };
    const why = objection(verification.message, payload, keyring);
    if (why !== undefined) return { oracle: 'tamper', trace: why, message: `a message was accepted although ${why}` };
    const violations = checkStrictly(message, verification, NOW);
    this.#saw(3, violations.map(({ rule }) => rule).join(), 0);
    return undefined;
  }

  serialise({ payload, message, certificates }: SignatureInput): Uint8Array {
    return new TextEncoder().encode(JSON.stringify({ payload: toHex(payload), message: toHex(message), certificates: certificates.map(toHex) }));
  }

  deserialise(bytes: Uint8Array): SignatureInput {
    const value = parseJSON(bytes) as Partial<Record<string, unknown>>;
    const { payload, message, certificates } = value;
    if (typeof payload !== 'string' || typeof message !== 'string' || !Array.isArray(certificates)) throw new InputError('input', '', 'payload, message and certificates expected');
    return { payload: fromHex(payload), message: fromHex(message), certificates: certificates.map((hex) => this.#shared(fromHex(String(hex)))) };
  }

  /** The signer's own certificate keeps its identity, by which it is known to be read already. */
  #shared(bytes: Uint8Array): Uint8Array {
    return toHex(bytes) === toHex(this.#signer.certificate) ? this.#signer.certificate : bytes;
  }

  *shrink(input: SignatureInput): Iterable<SignatureInput> {
    for (let i = 0; i < input.certificates.length; i++) yield { ...input, certificates: input.certificates.toSpliced(i, 1) };
    for (const payload of smallerBytes(input.payload)) yield { ...input, payload };
    for (const message of smallerBytes(input.message)) yield { ...input, message };
    for (const [i, certificate] of input.certificates.entries()) {
      for (const smaller of smallerBytes(certificate)) yield { ...input, certificates: input.certificates.with(i, smaller) };
    }
  }

  size({ payload, message, certificates }: SignatureInput): number {
    return [payload, message, ...certificates].reduce((sum, bytes) => sum + bytes.length + bytes.filter((byte) => byte !== 0).length, 0);
  }

  /** A program is what is signed: other payloads are none. */
  toTranscript({ payload, message, certificates }: SignatureInput): string | undefined {
    return payload.length === 0 || payload.length % 8 !== 0 ? undefined : transcriptOf(signedLoadCalls(payload, message, certificates));
  }

  toAssembly({ payload, message, certificates }: SignatureInput): string {
    return [`payload ${toHex(payload)}`, `message ${toHex(message)}`, ...certificates.map((bytes) => `certificate ${toHex(bytes)}`), ''].join('\n');
  }
}

/** @throws InputError where the bytes are no JSON object */
export function parseJSON(bytes: Uint8Array): object {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    value = undefined;
  }
  if (typeof value !== 'object' || value === null) throw new InputError('input', '', 'no JSON object');
  return value;
}

/** Makes the target `signature`. */
export function createTarget(environment: TargetEnvironment): Target<SignatureInput> {
  return new SignatureTarget(environment);
}
