/**
 * The first and only process of a machine booted by `run.mjs`: mounts what programs need to see, performs the scenario on the kernel under
 * it, attaches what only a real kernel can attach, writes the account to the second serial line and switches the machine off.
 */
import { closeSync, mkdirSync, openSync, readFileSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import { deflateSync } from 'node:zlib';
import type { Port } from '../../src/index.ts';
import { loadNativeCalls, SystemCallTarget } from '../../src/node/system-calls.ts';
import { LsmSkeleton } from '../fixtures/modules/lsm.ts';
import { TracingSkeleton } from '../fixtures/modules/tracing.ts';
import { CongestionSkeleton } from './congestion.ts';
import { ProbesSkeleton } from './probes.ts';
import { commonAccounts } from './scenario.ts';

const POWER_OFF = 0x4321fedc;
const ALGORITHMS = '/proc/sys/net/ipv4/tcp_available_congestion_control';

interface Library {
  func(prototype: string): (...args: readonly unknown[]) => number;
}

/** A package of the user's, without types here. */
const PACKAGE: string = 'koffi';

function prepare(libc: Library): void {
  const mount = libc.func('int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)');
  for (const [type, target] of [['proc', '/proc'], ['sysfs', '/sys'], ['devtmpfs', '/dev'], ['tracefs', '/sys/kernel/tracing']] as const) {
    mkdirSync(target, { recursive: true });
    mount(type, target, type, 0, null);
  }
  mkdirSync('/tmp', { recursive: true });
  process.env['PATH'] = '/bin';
}

/** Every kind of event once. */
function provoke(): void {
  writeFileSync('/tmp/file', 'x');
  unlinkSync('/tmp/file');
}

function probes(port: Port, kernelBTF: Uint8Array): object {
  const skeleton = ProbesSkeleton.open().load(port, { kernelBTF });
  const counters = (): Record<string, string> => Object.fromEntries(Object.entries({ ...skeleton.bss }).map(([name, value]) => [name, String(value)]));
  const { attached, skipped } = skeleton.attach();
  provoke();
  const during = counters();
  skeleton.detach();
  const detached = counters();
  provoke();
  const after = counters();
  skeleton.destroy();
  return { attached, skipped, counted: Object.entries(during).filter(([, value]) => value !== '0').map(([name]) => name), once: during['by_fentry'], isStill: JSON.stringify(detached) === JSON.stringify(after) };
}

function tracing(port: Port, kernelBTF: Uint8Array): object {
  const skeleton = TracingSkeleton.open().load(port, { kernelBTF });
  const report = skeleton.attach();
  provoke();
  const account = { ...report, opens: String(skeleton.bss.opens), failures: String(skeleton.bss.failures) };
  skeleton.destroy();
  return account;
}

function congestion(port: Port, kernelBTF: Uint8Array): object {
  const own = (): string[] => readFileSync(ALGORITHMS, 'latin1').trim().split(' ').filter((name) => name.startsWith('twin_')).toSorted();
  const skeleton = CongestionSkeleton.open().load(port, { kernelBTF });
  const before = own(), report = skeleton.attach(), during = own();
  skeleton.links.linked.detach();
  const withoutLink = own();
  skeleton.destroy();
  return { ...report, before, during, withoutLink, after: own() };
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, Math.min(4096, bytes.length - at));
}

async function main(): Promise<void> {
  const { default: koffi } = (await import(PACKAGE)) as { default: { load(path: null): Library } };
  const libc = koffi.load(null);
  prepare(libc);
  const line = openSync('/dev/ttyS1', 'w');
  const say = (key: string, value: unknown): void => writeAll(line, Buffer.from(`${JSON.stringify([key, value])}\n`));
  const attempt = (key: string, action: () => unknown): void => {
    try {
      say(key, action());
    } catch (error) {
      say(key, { threw: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
    }
  };
  const port = new SystemCallTarget(await loadNativeCalls(() => Promise.resolve(koffi)));
  const kernelBTF = new Uint8Array(readFileSync('/sys/kernel/btf/vmlinux'));
  say('kernel', readFileSync('/proc/sys/kernel/osrelease', 'latin1').trim());
  say('types', deflateSync(kernelBTF).toString('base64'));
  attempt('common', () => commonAccounts({ port, kernelBTF, addKey: (der) => port.addKey('test', der), certificate: new Uint8Array(readFileSync('/certificate.der')) }));
  attempt('probes', () => probes(port, kernelBTF));
  attempt('tracing', () => tracing(port, kernelBTF));
  attempt('congestion', () => congestion(port, kernelBTF));
  attempt('lsm', () => {
    const skeleton = LsmSkeleton.open().load(port, { kernelBTF });
    const report = skeleton.attach();
    skeleton.destroy();
    return report;
  });
  say('done', true);
  closeSync(line);
  libc.func('void sync()')();
  libc.func('int reboot(int command)')(POWER_OFF);
}

void main();
