/**
 * @module loader/lskel
 * Reads a light skeleton (`bpftool gen skeleton -L [-S]`) without a C compiler. The text is taken as a fixed form filled with
 * names, numbers and strings; whatever departs from the form is refused with its line, because a reader who audits a skeleton
 * must not be shown less than a compiler would see. Owns the grammar; tokens are `lskel-tokens.ts`, what comes together is
 * `lskel-parts.ts`, the result `skeleton.ts`.
 * Reproduces what `tools/bpf/bpftool/gen.c` of Linux 5.18 to 7.3 writes.
 */
import { InputError } from '../isa/errors.ts';
import type { Token } from './c-lexer.ts';
import { SkeletonParts, stripSuffix, type Declaration } from './lskel-parts.ts';
import { printable, TokenReader } from './lskel-tokens.ts';
import type { LightSkeleton, SkeletonAttach, SkeletonData } from './skeleton.ts';

/** More members than any loader takes (64 maps, 32 programs), far fewer than would cost time. */
const MAX_MEMBERS = 4096;
/** Braces and parentheses inside one another in a skipped declaration. */
const MAX_NESTING = 256;
/** Tokens of one declaration or of one unknown function. */
const MAX_SKIPPED_TOKENS = 1_000_000;

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

class SkeletonParser {
  readonly #tokens: TokenReader;
  readonly #parts: SkeletonParts;

  constructor(source: Uint8Array, file: string) {
    this.#tokens = new TokenReader(source, file);
    this.#parts = new SkeletonParts(file);
  }

  parse(): LightSkeleton {
    if (this.#tokens.peek().kind === 'end') throw new InputError(this.#parts.file, '', 'the file holds nothing but blanks and comments');
    this.#parseStruct();
    while (this.#tokens.peek().kind !== 'end') this.#parseFunction();
    this.#checkDirectives();
    return this.#parts.assemble(this.#tokens.peek().line);
  }

  // --- struct NAME { … }; -------------------------------------------------------------------------------------------

  #parseStruct(): void {
    const first = this.#tokens.peek();
    if (!this.#tokens.tryTake('struct')) this.#tokens.failAt(first.line, `not a light skeleton: expected "struct NAME {", found ${printable(first.text)}`);
    this.#parts.name = this.#tokens.nameUntil(['{', ';', '(', '='], 'the name of the skeleton').name;
    this.#tokens.take('{');
    if (this.#tokens.looksAt('struct bpf_object_skeleton')) {
      this.#tokens.failAt(first.line, 'this is an ordinary skeleton; a light one is made by gen skeleton -L');
    }
    if (!this.#tokens.tryTake('struct bpf_loader_ctx ctx;')) {
      this.#tokens.failAt(this.#tokens.peek().line, 'not a light skeleton: expected "struct bpf_loader_ctx ctx;" as the first member');
    }
    while (!this.#tokens.tryTake('}')) this.#parseMember();
    this.#tokens.take(';');
  }

  #parseMember(): void {
    if (this.#tokens.looksAt('struct {')) return this.#parseGroup();
    const line = this.#tokens.peek().line;
    if (this.#tokens.tryTake('__s32 keyring_id;')) {
      if (this.#parts.struct.hasKeyringID) this.#tokens.failAt(line, 'a second member keyring_id');
      this.#parts.struct.hasKeyringID = true;
      return;
    }
    this.#parseSection();
  }

  #parseGroup(): void {
    const line = this.#tokens.take('struct {').line;
    if (this.#tokens.looksAt('struct bpf_map_desc')) {
      if (this.#parts.struct.programs.length + this.#parts.struct.structOpsSize > 0) this.#tokens.failAt(line, 'maps must come before the programs');
      this.#descriptors('struct bpf_map_desc', this.#parts.struct.maps);
      this.#tokens.take('maps;');
    } else if (this.#tokens.looksAt('struct bpf_prog_desc')) {
      if (this.#parts.struct.links.length > 0) this.#tokens.failAt(line, 'programs must come before the links');
      this.#descriptors('struct bpf_prog_desc', this.#parts.struct.programs);
      this.#tokens.take('progs;');
    } else if (this.#tokens.looksAt('int')) {
      const links: { name: string; line: number }[] = [];
      this.#descriptors('int', links);
      this.#tokens.take('links;');
      for (const link of links) this.#parts.struct.links.push(stripSuffix(link.name, '_fd'));
    } else {
      this.#structOps();
      this.#tokens.take('struct_ops;');
    }
  }

  #descriptors(type: string, into: { readonly name: string; readonly line: number }[]): void {
    const seen = new Set(into.map((member) => member.name));
    if (seen.size > 0) this.#tokens.failAt(this.#tokens.peek().line, `a second group of ${type}`);
    while (!this.#tokens.tryTake('}')) {
      this.#tokens.take(type);
      const member = this.#tokens.nameUntil([';'], `the name of a ${type}`);
      this.#tokens.take(';');
      if (seen.has(member.name)) this.#tokens.failAt(member.line, `the name ${printable(member.name)} appears twice`);
      if (seen.size >= MAX_MEMBERS) this.#tokens.failAt(member.line, `more than ${MAX_MEMBERS} members`);
      seen.add(member.name);
      into.push(member);
    }
  }

  /** `struct OBJ__IDENT__TYPE { … } *IDENT;` per struct_ops map: one pointer each. */
  #structOps(): void {
    while (!this.#tokens.tryTake('}')) {
      this.#tokens.take('struct');
      this.#tokens.nameUntil(['{'], 'the name of a struct_ops type');
      this.#skipBalanced('{', '}');
      this.#tokens.take('*');
      this.#tokens.nameUntil([';'], 'the name of a struct_ops member');
      this.#tokens.take(';');
      this.#parts.struct.structOpsSize += 8;
    }
  }

  /** `struct NAME__IDENT { declarations } *IDENT;` */
  #parseSection(): void {
    const line = this.#tokens.peek().line;
    if (!this.#tokens.tryTake('struct')) this.#tokens.fail(this.#tokens.peek(), 'a member of a light skeleton');
    this.#tokens.nameUntil(['{', ';', '*'], 'the name of a data section');
    this.#tokens.take('{');
    const declarations: Declaration[] = [];
    while (!this.#tokens.tryTake('}')) {
      declarations.push(this.#declaration());
      if (declarations.length > 65_536) this.#tokens.failAt(line, 'more than 65536 variables in a data section');
    }
    this.#tokens.take('*');
    const ident = this.#tokens.nameUntil([';'], 'the name of a data section');
    this.#tokens.take(';');
    if (this.#parts.struct.sections.has(ident.name)) this.#tokens.failAt(ident.line, `the name ${printable(ident.name)} appears twice`);
    this.#parts.struct.sections.set(ident.name, declarations);
  }

  /** One C declaration up to its semicolon. */
  #declaration(): Declaration {
    const words: string[] = [];
    const start = this.#tokens.peek().start;
    let end = start;
    let depth = 0;
    for (let count = 0; ; count++) {
      const token = this.#tokens.next();
      if (token.kind === 'end' || count > MAX_SKIPPED_TOKENS) return this.#tokens.fail(token, 'the end of a declaration');
      if (token.kind === 'punctuation') {
        if ('{(['.includes(token.text)) depth++;
        else if ('})]'.includes(token.text)) depth--;
        else if (token.text === ';' && depth === 0) return { text: this.#tokens.slice(start, end).replace(/\s+/g, ' '), words };
        if (depth < 0 || depth > MAX_NESTING) this.#tokens.fail(token, 'the end of a declaration');
      }
      end = token.end;
      if (words.length < 4096) words.push(token.text);
    }
  }

  #skipBalanced(open: string, close: string): void {
    this.#tokens.take(open);
    let depth = 1;
    for (let count = 0; depth > 0; count++) {
      const token = this.#tokens.next();
      if (token.kind === 'end' || count > MAX_SKIPPED_TOKENS) this.#tokens.fail(token, printable(close));
      if (token.kind !== 'punctuation') continue;
      if (token.text === open) depth++;
      else if (token.text === close) depth--;
      if (depth > MAX_NESTING) this.#tokens.fail(token, `fewer than ${MAX_NESTING} ${open} inside one another`);
    }
  }

  // --- functions ----------------------------------------------------------------------------------------------------

  #parseFunction(): void {
    const line = this.#tokens.peek().line;
    if (this.#tokens.tryTake('__attribute__')) this.#skipBalanced('(', ')');
    if (!this.#tokens.tryTake('static')) this.#tokens.fail(this.#tokens.peek(), 'a static function');
    this.#tokens.tryTake('inline');
    const name = this.#functionName();
    if (this.#parts.functions.has(name)) this.#tokens.failAt(line, `a second function ${printable(name)}`);
    if (this.#parts.functions.size > 4 * MAX_MEMBERS) this.#tokens.failAt(line, 'too many functions');
    this.#parts.functions.set(name, line);
    this.#functionBody(name);
  }

  #functionName(): string {
    if (this.#tokens.tryTake('int') || this.#tokens.tryTake('void')) return this.#tokens.nameUntil(['('], 'the name of a function').name;
    this.#tokens.take('struct');
    this.#tokens.nameUntil(['*'], 'a type');
    this.#tokens.take('*');
    return this.#tokens.nameUntil(['('], 'the name of a function').name;
  }

  #functionBody(name: string): void {
    const skel = this.#parts.name;
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
    const program = this.#parts.struct.programs.find((candidate) => name === `${skel}__${candidate.name}__attach`);
    if (program !== undefined) return this.#attachOne(program.name);
    this.#skipBalanced('(', ')');
    this.#skipBalanced('{', '}');
    this.#parts.extra.push(name);
  }

  #attachOne(program: string): void {
    this.#tokens.take(`(struct ${this.#parts.name} *skel) { int prog_fd = skel->progs.${program}.prog_fd; int fd =`);
    this.#parts.attach.set(program, this.#attachCall());
    this.#tokens.take(`if (fd > 0) skel->links.${program}_fd = fd; return fd; }`);
  }

  #attachCall(): SkeletonAttach {
    if (this.#tokens.tryTake('((void)prog_fd, 0);')) return { kind: 'none' };
    if (this.#tokens.tryTake('skel_link_create(prog_fd, 0, BPF_TRACE_ITER);')) return { kind: 'iter' };
    this.#tokens.take('skel_raw_tracepoint_open(');
    const name = this.#tokens.tryTake('NULL') ? undefined : latin1(this.#tokens.string('the name of a raw tracepoint').bytes);
    this.#tokens.take(', prog_fd);');
    return { kind: 'raw_tracepoint', name };
  }

  #attachAll(): void {
    this.#tokens.take(`(struct ${this.#parts.name} *skel) { int ret = 0;`);
    for (const program of this.#parts.struct.programs) this.#tokens.take(`ret = ret < 0 ? ret : ${this.#parts.name}__${program.name}__attach(skel);`);
    this.#tokens.take('return ret < 0 ? ret : 0; }');
  }

  #detachAll(): void {
    this.#tokens.take(`(struct ${this.#parts.name} *skel) {`);
    for (const link of this.#parts.struct.links) this.#tokens.tryTake(`skel_closenz(skel->links.${link}_fd);`);
    this.#tokens.take('}');
  }

  #destroy(): void {
    this.#tokens.take(`(struct ${this.#parts.name} *skel) { if (!skel) return; ${this.#parts.name}__detach(skel);`);
    for (const program of this.#parts.struct.programs) this.#tokens.take(`skel_closenz(skel->progs.${program.name}.prog_fd);`);
    for (const map of this.#parts.struct.maps) {
      if (this.#tokens.tryTake(`skel_free_map_data(skel->${map.name}, skel->maps.${map.name}.initial_value,`)) {
        const size = this.#tokens.number('the size of a mapping');
        this.#parts.freed.set(map.name, { size: size.value, line: size.line });
        this.#tokens.take(');');
      }
      this.#tokens.take(`skel_closenz(skel->maps.${map.name}.map_fd);`);
    }
    this.#tokens.take('skel_free(skel); }');
  }

  #open(): void {
    const skel = this.#parts.name;
    this.#tokens.take(`(void) { struct ${skel} *skel; skel = (struct ${skel} *)skel_alloc(sizeof(*skel)); if (!skel) goto cleanup;`);
    this.#tokens.take('skel->ctx.sz = (char *)&skel->links - (char *)skel;');
    while (!this.#tokens.looksAt('return')) this.#initialValue();
    this.#tokens.take(`return skel; cleanup: ${skel}__destroy(skel); return NULL; }`);
  }

  /** The newer form keeps the bytes in a block's `data`, the older one in the call itself. */
  #initialValue(): void {
    const isBlock = this.#tokens.tryTake('{');
    const declared = isBlock && this.#tokens.tryTake('static const char data[] __attribute__((__aligned__(8))) =')
      ? this.#tokens.string('the initial value of a map') : undefined;
    if (declared !== undefined) this.#tokens.take(';');
    this.#tokens.take('skel ->');
    const map = this.#mapNamed(this.#tokens.nameUntil(['='], 'the name of a data section'));
    this.#tokens.take('=');
    this.#tokens.tryTake(`(__typeof__(skel->${map}))`);
    this.#tokens.take('skel_prep_map_data((void *)');
    const value = declared ?? this.#tokens.string('the initial value of a map');
    if (declared !== undefined) this.#tokens.take('data');
    this.#tokens.take(',');
    const mmapSize = this.#tokens.number('the size of a mapping');
    this.#tokens.take(',');
    this.#sizeOf('data', value.bytes, `initial value of ${map}`);
    this.#tokens.take(`); if (!skel->${map}) goto cleanup; skel->maps.${map}.initial_value = (__u64) (long) skel->${map};`);
    if (isBlock) this.#tokens.take('}');
    if (this.#parts.initial.has(map)) this.#tokens.failAt(value.line, `a second initial value of ${map}`);
    this.#parts.initial.set(map, { bytes: value.bytes, mmapSize: mmapSize.value, line: mmapSize.line });
  }

  #mapNamed(member: { readonly name: string; readonly line: number }): string {
    if (!this.#parts.struct.maps.some((map) => map.name === member.name)) this.#tokens.failAt(member.line, `no map named ${printable(member.name)}`);
    return member.name;
  }

  /** `sizeof(NAME) - 1`, or in older skeletons the number itself, which then must be the true one. */
  #sizeOf(name: string, bytes: Uint8Array, what: string): void {
    if (this.#tokens.tryTake(`sizeof(${name}) - 1`)) return;
    const size = this.#tokens.number(`the size of the ${what}`);
    if (size.value !== bytes.length) this.#tokens.failAt(size.line, `the ${what} has ${bytes.length} bytes, its size says ${size.value}`);
  }

  #loadFunction(): void {
    this.#tokens.take(`(struct ${this.#parts.name} *skel) { struct bpf_load_and_run_opts opts = {}; int err;`);
    while (this.#tokens.tryTake('static const char')) this.#declaredString();
    while (!this.#tokens.tryTake('err = bpf_load_and_run(&opts); if (err < 0) return err;')) this.#option();
    while (!this.#tokens.looksAt('return')) this.#finalize();
    this.#tokens.take('return 0; }');
  }

  #declaredString(): void {
    const { name, line } = this.#tokens.nameUntil(['['], 'the name of a string');
    this.#tokens.take('[] __attribute__((__aligned__(8))) =');
    const string = this.#tokens.string(`the bytes of ${printable(name)}`);
    this.#tokens.take(';');
    if (this.#parts.load.strings.has(name)) this.#tokens.failAt(line, `the name ${printable(name)} appears twice`);
    if (this.#parts.load.strings.size > 16) this.#tokens.failAt(line, 'too many strings');
    this.#parts.load.strings.set(name, string);
  }

  #option(): void {
    const start = this.#tokens.peek();
    this.#tokens.take('opts .');
    const { name } = this.#tokens.nameUntil(['='], 'the name of an option');
    this.#tokens.take('=');
    switch (name) {
      case 'ctx': this.#tokens.take('(struct bpf_loader_ctx *)skel'); break;
      case 'keyring_id': this.#tokens.take('skel->keyring_id'); break;
      case 'data': this.#parts.load.metadata = this.#bytesOption('data_sz', this.#parts.load.metadata, start); break;
      case 'insns': this.#parts.load.instructions = this.#bytesOption('insns_sz', this.#parts.load.instructions, start); break;
      case 'data_sz': case 'insns_sz': case 'signature_sz': case 'excl_prog_hash_sz': this.#sizeOption(name, start); break;
      case 'signature': this.#signatureOption(start); break;
      case 'excl_prog_hash': this.#hashOption(start); break;
      default: this.#tokens.failAt(start.line, `unknown option ${printable(name)} of the load`);
    }
    this.#tokens.take(';');
  }


  #sizeOption(option: string, start: Token): void {
    if (this.#parts.sizes.has(option)) this.#tokens.failAt(start.line, `a second opts.${option}`);
    if (this.#tokens.tryTake('sizeof(')) {
      const { name } = this.#tokens.nameUntil([')'], 'the name of a string');
      this.#tokens.take(') - 1');
      this.#parts.sizes.set(option, { of: name, line: start.line });
    } else {
      this.#parts.sizes.set(option, { of: this.#tokens.number(`opts.${option}`).value, line: start.line });
    }
  }

  #bytesOption(sizeOption: string, previous: Uint8Array | undefined, start: Token): Uint8Array {
    if (previous !== undefined) this.#tokens.failAt(start.line, `a second option with size ${sizeOption}`);
    this.#tokens.take('(void *)');
    if (this.#tokens.peek().kind === 'string') {
      const string = this.#tokens.string('bytes');
      this.#parts.sources.set(sizeOption, { name: '', bytes: string.bytes, line: start.line });
      return string.bytes;
    }
    const { name, line } = this.#tokens.nameUntil([';'], 'the name of a string');
    const string = this.#parts.load.strings.get(name);
    if (string === undefined) return this.#tokens.failAt(line, `no string named ${printable(name)}`);
    this.#parts.sources.set(sizeOption, { name, bytes: string.bytes, line: string.line });
    return string.bytes;
  }

  #signatureOption(start: Token): void {
    const bytes = this.#bytesOption('signature_sz', this.#parts.sources.get('signature_sz')?.bytes, start);
    this.#parts.load.signature = { bytes, exclusiveHash: this.#parts.load.signature?.exclusiveHash ?? new Uint8Array(0), line: start.line };
  }

  #hashOption(start: Token): void {
    const exclusiveHash = this.#bytesOption('excl_prog_hash_sz', this.#parts.sources.get('excl_prog_hash_sz')?.bytes, start);
    this.#parts.load.signature = { bytes: this.#parts.load.signature?.bytes ?? new Uint8Array(0), exclusiveHash, line: this.#parts.load.signature?.line ?? start.line };
  }

  #finalize(): void {
    const start = this.#tokens.peek();
    if (this.#tokens.tryTake('err = skel_protect_map_data(skel->')) {
      const map = this.#mapNamed(this.#tokens.nameUntil([','], 'the name of a map'));
      this.#tokens.take(`, &skel->maps.${map}.initial_value,`);
      this.#setAccess(map, 'protect', this.#tokens.number('the size of a mapping').value, start);
      this.#tokens.take('); if (err) return err;');
      return;
    }
    this.#tokens.take('skel ->');
    const map = this.#mapNamed(this.#tokens.nameUntil(['='], 'the name of a data section'));
    this.#tokens.take('=');
    this.#tokens.tryTake(`(__typeof__(skel->${map}))`);
    this.#tokens.take(`skel_finalize_map_data(&skel->maps.${map}.initial_value,`);
    const size = this.#tokens.number('the size of a mapping').value;
    this.#tokens.take(', PROT_READ');
    this.#setAccess(map, this.#tokens.tryTake('| PROT_WRITE') ? 'read-write' : 'read', size, start);
    this.#tokens.take(`, skel->maps.${map}.map_fd); if (!skel->${map}) return -ENOMEM;`);
  }

  #setAccess(map: string, access: SkeletonData['access'], mmapSize: number, start: Token): void {
    if (this.#parts.load.access.has(map)) this.#tokens.failAt(start.line, `${printable(map)} is mapped twice`);
    this.#parts.load.access.set(map, { access, mmapSize });
  }

  #openAndLoad(): void {
    const skel = this.#parts.name;
    this.#tokens.take(`(void) { struct ${skel} *skel; skel = ${skel}__open(); if (!skel) return NULL;`);
    this.#tokens.take(`if (${skel}__load(skel)) { ${skel}__destroy(skel); return NULL; } return skel; }`);
  }

  #assert(): void {
    this.#tokens.take(`(struct ${this.#parts.name} *s __attribute__((unused))) {`);
    while (!this.#tokens.tryTake('}')) {
      this.#tokens.take('_Static_assert(sizeof(s->');
      const section = this.#tokens.nameUntil(['->'], 'the name of a data section');
      this.#tokens.take('->');
      const variable = this.#tokens.nameUntil([')'], 'the name of a variable');
      this.#tokens.take(') ==');
      const size = this.#tokens.number('the size of a variable');
      this.#tokens.take(',');
      this.#tokens.string('a message');
      this.#tokens.take(');');
      const sizes = this.#parts.asserts.get(section.name) ?? new Map<string, number>();
      this.#parts.asserts.set(section.name, sizes.set(variable.name, size.value));
    }
  }

  // --- the whole ----------------------------------------------------------------------------------------------------

  /** A definition could give the text after it another meaning than the one read here. */
  #checkDirectives(): void {
    let guards = 0;
    for (const { name, argument, line } of this.#tokens.directives) {
      const isGuard = name === 'define' && !/\s/.test(argument) && guards++ === 0;
      if (name === 'include' || isGuard) continue;
      this.#tokens.failAt(line, `#${name} ${printable(argument)}: a light skeleton defines nothing but its include guard`);
    }
  }
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes.subarray(0, 4096)) text += String.fromCharCode(byte);
  return text;
}
