/**
 * @module vm/wasm/module
 * Puts the functions of a program into one WebAssembly module: types, imports, functions, their wrappers. Source: WebAssembly Core
 * Specification, chapter 5.
 */
import { NO_DIRECT, type DirectImport, type DirectImports } from '../direct.ts';
import { indexOf, STRIDE, type PreparedProgram } from '../program.ts';
import { op, OPS } from '../ops.ts';
import { CODE_HI, codeIndex } from '../types.ts';
import { ByteWriter, TYPE_I32, TYPE_I64 } from './bytes.ts';
import { BAD_TARGET_OP, findLeaders, FunctionWalk, MAX_TABLE, type IndirectTargets, type TargetsOf } from './cfg.ts';
import { LoopCompiler } from './counted-loops.ts';
import { Counters } from './counters.ts';
import type { CompiledFunction } from './function.ts';
import { takeApart, type InlineBody } from './inline.ts';
import { IMPORT_COUNT } from './layout.ts';
import { PART_INSTRUCTIONS, PartList } from './parts.ts';
import { habitsOf, type Habits, type ModuleContext, type Variant } from './state.ts';
import { MAX_BODY, Refusal } from './structure.ts';
import { batchWrapper, continuationWrapper, entryWrapper, inlined, mainWrapper, onceWrapper, repeatWrapper, type Home } from './wrappers.ts';

/** A module's bytes, and what is needed to run it and to explain its traps. One with a continuation has no entry but that. */
export interface CompiledModule {
  readonly bytes: Uint8Array;
  /** Dense instructions that functions begin at; function `i` is exported as `f<i>`. */
  readonly roots: Int32Array;
  /** Byte positions in the module that may trap, ascending, and the dense instruction of each: -1 inside helpers. */
  readonly trapPositions: Int32Array;
  readonly trapInstructions: Int32Array;
  /** Ids of the helpers that it imports, as `h<id>`. */
  readonly directs: readonly number[];
  /** Why frames may go on in the interpreter, beside budgets; empty where they do not. */
  readonly leaves: string;
  /** True where no function of it needs a run that is set up, as none calls what all modules import. */
  readonly isAlone: boolean;
  /** What its counters stand for; read by the functions exported as `counts<i>`. */
  readonly counters: Counters | undefined;
}

/** A frame that is under way: where it goes on, and the bytes of its stack. The function is exported as `go(sp, base)`. */
export interface Continuation {
  readonly dense: number;
  readonly frameBytes: number;
}

/** Functions that share much code, as only hostile programs have, would be compiled many times over. */
const MAX_EXPANSION = 4;

/** Bytes of a helper's body up to which it takes the place of its calls. */
const MAX_REPEATED = 120;

const CALL = op('call');
const HELPER = op('helper');
const LDDW = op('lddw');

const TYPE_FUNCTION = 0;
const TYPE_ENTRY = 1;
const TYPE_SLOW = 4;
const TYPE_GO = 7;
const TYPE_MAIN = 8;
const TYPE_ONCE = 9;
const TYPE_BATCH = 5;
const TYPE_READER = 5;
/** Parameters and results, by type index. */
const TYPES: readonly (readonly [parameters: readonly number[], results: readonly number[]])[] = [
  [[TYPE_I64, TYPE_I64, TYPE_I64, TYPE_I64, TYPE_I64, TYPE_I32, TYPE_I32], [TYPE_I64]],
  [Array.from({ length: 13 }, () => TYPE_I32), [TYPE_I32]],
  [Array.from({ length: 6 }, () => TYPE_I32), [TYPE_I32]],
  [Array.from({ length: 5 }, () => TYPE_I32), [TYPE_I32]],
  [Array.from({ length: 5 }, () => TYPE_I32), []],
  [[TYPE_I32, TYPE_I32], []],
  [[TYPE_I32, TYPE_I32, TYPE_I32], [TYPE_I32]],
  [[TYPE_I32, TYPE_I32], [TYPE_I32]],
  [[TYPE_I32, TYPE_I32, TYPE_I32], [TYPE_I32]],
  [[TYPE_I32], [TYPE_I32]],
];
/** Imports in the order of `IMPORT`: name and type. */
const IMPORTS: readonly (readonly [name: string, type: number])[] = [
  ['helper', 6], ['kfunc', 6], ['tail', 7], ['packet', 3], ['slow', TYPE_SLOW], ['fault', TYPE_SLOW], ['resume', 5],
  ['arena', 6], ['perCPU', 7], ['region', 6],
];

/**
 * Compiles a program.
 *
 * @param inlineHelpers helpers given as eBPF functions, compiled into the module where the program calls them
 * @param direct helpers that unchecked code of verified programs imports by themselves
 * @param partInstructions functions of more instructions are compiled in parts of about as many
 * @param home where single, repeated and batched runs take place
 * @throws Refusal where the program does not fit into what WebAssembly engines accept
 */
export function compileModule(
  program: PreparedProgram, variant: Variant, inlineHelpers: InlinePrograms, continuation?: Continuation, partInstructions: number = PART_INSTRUCTIONS,
  direct: DirectImports = NO_DIRECT, home: Home = { base: 0, sp: 0 },
): CompiledModule {
  const roots = findRoots(program);
  const used = usedHelpers(program, inlineHelpers, variant);
  const directs = program.image.verified === true && !variant.checked ? directHelpers(program, used, inlineHelpers, direct) : [];
  const firstFunction = IMPORT_COUNT + directs.length;
  // What is handed over to the interpreter in the middle needs whole registers.
  const narrows = program.image.verified === true && !variant.checked && !variant.counted;
  const bodies = new Map<number, InlineBody>();
  const leaders = findLeaders(program.fast, program.jumps?.dense);
  const entries = continuation === undefined ? roots : [...roots, continuation.dense];
  const counters = variant.covered === true ? new Counters(program.fast, program.denseCount, leaders, entries) : undefined;
  const context: ModuleContext = {
    code: variant.checked ? program.checked : narrows ? program.fast.slice() : program.fast,
    functionIndex: (dense) => firstFunction + indexOf(roots, dense),
    inlineHelper: (id) => {
      const at = used.indexOf(id);
      return at < 0 ? -1 : firstFunction + roots.length + at;
    },
    direct: (id) => {
      const at = directs.indexOf(id);
      return at < 0 ? undefined : { index: IMPORT_COUNT + at, form: direct.get(id)!, registers: direct.at };
    },
    helperBody: (id) => bodies.get(id),
    isInvolved: (id) => inlineHelpers(id)?.isInvolved === true,
    isHelper: false,
    counters,
    leave: () => {
      isAlone = false;
    },
    habits: () => (habits ??= habitsOf(program.fast, program.atomics)),
  };
  let isAlone = true;
  let habits: Habits | undefined;
  let leaves = '';
  const targets = targetsOf(program, (reason) => {
    leaves = reason;
  });
  const functions: CompiledFunction[] = [];
  const parts = new PartList(firstFunction + roots.length + used.length + (continuation === undefined ? 0 : 1));
  let budget = program.denseCount * MAX_EXPANSION + 1000;
  const isLarge = program.denseCount > partInstructions ? largeFunctions(program, roots, targets, partInstructions, budget) : undefined;
  /** A function, in one piece or in parts; with `going` the rest of a frame. */
  const compile = (root: number, going?: Continuation): CompiledFunction => {
    const frameBytes = going === undefined ? -1 : going.frameBytes;
    if (isLarge?.has(root) !== true) {
      const compiler = new LoopCompiler(program, leaders, root, variant, context, targets, frameBytes);
      if (going === undefined) budget -= compiler.instructions;
      if (budget < 0) throw new Refusal('functions that share too much code');
      try {
        return compiler.compile();
      } catch (error) {
        if (!(error instanceof Refusal) || compiler.instructions < 2) throw error;
      }
    }
    return parts.divide(program, leaders, root, variant, context, targets, partInstructions, frameBytes, continuation?.dense ?? -1);
  };
  const helpers: CompiledFunction[] = [];
  for (const id of used) {
    const { program: helper, isInvolved } = inlineHelpers(id)!;
    const inside: ModuleContext = { ...context, code: helper.fast, inlineHelper: () => -1, isHelper: true, counters: undefined };
    const compiled = new LoopCompiler(helper, findLeaders(helper.fast), 0, { checked: false, counted: false }, inside, targetsOf(helper)).compile();
    helpers.push({ ...compiled, traps: compiled.traps.map((value, index) => (index % 2 === 0 ? value : -1)) });
    if (!isInvolved && compiled.body.length <= MAX_REPEATED) bodies.set(id, takeApart(compiled));
  }
  for (const root of roots) functions.push(compile(root));
  functions.push(...helpers);
  if (continuation !== undefined) functions.push(parts.goOn(continuation.frameBytes) ?? compile(continuation.dense, continuation));
  const ways: Ways = continuation !== undefined ? 'continuation' : program.callsOut || variant.counted || counters !== undefined ? 'entries' : 'all';
  const imports = new Map(directs.map((id) => [id, direct.get(id)!]));
  return { ...assemble(roots, functions, parts.functions, ways, home, imports, counters), leaves, isAlone, counters };
}

/**
 * Those functions that have more than `limit` instructions. All of them together must not have more than `budget`, which is no more than a
 * few times the program.
 */
function largeFunctions(program: PreparedProgram, roots: Int32Array, targets: TargetsOf, limit: number, budget: number): ReadonlySet<number> {
  const walk = new FunctionWalk(program.fast);
  const large = new Set<number>();
  let rest = budget;
  for (const root of roots) {
    const size = walk.size(root, targets);
    rest -= size;
    if (rest < 0) throw new Refusal('functions that share too much code');
    if (size > limit) large.add(root);
  }
  return large;
}

/**
 * Declared targets of the indirect jump at a dense instruction; `undefined` also where a table of them would be too long. `leave` hears why
 * such jumps are left to the interpreter.
 */
function targetsOf(program: PreparedProgram, leave: (reason: string) => void = () => {}): TargetsOf {
  const all = program.jumps;
  if (all === undefined) {
    return () => {
      leave('indirect jumps without declared targets');
      return undefined;
    };
  }
  const known = new Map<number, IndirectTargets | undefined>();
  return (dense) => {
    const own = program.subprogramAt(program.pcOf[dense]!);
    if (!known.has(own)) {
      const from = own === 0 ? 0 : firstAtLeast(all.pc, program.subprograms[own]!);
      const to = own + 1 < program.subprograms.length ? firstAtLeast(all.pc, program.subprograms[own + 1]!) : all.pc.length;
      const pc = all.pc.subarray(from, to);
      const isLong = pc.length > 0 && pc.at(-1)! - pc[0]! >= MAX_TABLE;
      if (isLong) leave(`indirect jumps over more than ${MAX_TABLE} instructions`);
      known.set(own, isLong ? undefined : { pc, dense: all.dense.subarray(from, to) });
    }
    return known.get(own);
  };
}

/** Position of the first number in an ascending array that is not below `value`. */
function firstAtLeast(sorted: Int32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Functions of a program: the first instruction, targets of local calls, functions whose address is taken or declared. */
function findRoots(program: PreparedProgram): Int32Array {
  const code = program.fast;
  const roots = new Set<number>([0]);
  for (const pc of program.subprograms) if (program.denseOf[pc]! >= 0) roots.add(program.denseOf[pc]!);
  for (let at = 0; at < code.length; at += STRIDE) {
    if (code[at] === CALL && code[code[at + 2]!] !== BAD_TARGET_OP) roots.add(code[at + 2]! / STRIDE);
    if (code[at] === LDDW && code[at + 3] === CODE_HI) {
      const pc = codeIndex(code[at + 2]!);
      if (pc >= 0 && pc < program.instructionCount && program.denseOf[pc]! >= 0) roots.add(program.denseOf[pc]!);
    }
  }
  return Int32Array.from(roots).sort();
}

/** A helper as eBPF. */
export interface InlineProgram {
  readonly program: PreparedProgram;
  /** True where it accesses memory or calls. */
  readonly isInvolved: boolean;
}

export type InlinePrograms = (id: number) => InlineProgram | undefined;

const SIMPLE: ReadonlySet<number> = new Set(OPS.flatMap((name, operation) => (/^(ld|st)\d|^lds\d|^(atomic|call|callx|helper|kfunc|tailcall|ldabs|ldind|percpu)$/.test(name) ? [] : [operation])));

export function inlineProgram(program: PreparedProgram): InlineProgram {
  return { program, isInvolved: program.fast.some((word, at) => at % STRIDE === 0 && !SIMPLE.has(word)) };
}

function usedHelpers(program: PreparedProgram, inlineHelpers: InlinePrograms, variant: Variant): readonly number[] {
  const used = new Set<number>();
  for (let at = 0; at < program.fast.length; at += STRIDE) {
    const helper = program.fast[at] === HELPER ? inlineHelpers(program.fast[at + 3]!) : undefined;
    if (helper !== undefined && !(helper.isInvolved && variant.checked)) used.add(program.fast[at + 3]!);
  }
  return [...used];
}

/** Helpers that the program, or a helper inside the module, calls outside and that have a direct form. */
function directHelpers(program: PreparedProgram, used: readonly number[], inlineHelpers: InlinePrograms, direct: DirectImports): readonly number[] {
  const found = new Set<number>();
  for (const { fast } of [program, ...used.map((id) => inlineHelpers(id)!.program)]) {
    const isInside = fast !== program.fast;
    for (let at = 0; at < fast.length; at += STRIDE) {
      const id = fast[at + 3]!;
      if (fast[at] === HELPER && (isInside || !used.includes(id)) && direct.get(id) !== undefined) found.add(id);
    }
  }
  return [...found];
}

/**
 * What JavaScript may enter a module by: the rest of a frame only; all functions; and besides what runs the program often, which only those
 * programs have that need nothing prepared for each run.
 */
type Ways = 'continuation' | 'entries' | 'all';

function assemble(
  roots: Int32Array, own: readonly CompiledFunction[], parts: readonly CompiledFunction[], ways: Ways, home: Home,
  directs: ReadonlyMap<number, DirectImport>, counters: Counters | undefined,
): Omit<CompiledModule, 'leaves' | 'isAlone' | 'counters'> {
  const module = new ByteWriter(4096);
  module.append(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  module.section(1, typeSection([...directs.values()]));
  module.section(2, importSection([...directs.keys()]));
  const inside = [...own, ...parts];
  const first = IMPORT_COUNT + directs.size;
  const wrappers: CompiledFunction[] = [];
  const types = inside.map(() => TYPE_FUNCTION);
  const names: string[] = [];
  const add = (name: string, type: number, wrapper: CompiledFunction): void => {
    names.push(name);
    types.push(type);
    wrappers.push(wrapper);
  };
  if (ways === 'continuation') add('go', TYPE_GO, continuationWrapper(first + own.length - 1));
  else {
    for (let index = 0; index < roots.length; index++) add(`f${index}`, TYPE_ENTRY, entryWrapper(first + index));
    add('main', TYPE_MAIN, mainWrapper(first));
  }
  if (ways === 'all') {
    const inline = inlined(own[0]!);
    add('once', TYPE_ONCE, onceWrapper(first, inline, home));
    add('repeat', TYPE_BATCH, repeatWrapper(first, inline, home));
    add('batch', TYPE_BATCH, batchWrapper(first, inline, home));
  }
  for (const [index, reader] of (counters?.readers() ?? []).entries()) add(`counts${index}`, TYPE_READER, reader);
  const functionSection = new ByteWriter();
  functionSection.u32(types.length);
  for (const type of types) functionSection.u32(type);
  module.section(3, functionSection);
  if (counters !== undefined) module.section(6, counters.globalSection());
  module.section(7, exportSection(names, first + inside.length));
  return { ...codeSection(module, roots, [...inside, ...wrappers]), directs: [...directs.keys()] };
}

/** Parameters and results of a helper's import. */
function typeOf({ parameters, result }: DirectImport): readonly [parameters: readonly number[], results: readonly number[]] {
  return result === 'memory' ? [[], []] : [parameters.flatMap((one) => (one === 'pair' ? [TYPE_I32, TYPE_I32] : [TYPE_I32])), [TYPE_I32]];
}

function typeSection(directs: readonly DirectImport[]): ByteWriter {
  const out = new ByteWriter();
  const types = [...TYPES, ...directs.map(typeOf)];
  out.u32(types.length);
  for (const [parameters, results] of types) {
    out.byte(0x60);
    out.u32(parameters.length);
    for (const type of parameters) out.byte(type);
    out.u32(results.length);
    for (const type of results) out.byte(type);
  }
  return out;
}

function importSection(directs: readonly number[]): ByteWriter {
  const out = new ByteWriter();
  const imports = [...IMPORTS, ...directs.map((id, index) => [`h${id}`, TYPES.length + index] as const)];
  out.u32(imports.length + 1);
  for (const [name, type] of imports) {
    out.name('m');
    out.name(name);
    out.byte(0);
    out.u32(type);
  }
  out.name('m');
  out.name('memory');
  out.byte(2);
  out.byte(0);
  out.u32(1);
  return out;
}

/** Functions from `first` on. */
function exportSection(names: readonly string[], first: number): ByteWriter {
  const out = new ByteWriter();
  out.u32(names.length);
  for (const [index, name] of names.entries()) {
    out.name(name);
    out.byte(0);
    out.u32(first + index);
  }
  return out;
}

function codeSection(module: ByteWriter, roots: Int32Array, functions: readonly CompiledFunction[]): Omit<CompiledModule, 'directs' | 'leaves' | 'isAlone' | 'counters'> {
  const code = new ByteWriter(functions.reduce((sum, one) => sum + one.body.length + 8, 256));
  const positions: number[] = [];
  const instructions: number[] = [];
  code.u32(functions.length);
  for (const { body, traps } of functions) {
    if (body.length > MAX_BODY) throw new Refusal(`function of ${body.length} bytes`);
    code.u32(body.length);
    for (let at = 0; at < traps.length; at += 2) {
      positions.push(code.length + traps[at]!);
      instructions.push(traps[at + 1]!);
    }
    code.append(body);
  }
  const header = new ByteWriter();
  header.u32(code.length);
  const start = module.length + 1 + header.length;
  module.section(10, code);
  return {
    bytes: module.view(), roots,
    trapPositions: Int32Array.from(positions, (position) => position + start),
    trapInstructions: Int32Array.from(instructions),
  };
}
