import { tokenize } from './lexer.ts';
import { isMnemonic } from './mnemonics.ts';
import { SIZE_KEYWORDS } from './operand-parser.ts';
import { registerNamed } from './registers.ts';
import { type Diagnostic, Diagnostics, type SourceRange, spanOf } from './source.ts';
import { directiveNames, isPrefix, parseStatement } from './statement-parser.ts';
import type { Label, Statement } from './syntax.ts';
import { isPunctuator, type Token, type TokenLine } from './token.ts';

/** What a token is to a reader; for semantic colours. */
export type TokenRole =
  | 'mnemonic'
  | 'prefix'
  | 'directive'
  | 'preprocessor'
  | 'macro'
  | 'register'
  | 'keyword'
  | 'definition'
  | 'symbol'
  | 'number'
  | 'string'
  | 'operator'
  | 'comment';

export interface ClassifiedToken {
  readonly role: TokenRole;
  readonly text: string;
  readonly range: SourceRange;
}

export type DefinitionKind = 'label' | 'equ' | 'structure' | 'section' | 'macro' | 'define';

export interface Definition {
  /** With the label a local name belongs to: `start.loop`. */
  readonly name: string;
  readonly kind: DefinitionKind;
  /** The name itself. */
  readonly range: SourceRange;
  /** From the name to the last line of a macro or structure, else the name's line. */
  readonly lastLine: number;
  /** Parameters of a macro as written, such as `1-3` or `(a, b)`. */
  readonly parameters?: string;
}

export interface Reference {
  /** With the label a local name belongs to. */
  readonly name: string;
  readonly range: SourceRange;
}

/** A line as written, before preprocessing. */
export type ParsedLine =
  | { readonly kind: 'statement'; readonly statement: Statement }
  | {
      readonly kind: 'preprocessor';
      readonly directive: Token;
      readonly arguments: readonly Token[];
      readonly range: SourceRange;
    }
  | {
      readonly kind: 'macro-call';
      readonly name: Token;
      readonly label?: Label;
      readonly arguments: readonly Token[];
      readonly range: SourceRange;
    };

/** A source file as an editor sees it. Lines that are not well-formed are there as well, as far as they can be read. */
export interface ParsedSource {
  readonly file: string;
  readonly lines: readonly ParsedLine[];
  readonly tokens: readonly ClassifiedToken[];
  readonly definitions: readonly Definition[];
  readonly references: readonly Reference[];
  readonly includes: readonly {
    readonly path: string;
    readonly range: SourceRange;
    readonly kind: 'source' | 'binary';
  }[];
  /** Only what can be said of a line without preprocessing it; `assemble` says the rest. */
  readonly diagnostics: readonly Diagnostic[];
}

export interface ParseOptions {
  /** Names of multi-line macros that other files define. */
  readonly macros?: Iterable<string>;
}

/** Parses one file for an editor, without assembling or including anything. Never throws. */
export function parse(file: string, text: string, options: ParseOptions = {}): ParsedSource {
  const diagnostics = new Diagnostics();
  const lines = tokenize(file, text, diagnostics);
  const reader = new Reader(file, lines, options);
  for (const line of lines) reader.read(line);
  return { ...reader.result(), diagnostics: diagnostics.list };
}

const DIRECTIVE_NAMES: ReadonlySet<string> = new Set(directiveNames());
const KEYWORDS: ReadonlySet<string> = new Set([
  ...Object.keys(SIZE_KEYWORDS),
  ...'near far short strict rel abs nosplit to dup seg wrt times equ ptr a16 a32 a64'.split(' '),
]);

const MACRO_DEFINERS: ReadonlySet<string> = new Set(['%macro', '%imacro']);
const NAME_DEFINERS: ReadonlySet<string> = new Set(
  '%define %xdefine %idefine %ixdefine %assign %iassign %defstr %deftok %strlen %substr %strcat'.split(' '),
);

class Reader {
  readonly #file: string;
  readonly #macros = new Set<string>();
  readonly #lines: ParsedLine[] = [];
  readonly #tokens: ClassifiedToken[] = [];
  readonly #definitions: Definition[] = [];
  readonly #references: Reference[] = [];
  readonly #includes: { path: string; range: SourceRange; kind: 'source' | 'binary' }[] = [];
  readonly #open: { index: number; closers: ReadonlySet<string> }[] = [];
  #scope = '';

  constructor(file: string, lines: readonly TokenLine[], options: ParseOptions) {
    this.#file = file;
    for (const name of options.macros ?? []) this.#macros.add(name.toLowerCase());
    for (const { tokens } of lines) {
      const [first, name] = tokens;
      if (first && name && MACRO_DEFINERS.has(first.text.toLowerCase())) this.#macros.add(name.text.toLowerCase());
    }
  }

  result(): Omit<ParsedSource, 'diagnostics'> {
    return {
      file: this.#file,
      lines: this.#lines,
      tokens: this.#tokens,
      definitions: this.#definitions,
      references: this.#references,
      includes: this.#includes,
    };
  }

  read(line: TokenLine): void {
    const [first] = line.tokens;
    if (first) {
      if (first.kind === 'preprocessor' && /^%[A-Za-z]/u.test(first.text)) this.#preprocessor(line, first);
      else this.#assembly(line);
    }
    if (line.comment) this.#tokens.push({ role: 'comment', text: '', range: line.comment });
  }

  #classify(token: Token, role: TokenRole): void {
    this.#tokens.push({ role, text: token.text, range: token.range });
  }

  #define(definition: Definition): void {
    this.#definitions.push(definition);
  }

  #preprocessor(line: TokenLine, directive: Token): void {
    const word = directive.text.toLowerCase();
    const rest = line.tokens.slice(1);
    this.#lines.push({ kind: 'preprocessor', directive, arguments: rest, range: rangeOf(line) });
    this.#classify(directive, 'preprocessor');
    this.#closeBlock(word, line.range.line);
    const [name, ...others] = rest;
    const isMacro = MACRO_DEFINERS.has(word);
    if (name?.kind === 'identifier' && (isMacro || NAME_DEFINERS.has(word))) {
      this.#classify(name, 'definition');
      if (isMacro) this.#open.push({ index: this.#definitions.length, closers: new Set(['%endmacro', '%endm']) });
      const kind = isMacro ? 'macro' : 'define';
      const parameters = isMacro ? others.map((token) => token.text).join('') : parameterList(others);
      const definition: Definition = { name: name.text, kind, range: name.range, lastLine: line.range.line };
      this.#define(parameters === '' ? definition : { ...definition, parameters });
      this.#operands(others);
      return;
    }
    if (word === '%include' && name?.kind === 'string') {
      this.#includes.push({ path: name.value ?? '', range: name.range, kind: 'source' });
    }
    this.#operands(rest);
  }

  #closeBlock(word: string, line: number): void {
    const open = this.#open.at(-1);
    if (!open?.closers.has(word)) return;
    this.#open.pop();
    const definition = this.#definitions[open.index];
    if (definition) this.#definitions[open.index] = { ...definition, lastLine: line };
  }

  #assembly(line: TokenLine): void {
    const call = this.#macroCall(line);
    if (call) {
      this.#lines.push(call);
      if (call.label) this.#label(call.label, 'label');
      const colon = line.tokens[1];
      if (call.label && colon && isPunctuator(colon, ':')) this.#classify(colon, 'operator');
      this.#classify(call.name, 'macro');
      this.#references.push({ name: call.name.text, range: call.name.range });
      this.#operands(call.arguments);
      return;
    }
    // What is wrong with the line shows when it is assembled; here it may still hold macros.
    const statement = parseStatement(line, new Diagnostics(0));
    this.#lines.push({ kind: 'statement', statement });
    const { label, body } = statement;
    const colon = label && isPunctuator(line.tokens[1], ':') ? line.tokens[1] : undefined;
    if (label) this.#label(label, body.kind === 'equ' ? 'equ' : 'label');
    if (colon) this.#classify(colon, 'operator');
    const afterLabel = label ? (colon ? 2 : 1) : 0;
    if (body.kind === 'directive') this.#directive(body.name, body.arguments, line.range.line);
    if (body.kind === 'incbin') {
      this.#includes.push({ path: body.path.value ?? '', range: body.path.range, kind: 'binary' });
    }
    const isStructure = body.kind === 'directive' && body.name.text.toLowerCase() === 'struc';
    this.#statementTokens(line.tokens.slice(afterLabel), isStructure);
  }

  #macroCall(line: TokenLine): (ParsedLine & { kind: 'macro-call' }) | undefined {
    const { tokens } = line;
    const labelled = isPunctuator(tokens[1], ':');
    for (const start of labelled ? [2] : [0, 1]) {
      const name = tokens[start];
      if (name?.kind !== 'identifier' || !this.#macros.has(name.text.toLowerCase())) continue;
      const first = tokens[0];
      const label = start > 0 && first ? { name: first.text, range: first.range, hasColon: labelled } : undefined;
      const call = { kind: 'macro-call' as const, name, arguments: tokens.slice(start + 1), range: rangeOf(line) };
      return label ? { ...call, label } : call;
    }
    return undefined;
  }

  #label(label: Label, kind: 'label' | 'equ'): void {
    const name = this.#fullName(label.name);
    if (kind === 'label' && !label.name.startsWith('.')) this.#scope = label.name;
    this.#define({ name, kind, range: label.range, lastLine: label.range.line });
    this.#tokens.push({ role: 'definition', text: label.name, range: label.range });
  }

  #fullName(name: string): string {
    return name.startsWith('.') && !name.startsWith('..') ? this.#scope + name : name;
  }

  #directive(name: Token, args: readonly Token[], line: number): void {
    const word = name.text.toLowerCase();
    const [first] = args;
    this.#closeBlock(word, line);
    if (!first) return;
    if (word === 'section' || word === 'segment') {
      this.#define({ name: first.text, kind: 'section', range: first.range, lastLine: line });
    }
    if (word !== 'struc') return;
    this.#open.push({ index: this.#definitions.length, closers: new Set(['endstruc']) });
    this.#define({ name: first.text, kind: 'structure', range: first.range, lastLine: line });
    this.#scope = first.text;
  }

  /** Colours the tokens of a statement; the first word that is no prefix is the instruction or directive. */
  #statementTokens(tokens: readonly Token[], definesName: boolean): void {
    let index = 0;
    for (let token = tokens[index]; token; token = tokens[++index]) {
      const word = token.text.toLowerCase();
      if (token.kind !== 'identifier') this.#operand(token);
      else if (word === 'times') {
        this.#classify(token, 'directive');
        while (tokens[index + 1] && !isStatementWord(tokens[index + 1])) {
          const next = tokens[++index];
          if (next) this.#operand(next);
        }
      } else if (isPrefix(word) && tokens[index + 1]?.kind === 'identifier') this.#classify(token, 'prefix');
      else {
        this.#classify(token, isMnemonic(word) ? 'mnemonic' : DIRECTIVE_NAMES.has(word) ? 'directive' : 'symbol');
        break;
      }
    }
    const name = definesName ? tokens[index + 1] : undefined;
    if (name) this.#classify(name, 'definition');
    this.#operands(tokens.slice(index + (name ? 2 : 1)));
  }

  #operands(tokens: readonly Token[]): void {
    for (const token of tokens) this.#operand(token);
  }

  #operand(token: Token): void {
    if (token.kind !== 'identifier') {
      this.#classify(token, token.kind === 'punctuator' ? 'operator' : token.kind);
      return;
    }
    const word = token.text.toLowerCase();
    if (registerNamed(word)) this.#classify(token, 'register');
    else if (KEYWORDS.has(word)) this.#classify(token, 'keyword');
    else {
      this.#classify(token, 'symbol');
      const name = token.text.startsWith('$') ? token.text.slice(1) : token.text;
      this.#references.push({ name: this.#fullName(name), range: token.range });
    }
  }
}

function isStatementWord(token: Token | undefined): boolean {
  if (token?.kind !== 'identifier') return false;
  const word = token.text.toLowerCase();
  return isMnemonic(word) || DIRECTIVE_NAMES.has(word) || isPrefix(word);
}

function parameterList(tokens: readonly Token[]): string {
  const [open] = tokens;
  if (!isPunctuator(open, '(') || open?.spaced) return '';
  const close = tokens.findIndex((token) => isPunctuator(token, ')'));
  return tokens
    .slice(0, close + 1)
    .map((token) => token.text)
    .join('');
}

function rangeOf(line: TokenLine): SourceRange {
  const [first] = line.tokens;
  const last = line.tokens.at(-1);
  return first && last ? spanOf(first.range, last.range) : line.range;
}
