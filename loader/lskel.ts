/**
 * @module loader/lskel
 * Reads a light skeleton (`bpftool gen skeleton -L [-S]`) without a C compiler. The text is taken as a fixed form filled with
 * names, numbers and strings; whatever departs from the form is refused with its line, because a reader who audits a skeleton
 * must not be shown less than a compiler would see. Owns the grammar; tokens are `c-lexer.ts`, the result is `skeleton.ts`.
 * Reproduces what `tools/bpf/bpftool/gen.c` of Linux 5.18 to 7.3 writes.
 */
import { InputError } from '../isa/errors.ts';
import { CLexer, type Token } from './c-lexer.ts';
import {
  LOADER_CTX_SIZE, MAP_DESC_SIZE, PROG_DESC_SIZE,
  type LightSkeleton, type SkeletonAttach, type SkeletonData, type SkeletonMap, type SkeletonProgram, type SkeletonSignature,
  type SkeletonVariable,
} from './skeleton.ts';

/** More members than any loader takes (64 maps, 32 programs), far fewer than would cost time. */
const MAX_MEMBERS = 4096;
/** Braces and parentheses inside one another in a skipped declaration. */
const MAX_NESTING = 256;
/** Tokens of one declaration or of one unknown function. */
const MAX_SKIPPED_TOKENS = 1_000_000;

interface StructBody {
  readonly maps: { readonly name: string; readonly line: number }[];
  readonly programs: { readonly name: string; readonly line: number }[];
  readonly links: string[];
  structOpsSize: number;
  hasKeyringID: boolean;
  /** C declarations of each data section, by member name. */
  readonly sections: Map<string, Declaration[]>;
}

interface Declaration {
  /** As written, blanks folded. */
  readonly text: string;
  readonly words: readonly string[];
}

interface InitialValue {
  readonly bytes: Uint8Array;
  readonly mmapSize: number;
  readonly line: number;
}

interface LoadBody {
  readonly strings: Map<string, { readonly bytes: Uint8Array; readonly line: number }>;
  metadata: Uint8Array | undefined;
  instructions: Uint8Array | undefined;
  signature: SkeletonSignature | undefined;
  readonly access: Map<string, { readonly access: SkeletonData['access']; readonly mmapSize: number }>;
}

/**
 * Parses the text of a light skeleton.
 *
 * @param source the file's bytes
 * @param file its name, for errors
 * @returns plain data; the same for the same bytes
 * @throws InputError naming file, line and reason
 *
 * @example
 * const skeleton = parseLightSkeleton(readFileSync('minimal.lskel.h'), 'minimal.lskel.h');
 * skeleton.maps.map((map) => map.name);
 */
export function parseLightSkeleton(source: Uint8Array, file: string): LightSkeleton {
  refuseOtherFiles(source, file);
  // A plain view: the slice() of Node's Buffer would not copy.
  return new SkeletonParser(new Uint8Array(source.buffer, source.byteOffset, source.byteLength), file).parse();
}

function refuseOtherFiles(source: Uint8Array, file: string): void {
  if (source.length === 0) throw new InputError(file, '', 'the file is empty');
  if (source[0] === 0x7f && source[1] === 0x45 && source[2] === 0x4c && source[3] === 0x46) {
    throw new InputError(file, 'byte 0', 'this is an ELF object; a light skeleton is the header made from it by gen skeleton -L');
  }
}

/** Splits the fixed parts of a form into token texts; the lexer itself does it, so that both agree. */
const formCache = new Map<string, readonly string[]>();
function tokenTexts(text: string): readonly string[] {
  const cached = formCache.get(text);
  if (cached !== undefined) return cached;
  const lexer = new CLexer(new TextEncoder().encode(text), '');
  const texts: string[] = [];
  for (let token = lexer.next(); token.kind !== 'end'; token = lexer.next()) texts.push(token.text);
  if (formCache.size < 512) formCache.set(text, texts);
  return texts;
}

class SkeletonParser {
  readonly #file: string;
  readonly #lexer: CLexer;
  readonly #ahead: Token[] = [];
  #name = '';
  readonly #struct: StructBody = { maps: [], programs: [], links: [], structOpsSize: 0, hasKeyringID: false, sections: new Map() };
  readonly #attach = new Map<string, SkeletonAttach>();
  readonly #initial = new Map<string, InitialValue>();
  readonly #load: LoadBody = { strings: new Map(), metadata: undefined, instructions: undefined, signature: undefined, access: new Map() };
  readonly #freed = new Map<string, { readonly size: number; readonly line: number }>();
  readonly #asserts = new Map<string, Map<string, number>>();
  readonly #functions = new Map<string, number>();
  readonly #extra: string[] = [];

  constructor(source: Uint8Array, file: string) {
    this.#file = file;
    this.#lexer = new CLexer(source, file);
  }

  parse(): LightSkeleton {
    if (this.#peek().kind === 'end') throw new InputError(this.#file, '', 'the file holds nothing but blanks and comments');
    this.#parseStruct();
    while (this.#peek().kind !== 'end') this.#parseFunction();
    this.#checkDirectives();
    return this.#assemble();
  }

  // --- tokens -------------------------------------------------------------------------------------------------------

  #peek(distance = 0): Token {
    while (this.#ahead.length <= distance) this.#ahead.push(this.#lexer.next());
    const token = this.#ahead[distance];
    if (token === undefined) throw new InputError(this.#file, '', 'no token');
    return token;
  }

  #next(): Token {
    const token = this.#peek();
    this.#ahead.shift();
    return token;
  }

  #fail(token: Token, expected: string): never {
    const found = token.kind === 'end' ? 'the file ends' : `found ${printable(token.text)}`;
    return this.#lexer.fail(token.line, `expected ${expected}, ${found}`);
  }

  #failAt(line: number, reason: string): never {
    return this.#lexer.fail(line, reason);
  }

  /** True where the next tokens are those of `form`. */
  #looksAt(form: string): boolean {
    return tokenTexts(form).every((text, i) => {
      const token = this.#peek(i);
      return token.kind !== 'string' && token.kind !== 'end' && token.text === text;
    });
  }

  /** Takes the tokens of `form`; fails at the first that differs. Returns the last one's end. */
  #take(form: string): Token {
    let last = this.#peek();
    for (const text of tokenTexts(form)) {
      const token = this.#peek();
      if (token.kind === 'string' || token.kind === 'end' || token.text !== text) this.#fail(token, `${printable(text)} of ${printable(form)}`);
      last = this.#next();
    }
    return last;
  }

  #tryTake(form: string): boolean {
    if (!this.#looksAt(form)) return false;
    this.#take(form);
    return true;
  }

  /** Source text up to, not including, the next punctuation of `stops`: a name of any spelling. */
  #nameUntil(stops: readonly string[], what: string): { readonly name: string; readonly line: number } {
    const first = this.#peek();
    let end = first.start;
    for (let count = 0; ; count++) {
      const token = this.#peek();
      if (token.kind === 'punctuation' && stops.includes(token.text)) break;
      if (token.kind === 'end' || token.kind === 'string' || count > 64) this.#fail(token, what);
      if (token.line !== first.line) this.#fail(token, `the end of ${what}`);
      end = token.end;
      this.#next();
    }
    if (end === first.start) this.#fail(first, what);
    return { name: decodeName(this.#lexer.source.subarray(first.start, end)), line: first.line };
  }

  #number(what: string): { readonly value: number; readonly line: number } {
    const token = this.#next();
    const match = /^(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)[uUlLzZ]{0,3}$/.exec(token.text);
    if (token.kind !== 'number' || match?.[1] === undefined) return this.#fail(token, what);
    const digits = match[1];
    const value = /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
    if (!Number.isSafeInteger(value)) this.#failAt(token.line, `${what} ${printable(token.text)} is too large`);
    return { value, line: token.line };
  }

  /** One or more adjacent string literals. */
  #string(what: string): { readonly bytes: Uint8Array; readonly line: number } {
    const first = this.#next();
    if (first.kind !== 'string' || first.bytes === undefined) return this.#fail(first, what);
    if (this.#peek().kind !== 'string') return { bytes: first.bytes, line: first.line };
    const parts = [first.bytes];
    while (this.#peek().kind === 'string') parts.push(this.#next().bytes ?? new Uint8Array(0));
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return { bytes, line: first.line };
  }

  // --- struct NAME { … }; -------------------------------------------------------------------------------------------

  #parseStruct(): void {
    const first = this.#peek();
    if (!this.#tryTake('struct')) this.#failAt(first.line, `not a light skeleton: expected "struct NAME {", found ${printable(first.text)}`);
    this.#name = this.#nameUntil(['{', ';', '(', '='], 'the name of the skeleton').name;
    this.#take('{');
    if (this.#looksAt('struct bpf_object_skeleton')) {
      this.#failAt(first.line, 'this is an ordinary skeleton; a light one is made by gen skeleton -L');
    }
    if (!this.#tryTake('struct bpf_loader_ctx ctx;')) {
      this.#failAt(this.#peek().line, 'not a light skeleton: expected "struct bpf_loader_ctx ctx;" as the first member');
    }
    while (!this.#tryTake('}')) this.#parseMember();
    this.#take(';');
  }

  #parseMember(): void {
    if (this.#looksAt('struct {')) return this.#parseGroup();
    const line = this.#peek().line;
    if (this.#tryTake('__s32 keyring_id;')) {
      if (this.#struct.hasKeyringID) this.#failAt(line, 'a second member keyring_id');
      this.#struct.hasKeyringID = true;
      return;
    }
    this.#parseSection();
  }

  #parseGroup(): void {
    const line = this.#take('struct {').line;
    if (this.#looksAt('struct bpf_map_desc')) {
      if (this.#struct.programs.length + this.#struct.structOpsSize > 0) this.#failAt(line, 'maps must come before the programs');
      this.#descriptors('struct bpf_map_desc', this.#struct.maps);
      this.#take('maps;');
    } else if (this.#looksAt('struct bpf_prog_desc')) {
      if (this.#struct.links.length > 0) this.#failAt(line, 'programs must come before the links');
      this.#descriptors('struct bpf_prog_desc', this.#struct.programs);
      this.#take('progs;');
    } else if (this.#looksAt('int')) {
      const links: { name: string; line: number }[] = [];
      this.#descriptors('int', links);
      this.#take('links;');
      for (const link of links) this.#struct.links.push(stripSuffix(link.name, '_fd'));
    } else {
      this.#structOps();
      this.#take('struct_ops;');
    }
  }

  #descriptors(type: string, into: { readonly name: string; readonly line: number }[]): void {
    const seen = new Set(into.map((member) => member.name));
    if (seen.size > 0) this.#failAt(this.#peek().line, `a second group of ${type}`);
    while (!this.#tryTake('}')) {
      this.#take(type);
      const member = this.#nameUntil([';'], `the name of a ${type}`);
      this.#take(';');
      if (seen.has(member.name)) this.#failAt(member.line, `the name ${printable(member.name)} appears twice`);
      if (seen.size >= MAX_MEMBERS) this.#failAt(member.line, `more than ${MAX_MEMBERS} members`);
      seen.add(member.name);
      into.push(member);
    }
  }

  /** `struct OBJ__IDENT__TYPE { … } *IDENT;` per struct_ops map: one pointer each. */
  #structOps(): void {
    while (!this.#tryTake('}')) {
      this.#take('struct');
      this.#nameUntil(['{'], 'the name of a struct_ops type');
      this.#skipBalanced('{', '}');
      this.#take('*');
      this.#nameUntil([';'], 'the name of a struct_ops member');
      this.#take(';');
      this.#struct.structOpsSize += 8;
    }
  }

  /** `struct NAME__IDENT { declarations } *IDENT;` */
  #parseSection(): void {
    const line = this.#peek().line;
    if (!this.#tryTake('struct')) this.#fail(this.#peek(), 'a member of a light skeleton');
    this.#nameUntil(['{', ';', '*'], 'the name of a data section');
    this.#take('{');
    const declarations: Declaration[] = [];
    while (!this.#tryTake('}')) {
      declarations.push(this.#declaration());
      if (declarations.length > 65_536) this.#failAt(line, 'more than 65536 variables in a data section');
    }
    this.#take('*');
    const ident = this.#nameUntil([';'], 'the name of a data section');
    this.#take(';');
    if (this.#struct.sections.has(ident.name)) this.#failAt(ident.line, `the name ${printable(ident.name)} appears twice`);
    this.#struct.sections.set(ident.name, declarations);
  }

  /** One C declaration up to its semicolon. */
  #declaration(): Declaration {
    const words: string[] = [];
    const start = this.#peek().start;
    let end = start;
    let depth = 0;
    for (let count = 0; ; count++) {
      const token = this.#next();
      if (token.kind === 'end' || count > MAX_SKIPPED_TOKENS) return this.#fail(token, 'the end of a declaration');
      if (token.kind === 'punctuation') {
        if ('{(['.includes(token.text)) depth++;
        else if ('})]'.includes(token.text)) depth--;
        else if (token.text === ';' && depth === 0) return { text: this.#lexer.slice(start, end).replace(/\s+/g, ' '), words };
        if (depth < 0 || depth > MAX_NESTING) this.#fail(token, 'the end of a declaration');
      }
      end = token.end;
      if (words.length < 4096) words.push(token.text);
    }
  }

  #skipBalanced(open: string, close: string): void {
    this.#take(open);
    let depth = 1;
    for (let count = 0; depth > 0; count++) {
      const token = this.#next();
      if (token.kind === 'end' || count > MAX_SKIPPED_TOKENS) this.#fail(token, printable(close));
      if (token.kind !== 'punctuation') continue;
      if (token.text === open) depth++;
      else if (token.text === close) depth--;
      if (depth > MAX_NESTING) this.#fail(token, `fewer than ${MAX_NESTING} ${open} inside one another`);
    }
  }

  // --- functions ----------------------------------------------------------------------------------------------------

  #parseFunction(): void {
    const line = this.#peek().line;
    if (this.#tryTake('__attribute__')) this.#skipBalanced('(', ')');
    if (!this.#tryTake('static')) this.#fail(this.#peek(), 'a static function');
    this.#tryTake('inline');
    const name = this.#functionName();
    if (this.#functions.has(name)) this.#failAt(line, `a second function ${printable(name)}`);
    if (this.#functions.size > 4 * MAX_MEMBERS) this.#failAt(line, 'too many functions');
    this.#functions.set(name, line);
    this.#functionBody(name);
  }

  #functionName(): string {
    if (this.#tryTake('int') || this.#tryTake('void')) return this.#nameUntil(['('], 'the name of a function').name;
    this.#take('struct');
    this.#nameUntil(['*'], 'a type');
    this.#take('*');
    return this.#nameUntil(['('], 'the name of a function').name;
  }

  #functionBody(name: string): void {
    const skel = this.#name;
    switch (name) {
      case `${skel}__attach`: return this.#attachAll();
      case `${skel}__detach`: return this.#detachAll();
      case `${skel}__destroy`: return this.#destroy();
      case `${skel}__open`: return this.#open();
      case `${skel}__load`: return this.#loadFunction();
      case `${skel}__open_and_load`: return this.#openAndLoad();
      case `${skel}__assert`: return this.#assert();
      default:
    }
    const program = this.#struct.programs.find((candidate) => name === `${skel}__${candidate.name}__attach`);
    if (program !== undefined) return this.#attachOne(program.name);
    this.#skipBalanced('(', ')');
    this.#skipBalanced('{', '}');
    this.#extra.push(name);
  }

  #attachOne(program: string): void {
    this.#take(`(struct ${this.#name} *skel) { int prog_fd = skel->progs.${program}.prog_fd; int fd =`);
    this.#attach.set(program, this.#attachCall());
    this.#take(`if (fd > 0) skel->links.${program}_fd = fd; return fd; }`);
  }

  #attachCall(): SkeletonAttach {
    if (this.#tryTake('((void)prog_fd, 0);')) return { kind: 'none' };
    if (this.#tryTake('skel_link_create(prog_fd, 0, BPF_TRACE_ITER);')) return { kind: 'iter' };
    this.#take('skel_raw_tracepoint_open(');
    const name = this.#tryTake('NULL') ? undefined : latin1(this.#string('the name of a raw tracepoint').bytes);
    this.#take(', prog_fd);');
    return { kind: 'raw_tracepoint', name };
  }

  #attachAll(): void {
    this.#take(`(struct ${this.#name} *skel) { int ret = 0;`);
    for (const program of this.#struct.programs) this.#take(`ret = ret < 0 ? ret : ${this.#name}__${program.name}__attach(skel);`);
    this.#take('return ret < 0 ? ret : 0; }');
  }

  #detachAll(): void {
    this.#take(`(struct ${this.#name} *skel) {`);
    for (const link of this.#struct.links) this.#tryTake(`skel_closenz(skel->links.${link}_fd);`);
    this.#take('}');
  }

  #destroy(): void {
    this.#take(`(struct ${this.#name} *skel) { if (!skel) return; ${this.#name}__detach(skel);`);
    for (const program of this.#struct.programs) this.#take(`skel_closenz(skel->progs.${program.name}.prog_fd);`);
    for (const map of this.#struct.maps) {
      if (this.#tryTake(`skel_free_map_data(skel->${map.name}, skel->maps.${map.name}.initial_value,`)) {
        const size = this.#number('the size of a mapping');
        this.#freed.set(map.name, { size: size.value, line: size.line });
        this.#take(');');
      }
      this.#take(`skel_closenz(skel->maps.${map.name}.map_fd);`);
    }
    this.#take('skel_free(skel); }');
  }

  #open(): void {
    const skel = this.#name;
    this.#take(`(void) { struct ${skel} *skel; skel = (struct ${skel} *)skel_alloc(sizeof(*skel)); if (!skel) goto cleanup;`);
    this.#take('skel->ctx.sz = (char *)&skel->links - (char *)skel;');
    while (!this.#looksAt('return')) this.#initialValue();
    this.#take(`return skel; cleanup: ${skel}__destroy(skel); return NULL; }`);
  }

  /** The newer form keeps the bytes in a block's `data`, the older one in the call itself. */
  #initialValue(): void {
    const isBlock = this.#tryTake('{');
    const declared = isBlock && this.#tryTake('static const char data[] __attribute__((__aligned__(8))) =')
      ? this.#string('the initial value of a map') : undefined;
    if (declared !== undefined) this.#take(';');
    this.#take('skel ->');
    const map = this.#mapNamed(this.#nameUntil(['='], 'the name of a data section'));
    this.#take('=');
    this.#tryTake(`(__typeof__(skel->${map}))`);
    this.#take('skel_prep_map_data((void *)');
    const value = declared ?? this.#string('the initial value of a map');
    if (declared !== undefined) this.#take('data');
    this.#take(',');
    const mmapSize = this.#number('the size of a mapping');
    this.#take(',');
    this.#sizeOf('data', value.bytes, `initial value of ${map}`);
    this.#take(`); if (!skel->${map}) goto cleanup; skel->maps.${map}.initial_value = (__u64) (long) skel->${map};`);
    if (isBlock) this.#take('}');
    if (this.#initial.has(map)) this.#failAt(value.line, `a second initial value of ${map}`);
    this.#initial.set(map, { bytes: value.bytes, mmapSize: mmapSize.value, line: mmapSize.line });
  }

  #mapNamed(member: { readonly name: string; readonly line: number }): string {
    if (!this.#struct.maps.some((map) => map.name === member.name)) this.#failAt(member.line, `no map named ${printable(member.name)}`);
    return member.name;
  }

  /** `sizeof(NAME) - 1`, or in older skeletons the number itself, which then must be the true one. */
  #sizeOf(name: string, bytes: Uint8Array, what: string): void {
    if (this.#tryTake(`sizeof(${name}) - 1`)) return;
    const size = this.#number(`the size of the ${what}`);
    if (size.value !== bytes.length) this.#failAt(size.line, `the ${what} has ${bytes.length} bytes, its size says ${size.value}`);
  }

  #loadFunction(): void {
    this.#take(`(struct ${this.#name} *skel) { struct bpf_load_and_run_opts opts = {}; int err;`);
    while (this.#tryTake('static const char')) this.#declaredString();
    while (!this.#tryTake('err = bpf_load_and_run(&opts); if (err < 0) return err;')) this.#option();
    while (!this.#looksAt('return')) this.#finalize();
    this.#take('return 0; }');
  }

  #declaredString(): void {
    const { name, line } = this.#nameUntil(['['], 'the name of a string');
    this.#take('[] __attribute__((__aligned__(8))) =');
    const string = this.#string(`the bytes of ${printable(name)}`);
    this.#take(';');
    if (this.#load.strings.has(name)) this.#failAt(line, `the name ${printable(name)} appears twice`);
    if (this.#load.strings.size > 16) this.#failAt(line, 'too many strings');
    this.#load.strings.set(name, string);
  }

  #option(): void {
    const start = this.#peek();
    this.#take('opts .');
    const { name } = this.#nameUntil(['='], 'the name of an option');
    this.#take('=');
    switch (name) {
      case 'ctx': this.#take('(struct bpf_loader_ctx *)skel'); break;
      case 'keyring_id': this.#take('skel->keyring_id'); break;
      case 'data': this.#load.metadata = this.#bytesOption('data_sz', this.#load.metadata, start); break;
      case 'insns': this.#load.instructions = this.#bytesOption('insns_sz', this.#load.instructions, start); break;
      case 'data_sz': case 'insns_sz': case 'signature_sz': case 'excl_prog_hash_sz': this.#sizeOption(name, start); break;
      case 'signature': this.#signatureOption(start); break;
      case 'excl_prog_hash': this.#hashOption(start); break;
      default: this.#failAt(start.line, `unknown option ${printable(name)} of the load`);
    }
    this.#take(';');
  }

  readonly #sizes = new Map<string, { readonly of: string | number; readonly line: number }>();
  readonly #sources = new Map<string, { readonly name: string; readonly bytes: Uint8Array; readonly line: number }>();

  #sizeOption(option: string, start: Token): void {
    if (this.#sizes.has(option)) this.#failAt(start.line, `a second opts.${option}`);
    if (this.#tryTake('sizeof(')) {
      const { name } = this.#nameUntil([')'], 'the name of a string');
      this.#take(') - 1');
      this.#sizes.set(option, { of: name, line: start.line });
    } else {
      this.#sizes.set(option, { of: this.#number(`opts.${option}`).value, line: start.line });
    }
  }

  #bytesOption(sizeOption: string, previous: Uint8Array | undefined, start: Token): Uint8Array {
    if (previous !== undefined) this.#failAt(start.line, `a second option with size ${sizeOption}`);
    this.#take('(void *)');
    if (this.#peek().kind === 'string') {
      const string = this.#string('bytes');
      this.#sources.set(sizeOption, { name: '', bytes: string.bytes, line: start.line });
      return string.bytes;
    }
    const { name, line } = this.#nameUntil([';'], 'the name of a string');
    const string = this.#load.strings.get(name);
    if (string === undefined) return this.#failAt(line, `no string named ${printable(name)}`);
    this.#sources.set(sizeOption, { name, bytes: string.bytes, line: string.line });
    return string.bytes;
  }

  #signatureOption(start: Token): void {
    const bytes = this.#bytesOption('signature_sz', this.#sources.get('signature_sz')?.bytes, start);
    this.#load.signature = { bytes, exclusiveHash: this.#load.signature?.exclusiveHash ?? new Uint8Array(0), line: start.line };
  }

  #hashOption(start: Token): void {
    const exclusiveHash = this.#bytesOption('excl_prog_hash_sz', this.#sources.get('excl_prog_hash_sz')?.bytes, start);
    this.#load.signature = { bytes: this.#load.signature?.bytes ?? new Uint8Array(0), exclusiveHash, line: this.#load.signature?.line ?? start.line };
  }

  #finalize(): void {
    const start = this.#peek();
    if (this.#tryTake('err = skel_protect_map_data(skel->')) {
      const map = this.#mapNamed(this.#nameUntil([','], 'the name of a map'));
      this.#take(`, &skel->maps.${map}.initial_value,`);
      this.#setAccess(map, 'protect', this.#number('the size of a mapping').value, start);
      this.#take('); if (err) return err;');
      return;
    }
    this.#take('skel ->');
    const map = this.#mapNamed(this.#nameUntil(['='], 'the name of a data section'));
    this.#take('=');
    this.#tryTake(`(__typeof__(skel->${map}))`);
    this.#take(`skel_finalize_map_data(&skel->maps.${map}.initial_value,`);
    const size = this.#number('the size of a mapping').value;
    this.#take(', PROT_READ');
    this.#setAccess(map, this.#tryTake('| PROT_WRITE') ? 'read-write' : 'read', size, start);
    this.#take(`, skel->maps.${map}.map_fd); if (!skel->${map}) return -ENOMEM;`);
  }

  #setAccess(map: string, access: SkeletonData['access'], mmapSize: number, start: Token): void {
    if (this.#load.access.has(map)) this.#failAt(start.line, `${printable(map)} is mapped twice`);
    this.#load.access.set(map, { access, mmapSize });
  }

  #openAndLoad(): void {
    const skel = this.#name;
    this.#take(`(void) { struct ${skel} *skel; skel = ${skel}__open(); if (!skel) return NULL;`);
    this.#take(`if (${skel}__load(skel)) { ${skel}__destroy(skel); return NULL; } return skel; }`);
  }

  #assert(): void {
    this.#take(`(struct ${this.#name} *s __attribute__((unused))) {`);
    while (!this.#tryTake('}')) {
      this.#take('_Static_assert(sizeof(s->');
      const section = this.#nameUntil(['->'], 'the name of a data section');
      this.#take('->');
      const variable = this.#nameUntil([')'], 'the name of a variable');
      this.#take(') ==');
      const size = this.#number('the size of a variable');
      this.#take(',');
      this.#string('a message');
      this.#take(');');
      const sizes = this.#asserts.get(section.name) ?? new Map<string, number>();
      this.#asserts.set(section.name, sizes.set(variable.name, size.value));
    }
  }

  // --- the whole ----------------------------------------------------------------------------------------------------

  /** A definition could give the text after it another meaning than the one read here. */
  #checkDirectives(): void {
    let guards = 0;
    for (const { name, argument, line } of this.#lexer.directives) {
      const isGuard = name === 'define' && !/\s/.test(argument) && guards++ === 0;
      if (name === 'include' || isGuard) continue;
      this.#failAt(line, `#${name} ${printable(argument)}: a light skeleton defines nothing but its include guard`);
    }
  }

  #assemble(): LightSkeleton {
    for (const part of ['open', 'load', 'destroy']) {
      if (!this.#functions.has(`${this.#name}__${part}`)) {
        this.#failAt(this.#peek().line, `the file ends without the function ${printable(this.#name)}__${part}`);
      }
    }
    this.#checkSizes();
    const metadata = this.#required(this.#load.metadata, 'opts.data');
    const instructions = this.#required(this.#load.instructions, 'opts.insns');
    const source = this.#sources.get('insns_sz');
    if (instructions.length === 0 || instructions.length % 8 !== 0) {
      this.#failAt(source?.line ?? 0, `the loader program has ${instructions.length} bytes, which is no whole number of instructions`);
    }
    const { maps, programs, links, structOpsSize } = this.#struct;
    return {
      file: this.#file,
      name: this.#name,
      maps: maps.map((map) => ({ ...map, data: this.#mapData(map.name, map.line) }) satisfies SkeletonMap),
      programs: programs.map((program) => ({ ...program, attach: this.#attach.get(program.name) ?? { kind: 'none' } }) satisfies SkeletonProgram),
      links,
      structOpsSize,
      contextSize: LOADER_CTX_SIZE + MAP_DESC_SIZE * maps.length + structOpsSize + PROG_DESC_SIZE * programs.length,
      metadata,
      instructions,
      signature: this.#signature(),
      extraFunctions: this.#extra,
    };
  }

  #required<T>(value: T | undefined, what: string): T {
    return value ?? this.#failAt(this.#functions.get(`${this.#name}__load`) ?? 0, `${printable(this.#name)}__load does not set ${what}`);
  }

  #checkSizes(): void {
    const loadLine = this.#functions.get(`${this.#name}__load`) ?? 0;
    for (const [option, source] of this.#sources) {
      const size = this.#sizes.get(option);
      if (size === undefined) this.#failAt(loadLine, `opts.${option} is not set`);
      const length = typeof size.of === 'number' ? size.of : this.#load.strings.get(size.of)?.bytes.length;
      if (length === undefined) this.#failAt(size.line, `no string named ${printable(String(size.of))}`);
      if (length !== source.bytes.length) this.#failAt(size.line, `opts.${option} says ${length} bytes, there are ${source.bytes.length}`);
    }
    for (const [option, size] of this.#sizes) {
      if (!this.#sources.has(option)) this.#failAt(size.line, `opts.${option} is set without the bytes it belongs to`);
    }
  }

  #signature(): SkeletonSignature | undefined {
    const signature = this.#load.signature;
    if (signature === undefined) return undefined;
    for (const option of ['signature_sz', 'excl_prog_hash_sz']) {
      if (!this.#sources.has(option)) this.#failAt(signature.line, `a signed skeleton without opts.${stripSuffix(option, '_sz')}`);
    }
    if (!this.#struct.hasKeyringID) this.#failAt(signature.line, 'a signed skeleton without the member keyring_id');
    return signature;
  }

  #mapData(name: string, line: number): SkeletonData | undefined {
    const initial = this.#initial.get(name);
    const finalized = this.#load.access.get(name);
    if (initial === undefined && finalized === undefined) return undefined;
    if (initial === undefined || finalized === undefined) {
      return this.#failAt(line, `map ${printable(name)} is ${initial === undefined ? 'mapped without' : 'not mapped but has'} an initial value`);
    }
    const sizes = [finalized.mmapSize, this.#freed.get(name)?.size ?? finalized.mmapSize];
    for (const size of sizes) {
      if (size !== initial.mmapSize) this.#failAt(initial.line, `the mapping of ${printable(name)} has ${initial.mmapSize} bytes here and ${size} elsewhere`);
    }
    if (initial.bytes.length > initial.mmapSize || initial.mmapSize % 4096 !== 0) {
      this.#failAt(initial.line, `the initial value of ${printable(name)} has ${initial.bytes.length} bytes, its mapping ${initial.mmapSize}`);
    }
    const variables = this.#variables(name, initial);
    return { initialValue: initial.bytes, mmapSize: initial.mmapSize, access: finalized.access, variables };
  }

  /** Names come from the size assertions, which are in the order of the declarations and leave out padding. */
  #variables(section: string, initial: InitialValue): SkeletonVariable[] {
    const sizes = [...(this.#asserts.get(section) ?? [])];
    let next = 0;
    let total = 0;
    const variables = (this.#struct.sections.get(section) ?? []).map(({ text: declaration, words }): SkeletonVariable => {
      const padding = /^char __pad\d+\[(\d+)\]$/.exec(declaration);
      if (padding !== null) {
        total += Number(padding[1]);
        return { name: '', declaration, size: Number(padding[1]) };
      }
      const candidate = sizes[next];
      if (candidate === undefined || !words.includes(candidate[0])) return { name: '', declaration, size: undefined };
      next++;
      total += candidate[1];
      return { name: candidate[0], declaration, size: candidate[1] };
    });
    if (next < sizes.length) this.#failAt(initial.line, `no variable ${printable(sizes[next]?.[0] ?? '')} in section ${printable(section)}`);
    if (total > initial.bytes.length) {
      this.#failAt(initial.line, `the variables of ${printable(section)} take ${total} bytes, its initial value has ${initial.bytes.length}`);
    }
    return variables;
  }
}

function stripSuffix(text: string, suffix: string): string {
  return text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes.subarray(0, 4096)) text += String.fromCharCode(byte);
  return text;
}

function decodeName(bytes: Uint8Array): string {
  return new TextDecoder('utf-8').decode(bytes).trim();
}

/** A short, one-line form of text from a file. */
function printable(text: string): string {
  const clean = text.replace(/[^\x21-\x7e ]/g, '?');
  return `"${clean.length > 60 ? `${clean.slice(0, 57)}...` : clean}"`;
}
