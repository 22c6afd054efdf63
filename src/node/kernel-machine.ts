/**
 * @module src/node/kernel-machine
 * A real kernel in a virtual machine: an image of the user's, booted in QEMU with a file system that holds nothing but the agent
 * (assets/kernel-agent.c, compiled on the spot) and the operations to perform. One boot answers a whole batch. Owns the machine and the archive
 * that it boots from; not what is asked.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InputError } from '../../isa/errors.ts';
import { agentLine, readAgentAnswer } from '../replay/agent-lines.ts';
import type { Got } from '../replay/perform.ts';
import type { Operation } from '../replay/transcript.ts';
import { packageFile } from './package-file.ts';

const QEMU = 'qemu-system-x86_64';
const AGENT_SOURCE = 'assets/kernel-agent.c';
/** Seconds without an answer after which the machine is given up: an emulated boot takes ten to sixty. */
const SILENT_SECONDS = 600;
const LOOK_SECONDS = 5;
const MEMORY_MB = 2048;
const CONSOLE_TAIL = 800;
const FILE = 0o100755, DEVICE = 0o020600, FOLDER = 0o040755;

/** One entry of a cpio archive ("newc"). */
interface Entry {
  readonly name: string;
  readonly mode: number;
  readonly bytes: Uint8Array;
  /** Major and minor number of a device. */
  readonly device?: readonly [major: number, minor: number];
}

/** A cpio archive that Linux unpacks as its first file system. */
export function cpioArchive(entries: readonly Entry[]): Uint8Array {
  const parts: Buffer[] = [];
  const pad = (length: number): Buffer => Buffer.alloc(-length & 3);
  for (const [i, { name, mode, bytes, device = [0, 0] }] of [...entries, { name: 'TRAILER!!!', mode: 0, bytes: new Uint8Array(0) } as Entry].entries()) {
    const fields = [i + 1, mode, 0, 0, 1, 0, bytes.length, 0, 0, device[0], device[1], name.length + 1, 0];
    const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`, 'latin1');
    parts.push(head, pad(head.length), Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), pad(bytes.length));
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** The agent's program, compiled once per version of its source. */
function buildAgent(): Uint8Array {
  const source = packageFile(AGENT_SOURCE);
  const version = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const folder = join(tmpdir(), `bpftwin-agent-${process.getuid?.() ?? 0}`), program = join(folder, version);
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const draft = `${program}.${process.pid}`;
    const { status, error, stderr } = spawnSync('cc', ['-O1', '-static', source, '-o', draft], { encoding: 'utf8' });
    if (error !== undefined) throw new InputError('cc', '', `a C compiler is needed to build the agent: ${error.message}`);
    if (status !== 0) throw new InputError('cc', '', `the agent cannot be built (a static C library is needed): ${stderr.slice(0, CONSOLE_TAIL)}`);
    renameSync(draft, program);
  }
  return new Uint8Array(readFileSync(program));
}

function readText(folder: string, name: string): string {
  const path = join(folder, name);
  return existsSync(path) ? readFileSync(path, 'latin1') : '';
}

function sizeOf(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}

/** Boots a kernel image for each batch of questions. */
export class KernelMachine {
  readonly #image: string;
  readonly #agent: Uint8Array;
  #isEmulated = false;
  /** What the kernel said when it died in the last batch; `undefined` where it lived. */
  lastWords: string | undefined;

  /** @throws InputError where the image, QEMU or a C compiler is missing */
  constructor(image: string) {
    if (!existsSync(image)) throw new InputError(image, '', 'no such kernel image');
    if (spawnSync(QEMU, ['--version']).error !== undefined) throw new InputError(QEMU, '', 'not installed: a kernel image needs it');
    this.#image = image;
    this.#agent = buildAgent();
  }

  /**
   * Performs cases, each from the start of a process; the answers of each operation. Where the kernel died, there are no more from there on.
   * @throws InputError where the machine does not come up
   */
  async perform(cases: readonly (readonly Operation[])[]): Promise<readonly (readonly Got[])[]> {
    const folder = mkdtempSync(join(tmpdir(), 'bpftwin-machine-'));
    try {
      const lines = cases.flatMap((operations) => ['case', ...operations.map(agentLine)]);
      const requests = new TextEncoder().encode(`${lines.join('\n')}\n`);
      writeFileSync(join(folder, 'initrd'), cpioArchive([
        { name: 'dev', mode: FOLDER, bytes: new Uint8Array(0) }, { name: 'dev/console', mode: DEVICE, bytes: new Uint8Array(0), device: [5, 1] },
        { name: 'requests', mode: FILE, bytes: requests }, { name: 'init', mode: FILE, bytes: this.#agent },
      ]));
      await this.#start(folder);
      return this.#read(folder, cases);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** With the processor's help where there is some; where that machine does not say a word, emulated. */
  async #start(folder: string): Promise<void> {
    if (existsSync('/dev/kvm') && !this.#isEmulated) await this.#boot(folder, ['-accel', 'kvm', '-cpu', 'host']);
    if (readText(folder, 'console') !== '' || readText(folder, 'answers') !== '') return;
    this.#isEmulated = true;
    await this.#boot(folder, ['-accel', 'tcg,thread=multi', '-cpu', 'max']);
  }

  async #boot(folder: string, accelerator: readonly string[]): Promise<void> {
    const args = [
      '-nodefaults', '-no-reboot', '-m', String(MEMORY_MB), '-smp', '2', ...accelerator, '-kernel', this.#image, '-initrd', join(folder, 'initrd'),
      '-display', 'none', '-serial', `file:${join(folder, 'console')}`, '-serial', `file:${join(folder, 'answers')}`,
      '-append', 'console=ttyS0 panic=-1 quiet oops=panic mitigations=auto nowatchdog rcupdate.rcu_cpu_stall_suppress=1 rdinit=/init',
    ];
    await new Promise<void>((resolve, reject) => {
      const child = spawn(QEMU, args, { stdio: 'ignore' });
      let length = -1, silent = 0;
      const timer = setInterval(() => {
        const now = sizeOf(join(folder, 'answers'));
        silent = now === length ? silent + LOOK_SECONDS : 0;
        length = now;
        if (silent >= SILENT_SECONDS) child.kill('SIGKILL');
      }, LOOK_SECONDS * 1000);
      child.once('error', (error) => {
        clearInterval(timer);
        reject(new InputError(QEMU, '', error.message));
      });
      child.once('exit', () => {
        clearInterval(timer);
        resolve();
      });
    });
  }

  #read(folder: string, cases: readonly (readonly Operation[])[]): readonly (readonly Got[])[] {
    const answers = readText(folder, 'answers').split('\n');
    const wanted = cases.reduce((sum, operations) => sum + operations.length, 0), isWhole = answers[wanted] === 'done';
    const console = readText(folder, 'console');
    // The last line may be half a line.
    const usable = isWhole ? wanted : answers.length - 1;
    if (usable === 0 && wanted > 0) throw new InputError(this.#image, '', `the machine gave no answer; its console ends: ${console.slice(-CONSOLE_TAIL)}`);
    this.lastWords = isWhole ? undefined : (/(?:BUG|Oops|Kernel panic|WARNING|watchdog|general protection)[^\n]*/.exec(console)?.[0] ?? console.slice(-CONSOLE_TAIL)).trim();
    let at = 0;
    return cases.map((operations) => operations.flatMap((operation) => (at < usable ? [readAgentAnswer(operation, answers[at++] ?? '')] : [])));
  }
}
