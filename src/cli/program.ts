/**
 * @module src/cli/program
 * The command line: options, commands, exit status. Each command is a file of its own that is loaded when it is called, so that
 * `bpftwin -V` costs no more than this one.
 */
import { Command, CommanderError, Option } from 'commander';
import { reportFailure, UsageError } from './failure.ts';
import { createContext, EXIT_OK, EXIT_USAGE, type Context, type GlobalOptions, type Surroundings } from './io.ts';
import { VERSION } from './version.ts';

/** Runs one command line: what `main` does, whatever the command. */
export async function runProgram(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const wanted = wantedOutput(argv);
  let status = EXIT_OK;
  const program = createProgram(surroundings, (result) => {
    status = result;
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) return commandLineError(error, createContext(surroundings, wanted));
    return reportFailure(createContext(surroundings, { ...wanted, ...program.opts<GlobalOptions>() }), error);
  }
}

/** Whether errors of the command line itself are to be JSON: known before it could be parsed. `-eprog` is an option with its value, no `-p`. */
function wantedOutput(argv: readonly string[]): GlobalOptions {
  const letters = argv.filter((argument) => /^-[jpdVhLSC]+$/.test(argument)).join('');
  return { json: letters.includes('j') || argv.includes('--json'), pretty: letters.includes('p') || argv.includes('--pretty') };
}

/** Help and version were asked for, or the arguments are wrong; commander has written what there is to say, unless it is JSON. */
function commandLineError(error: CommanderError, context: Context): number {
  if (error.exitCode === 0) return EXIT_OK;
  if (context.json) return reportFailure(context, new UsageError(error.message.replace(/^error: /, '')));
  return EXIT_USAGE;
}

type Finish = (status: number) => void;

function createProgram(surroundings: Surroundings, finish: Finish): Command {
  const program = new Command('bpftwin');
  program
    .description('A twin of the Linux BPF subsystem: runs, verifies and audits BPF programs without root and without a kernel')
    .option('-j, --json', 'JSON output')
    .option('-p, --pretty', 'indented JSON output')
    .option('-d, --debug', 'more detail')
    .version(VERSION, '-V, --version', 'the version')
    .helpOption('-h, --help', 'this text')
    .exitOverride()
    .showSuggestionAfterError(true)
    .configureOutput({
      writeOut: (text) => surroundings.stdout.write(text),
      writeErr: (text) => (isJSON(program) ? undefined : surroundings.stderr.write(text)),
    });
  const context = (): Context => createContext(surroundings, program.opts<GlobalOptions>());
  addRun(program, context, finish);
  addInspect(program, context, finish);
  addVerify(program, context, finish);
  addGen(program, context, finish);
  addBTF(program, context, finish);
  addSign(program, context, finish);
  addKeys(program, context, finish);
  addReplay(program, context, finish);
  addFuzz(program, context, finish);
  addBench(program, context, finish);
  return program;
}

function isJSON(program: Command): boolean {
  const options = program.opts<GlobalOptions>();
  return options.json === true || options.pretty === true;
}

function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

function wholeNumber(name: string): (value: string) => number {
  return (value) => {
    if (!/^\d{1,9}$/.test(value)) throw new UsageError(`${name}: a whole number is wanted, not ${JSON.stringify(value)}`);
    return Number(value);
  };
}

function addRun(program: Command, context: () => Context, finish: Finish): void {
  program.command('run')
    .description('load a light skeleton end to end in a fresh kernel')
    .argument('<file>', 'the .lskel.h that gen skeleton -L wrote')
    .option('--cert <file>', 'certificate (PEM or DER) to put into the keyring; may be repeated', collect)
    .addOption(new Option('--keyring <name>', 'the keyring that the signature is checked against').choices(['session', 'builtin', 'secondary', 'platform']).default('session'))
    .addOption(new Option('--kernel <version>', 'the kernel to be').choices(['7.3', '6.18']).default('7.3'))
    .option('--btf <file>', 'types of the kernel (raw BTF or ELF) instead of the built-in ones')
    .option('--policy <object>', 'attach the LSM programs of an object first; may be repeated', collect)
    .option('--set <variable=value>', 'first value of a global variable of the policies; may be repeated', collect)
    .option('--strict', 'refuse signatures that Linux takes but that are not canonical')
    .option('--trace', 'print every bpf() call')
    .addOption(tierOption())
    .option('--stats', 'say which engine ran how often, what compiling took, and why a program ran on a lower tier')
    .action(async (file: string, options: object) => {
      const { runCommand } = await import('./run.ts');
      finish(await runCommand(file, options, context()));
    });
}

function tierOption(): Option {
  return new Option('--tier <name>', 'the engine that runs programs; results are the same on each').choices(['auto', 'interpreter', 'baseline', 'optimised']).default('auto');
}

function addInspect(program: Command, context: () => Context, finish: Finish): void {
  program.command('inspect')
    .description('take a light skeleton apart without running it')
    .argument('<file>', 'the .lskel.h')
    .option('--cert <file>', 'certificate (PEM or DER) to verify the signature against; may be repeated', collect)
    .option('--strict', 'refuse what Linux takes but is not canonical, or is signed outside the validity of its certificate')
    .option('--object <file>', 'the object that it claims to be made from: generate it anew and compare')
    .action(async (file: string, options: object) => {
      const { inspectCommand } = await import('./inspect.ts');
      finish(await inspectCommand(file, options, context()));
    });
}

function addVerify(program: Command, context: () => Context, finish: Finish): void {
  program.command('verify')
    .description('load every program of BPF objects: verdict, errno, log and figures')
    .argument('<objects...>', 'BPF objects, or @FILE that lists them; with --compare two CSV files, with --replay one')
    .option('--prog <name>', 'only this program; may be repeated', collect)
    .option('-l, --log <level>', 'log level: 1 and 2 for instructions and state, 4 for statistics', wholeNumber('--log'))
    .option('--btf <file>', 'types of the kernel (raw BTF or ELF) instead of the built-in ones')
    .option('--kconfig <file>', 'kernel configuration (.config or config.gz) for __kconfig externs')
    .addOption(new Option('-o, --output <format>', "a table, or veristat's CSV").choices(['table', 'csv']).default('table'))
    .option('-e, --emit <list>', "columns, by veristat's names: file,prog,verdict,insns")
    .option('-s, --sort <spec>', 'order: columns, each with ^ for ascending or v for descending behind it; default file,prog')
    .option('-f, --filter <spec>', 'only FILE_GLOB[/PROG_GLOB], or where insns>1000 or verdict=failure holds; ! excludes; @FILE reads filters; may be repeated', collect)
    .option('-n, --top-n <n>', 'only the first rows', wholeNumber('--top-n'))
    .option('-G, --set-global-vars <assignment>', 'first value of a global variable, "limits.max[2] = 7"; @FILE reads them; may be repeated', collect)
    .option('-S, --top-src-lines <n>', 'the source lines that the verifier came by most often', wholeNumber('--top-src-lines'))
    .option('-t, --test-states', 'make the verifier keep a state at every instruction (BPF_F_TEST_STATE_FREQ)')
    .option('-r, --test-reg-invariants', 'refuse programs whose registers break an invariant (BPF_F_TEST_REG_INVARIANTS)')
    .option('--log-fixed', 'keep the beginning of a log that does not fit, not its end')
    .option('--log-size <bytes>', 'bytes of the log buffer', wholeNumber('--log-size'))
    .addOption(new Option('--dump [mode]', 'print accepted programs as Linux rewrites them').choices(['xlated']))
    .option('-q, --quiet', 'no progress and no sums')
    .option('-R, --replay', 'show a CSV file again, with other columns, order and filters')
    .option('-C, --compare', 'compare two CSV files, BASE.csv COMP.csv; status 1 where a verdict got worse')
    .option('--explain', "the verifier's report of each refused program, with the source around it")
    .action(async (files: string[], options: object) => {
      const { verifyCommand } = await import('./verify.ts');
      finish(await verifyCommand(files, options, context()));
    });
}

function addGen(program: Command, context: () => Context, finish: Finish): void {
  const gen = program.command('gen').description('generate code from an object');
  gen.command('object')
    .description('link objects into one as bpftool does: gen object OUT.o IN.o…')
    .argument('<output>', 'the linked object')
    .argument('<inputs...>', 'BPF objects')
    .action(async (output: string, inputs: string[]) => {
      const { genObjectCommand } = await import('./gen-object.ts');
      finish(genObjectCommand(output, inputs, context()));
    });
  gen.command('subskeleton')
    .description('print the skeleton of a part of a linked object as bpftool does: gen subskeleton OBJ.o [name NAME]')
    .argument('<object>', 'the BPF object')
    .argument('[words...]', 'name NAME')
    .option('-L, --use-loader', 'refused, as by bpftool')
    .action(async (file: string, words: string[], options: object) => {
      const { genSubskeletonCommand } = await import('./gen.ts');
      finish(await genSubskeletonCommand(file, words, options, context()));
    });
  gen.command('min_core_btf')
    .description("write the part of a kernel's types that CO-RE relocations need, as bpftool does: gen min_core_btf INPUT OUTPUT OBJECT…")
    .argument('<input>', "the kernel's types: raw BTF, gzip of it, or ELF")
    .argument('<output>', 'the file to write')
    .argument('<objects...>', 'the BPF objects')
    .action(async (input: string, output: string, objects: string[]) => {
      const { genMinCoreBTFCommand } = await import('./gen-min-core-btf.ts');
      finish(genMinCoreBTFCommand(input, output, objects, context()));
    });
  gen.command('skeleton')
    .description('print a skeleton as bpftool does: gen skeleton [-L] OBJ.o [name NAME]')
    .argument('<object>', 'the BPF object')
    .argument('[words...]', 'name NAME')
    .option('-L, --use-loader', 'a light skeleton, with a loader program')
    .option('-S, --sign', 'sign it')
    .option('-k, --key <file>', 'private key to sign with')
    .option('-i, --cert <file>', "the signer's certificate")
    .option('--passphrase-file <file>', 'passphrase of the private key')
    .option('--kconfig <file>', 'kernel configuration (.config or config.gz) for __kconfig externs')
    .addOption(new Option('--lang <language>', 'a C header, or a module in TypeScript').choices(['c', 'ts']).default('c'))
    .option('--runtime <module>', "what a TypeScript module imports from; default 'bpftwin'")
    .action(async (file: string, words: string[], options: object) => {
      const { genSkeletonCommand } = await import('./gen.ts');
      finish(await genSkeletonCommand(file, words, options, context()));
    });
}

function addBTF(program: Command, context: () => Context, finish: Finish): void {
  program.command('btf').description('types of kernels, modules and objects').command('dump')
    .description('list types or print them as a C header, as bpftool does: btf dump file FILE [format raw|c] [root_id ID]… [unsorted]')
    .argument('<words...>', 'file FILE, then format, root_id, unsorted')
    .option('-B, --base-btf <file>', "the types that a module's extend")
    .action(async (words: string[], options: object) => {
      const { btfDumpCommand } = await import('./btf.ts');
      finish(btfDumpCommand(words, options, context()));
    });
}

function addSign(program: Command, context: () => Context, finish: Finish): void {
  program.command('sign')
    .description('make the detached signature of a light skeleton, or of any file')
    .argument('<file>', 'the .lskel.h, or any file')
    .requiredOption('-k, --key <file>', 'private key')
    .requiredOption('-i, --cert <file>', "the signer's certificate")
    .option('-o, --out <file>', 'where the signature goes; default FILE.p7s')
    .option('--hash <name>', 'digest; default sha256')
    .option('--by-serial', 'name the signer by issuer and serial number')
    .addOption(new Option('--kernel <version>', 'the kernel that is to take it').choices(['7.3', '6.18']).default('7.3'))
    .option('--passphrase-file <file>', 'passphrase of the private key')
    .action(async (file: string, options: { key: string; cert: string }) => {
      const { signCommand } = await import('./sign.ts');
      finish(signCommand(file, options, context()));
    });
}

function addKeys(program: Command, context: () => Context, finish: Finish): void {
  program.command('keys')
    .description('list the keyrings of a kernel and process with these certificates')
    .option('--cert <file>', 'into the session keyring; may be repeated', collect)
    .option('--builtin-cert <file>', 'into the builtin keyring; may be repeated', collect)
    .option('--secondary-cert <file>', 'into the secondary keyring; may be repeated', collect)
    .option('--platform-cert <file>', 'into the platform keyring; may be repeated', collect)
    .option('--blacklist <file>', 'hashes that no certificate may have')
    .action(async (options: object) => {
      const { keysCommand } = await import('./keys.ts');
      finish(keysCommand(options, context()));
    });
}

function addReplay(program: Command, context: () => Context, finish: Finish): void {
  program.command('replay')
    .description('perform transcripts of bpf() calls and compare with the recorded answers')
    .argument('<files...>', 'transcripts, .jsonl or .jsonl.gz')
    .option('--only <regex>', 'only cases whose name matches')
    .option('--show <n>', 'differences to print in full', wholeNumber('--show'))
    .option('--btf <file>', 'raw BTF of the kernel instead of the built-in one')
    .option('--dump <dir>', 'write the logs of differing cases there')
    .option('--slow <ms>', 'print cases that take longer', wholeNumber('--slow'))
    .addOption(tierOption())
    .addOption(new Option('--kernel <version>', 'the kernel that answered').choices(['7.3', '6.18']).default('7.3'))
    .option('--ecdsa', 'it was built with ECDSA')
    .action(async (files: string[], options: object) => {
      const { replayCommand } = await import('./replay.ts');
      const { json, pretty, stdout } = context();
      finish(await replayCommand(files, { ...options, json, pretty }, stdout));
    });
}

function addFuzz(program: Command, context: () => Context, finish: Finish): void {
  program.command('fuzz')
    .description('fuzz a part of the twin: bytecode, loader, syscalls, signature, object, engines; or run a finding again: fuzz repro FILE')
    .argument('<target>', 'what to fuzz, or repro')
    .argument('[file]', 'with repro, the .json of a finding')
    .option('--seed <n>', 'seed of everything; default 1', wholeNumber('--seed'))
    .option('--time <s>', 'end after so many seconds; default 60', wholeNumber('--time'))
    .option('--runs <n>', 'end after exactly so many runs', wholeNumber('--runs'))
    .option('--corpus <dir>', 'begin with these inputs, and keep there those that are needed to reach all that was reached')
    .option('--jobs <n>', 'worker threads; default 1', wholeNumber('--jobs'))
    .option('--findings <dir>', 'where findings are written; default fuzz-findings')
    .option('--html <file>', 'write a report as a page')
    .option('--stop-after <n>', 'end after so many findings', wholeNumber('--stop-after'))
    .addOption(new Option('--oracle <name>', 'compare what is new with a real kernel').choices(['kernel']))
    .option('--kernel-image <file>', 'boot this one in QEMU instead of asking the running kernel')
    .action(async (target: string, file: string | undefined, options: object) => {
      const { fuzzCommand, reproCommand } = await import('./fuzz.ts');
      if ((target === 'repro') !== (file !== undefined)) throw new UsageError(target === 'repro' ? 'repro: the .json of a finding is wanted' : `${file} is one argument too many`);
      finish(file === undefined ? await fuzzCommand(target, options, context()) : await reproCommand(file, context()));
    });
}

function addBench(program: Command, context: () => Context, finish: Finish): void {
  program.command('bench')
    .description('what admission costs: by phase, over sizes, keys and contracts; or for each program of the given objects and skeletons')
    .argument('[files...]', 'objects, light skeletons, or folders of them')
    .option('--only <list>', 'only these: phases,instructions,metadata,maps,keys,payload,loops,branches,contract')
    .option('--quick', 'fewer sizes')
    .option('--seconds <s>', 'seconds of sampling for each measurement', seconds)
    .option('--counters', 'count the work, take no times: the same on every machine')
    .option('--cert <file>', 'certificate (PEM or DER) that skeletons are signed with; may be repeated', collect)
    .option('--veristat <file>', "veristat's CSV from a real kernel, to stand beside")
    .option('--baseline <file>', 'JSON of an earlier run under the same conditions, to compare with')
    .option('--fail-above <ratio>', 'status 1 where something takes longer than so many times the baseline', '1.1')
    .option('--across-versions', 'compare although bpftwin is another version')
    .option('--html <file>', 'write the report as one page with charts, too')
    .option('--csv <file>', 'write the measurements as CSV, too')
    .action(async (files: string[], options: object) => {
      const { benchCommand } = await import('./bench.ts');
      finish(await benchCommand(files, options, context()));
    });
}

function seconds(value: string): number {
  const number = Number(value);
  if (!(number > 0 && number <= 60)) throw new UsageError(`--seconds: a number up to 60 is wanted, not ${JSON.stringify(value)}`);
  return number;
}
