import { type Condition, conditionDirective } from './conditions.ts';
import { Cursor } from './cursor.ts';
import { type Expression, parseExpression, SyntaxProblem } from './expression.ts';
import { tokenize, tokenizeFragment } from './lexer.ts';
import { bindArguments, type MacroCall, type MultiLineMacro, substituteParameters } from './multi-line-macros.ts';
import { candidatePaths } from './paths.ts';
import { evaluateCondition } from './preprocessor-conditions.ts';
import { executePreprocessorDirective } from './preprocessor-directives.ts';
import { SingleLineMacros } from './single-line-macros.ts';
import type { Diagnostics, Expansion, SourceRange } from './source.ts';
import { isPunctuator, type Token, type TokenLine } from './token.ts';
import type { Value } from './value.ts';

/** What the preprocessor asks of the assembler that reads its lines. */
export interface PreprocessorHost {
  evaluate(expression: Expression, report: (range: SourceRange, message: string) => void): Value;
  readonly bits: number;
  readFile(path: string): Uint8Array | string | undefined;
}

export interface IncludedFile {
  readonly range: SourceRange;
  readonly path: string;
  /** Undefined when the file cannot be read. */
  readonly resolved?: string;
}

export interface Frame {
  readonly kind: 'file' | 'macro' | 'rep';
  readonly file: string;
  readonly lines: readonly TokenLine[];
  index: number;
  conditions: Condition[];
  readonly call?: MacroCall;
  readonly expansion?: Expansion;
  /** %rep: repetitions still to come after this one. */
  remaining: number;
}

const MAXIMUM_LINES = 250_000;
const MAXIMUM_TOKENS = 5_000_000;
const MAXIMUM_FRAMES = 1000;
const MAXIMUM_INCLUDES = 64;
/** The largest count of one %rep. */
export const MAXIMUM_REPETITIONS = 100_000;

/** Turns a source into the lines that the assembler reads: macros expanded, files included, conditions decided. */
export class Preprocessor {
  readonly diagnostics: Diagnostics;
  readonly host: PreprocessorHost;
  readonly singleLine: SingleLineMacros;
  readonly multiLine = new Map<string, MultiLineMacro[]>();
  readonly includes: IncludedFile[] = [];
  readonly contexts: { name: string; id: number }[] = [];
  readonly frames: Frame[] = [];
  /** A directive asked for an address or a symbol, so the lines may differ in the next pass. */
  dependsOnSymbols = false;
  stopped = false;
  #id = 0;
  #lineCount = 0;
  #tokenCount = 0;

  constructor(host: PreprocessorHost, diagnostics: Diagnostics) {
    this.host = host;
    this.diagnostics = diagnostics;
    this.singleLine = new SingleLineMacros(
      (range, message) => this.error(range, message),
      (name, range) => this.#builtIn(name, range),
    );
  }

  error(range: SourceRange, message: string): void {
    this.diagnostics.error(range, message, this.expansion);
  }

  get frame(): Frame | undefined {
    return this.frames.at(-1);
  }

  get expansion(): Expansion | undefined {
    return this.frame?.expansion;
  }

  nextId(): number {
    return this.#id++;
  }

  /** Defines macros from outside, such as `defines` of the options: name to value. */
  predefine(defines: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(defines)) {
      const range = { file: '<defines>', line: 1, column: 1, length: 1 };
      this.singleLine.define({
        name,
        range,
        ignoreCase: false,
        body: tokenizeFragment(value, range, this.diagnostics),
      });
    }
  }

  /** The lines after preprocessing. Read them lazily: later lines may depend on what the assembler makes of them. */
  *lines(file: string, text: string): Generator<TokenLine> {
    this.#pushFile(file, text);
    while (!this.stopped) {
      const line = this.#nextRawLine();
      if (!line) return;
      const tokens = this.#process(line);
      if (tokens === undefined) continue;
      const { expansion } = this;
      yield expansion ? { tokens, range: line.range, expansion } : { tokens, range: line.range };
    }
  }

  /** The next line as written; ends frames that are read to their end. */
  #nextRawLine(): TokenLine | undefined {
    for (let { frame } = this; frame; frame = this.frame) {
      const line = frame.lines[frame.index++];
      if (line) return this.#withinLimits(line) ? line : undefined;
      this.#endFrame(frame);
    }
    return undefined;
  }

  #withinLimits(line: TokenLine): boolean {
    this.#lineCount++;
    this.#tokenCount += line.tokens.length;
    if (this.#lineCount <= MAXIMUM_LINES && this.#tokenCount <= MAXIMUM_TOKENS) return true;
    this.error(line.range, `the source grows beyond ${MAXIMUM_LINES} lines by %rep, %macro and %include`);
    this.stopped = true;
    return false;
  }

  #endFrame(frame: Frame): void {
    for (const condition of frame.conditions)
      this.error(condition.opening.range, `'${condition.opening.text}' has no %endif`);
    frame.conditions = [];
    if (frame.kind === 'rep' && frame.remaining > 0) {
      frame.remaining--;
      frame.index = 0;
    } else this.frames.pop();
  }

  /** The tokens of a line for the assembler, or undefined when the line was for the preprocessor. */
  #process(line: TokenLine): readonly Token[] | undefined {
    const { frame } = this;
    if (!frame || line.tokens.length === 0) return this.isActive ? line.tokens : undefined;
    const { call } = frame;
    const directive = directiveName(line.tokens[0]);
    // An inactive %elif still has to see the parameters of its macro.
    const needed = this.isActive || (directive !== undefined && conditionDirective(directive)?.isElse === true);
    const tokens =
      call && needed
        ? substituteParameters(line.tokens, call, (range, message) => this.error(range, message))
        : line.tokens;
    if (directive !== undefined) {
      this.#directive(directive, tokens);
      return undefined;
    }
    if (!this.isActive) return undefined;
    const expanded = this.expand(tokens);
    return this.#invokeMacro(expanded) ? undefined : expanded;
  }

  /** Whether the present lines lie in branches that are read. */
  get isActive(): boolean {
    return this.frame?.conditions.every((condition) => condition.active) ?? true;
  }

  /** Expands single-line macros and names of the context stack. */
  expand(tokens: readonly Token[]): readonly Token[] {
    return this.singleLine.expand(this.resolveContextNames(tokens));
  }

  /** Replaces `%$name` by a name that is unique to the context it belongs to. */
  resolveContextNames(tokens: readonly Token[]): readonly Token[] {
    if (!tokens.some((token) => token.text.startsWith('%$'))) return tokens;
    return tokens.map((token) => {
      const match = /^%(\$+)(.+)$/u.exec(token.text);
      if (!match || token.kind !== 'preprocessor') return token;
      const context = this.contexts.at(-(match[1] ?? '$').length);
      if (!context) this.error(token.range, `'${token.text}' needs a context: there is no %push before it`);
      return { ...token, kind: 'identifier', text: `..@${context?.id ?? 0}.${match[2]}` };
    });
  }

  #directive(name: string, tokens: readonly Token[]): void {
    const condition = conditionDirective(name);
    if (condition || name === 'else' || name === 'endif') this.#condition(name, tokens);
    else if (this.isActive) {
      try {
        executePreprocessorDirective(this, name, tokens);
      } catch (problem) {
        if (!(problem instanceof SyntaxProblem)) throw problem;
        this.error(problem.range, problem.message);
      }
    }
  }

  #condition(name: string, tokens: readonly Token[]): void {
    const { frame } = this;
    const [opening] = tokens;
    if (!frame || !opening) return;
    const directive = conditionDirective(name);
    if (directive && !directive.isElse) {
      const skipped = !this.isActive;
      const active = !skipped && evaluateCondition(this, directive, tokens);
      frame.conditions.push({ opening, active, taken: active, ended: false, skipped });
      return;
    }
    const current = frame.conditions.at(-1);
    if (!current) this.error(opening.range, `'${opening.text}' without %if`);
    else if (name === 'endif') frame.conditions.pop();
    else if (current.ended) this.error(opening.range, `'${opening.text}' after %else`);
    else {
      if (!directive) current.ended = true;
      const open = !current.skipped && !current.taken;
      // While the condition is worked out, the branch before it must not count as inactive.
      current.active = open;
      if (open && directive) current.active = evaluateCondition(this, directive, tokens);
      current.taken ||= current.active;
    }
  }

  /** Evaluates the rest of a directive as an expression that must be a plain number. */
  evaluateTokens(tokens: readonly Token[], at: SourceRange, what: string): bigint | undefined {
    const cursor = new Cursor(this.expand(tokens), at);
    const expression = parseExpression(cursor);
    if (!cursor.atEnd) throw new SyntaxProblem(cursor.here, `expected the end of the line, found ${cursor.found}`);
    let failed = false;
    const value = this.host.evaluate(expression, (range, message) => {
      failed = true;
      this.error(range, message);
    });
    if (failed) return undefined;
    if (value.unknown !== 0)
      this.error(expression.range, `${what} must be known here, but a symbol in it is defined later or never`);
    else if (value.terms.length > 0)
      this.error(expression.range, `expected a plain number for ${what}, found an address or a register`);
    else return value.constant;
    return undefined;
  }

  /** Starts reading a macro when the line invokes one. */
  #invokeMacro(tokens: readonly Token[]): boolean {
    const found = this.findInvocation(tokens);
    if (!found) return false;
    if (this.frames.length >= MAXIMUM_FRAMES) {
      this.error(
        found.name.range,
        `macros are nested more than ${MAXIMUM_FRAMES} deep: does '${found.name.text}' invoke itself?`,
      );
      this.stopped = true;
      return true;
    }
    const { macro, name, args, label } = found;
    const call: MacroCall = { macro, args, id: this.nextId(), label, nameToken: name };
    const expansion = this.expansion ?? { site: name.range, macro: name.text };
    const labelLine = label.length > 0 && !usesLabel(macro) ? [labelLineOf(label, name.range)] : [];
    const lines = [...labelLine, ...macro.lines];
    this.frames.push({
      kind: 'macro',
      file: name.range.file,
      lines,
      index: 0,
      conditions: [],
      call,
      expansion,
      remaining: 0,
    });
    return true;
  }

  /** The macro that a line invokes, with its arguments. */
  findInvocation(
    tokens: readonly Token[],
  ): { macro: MultiLineMacro; name: Token; args: (readonly Token[])[]; label: readonly Token[] } | undefined {
    if (this.multiLine.size === 0) return undefined;
    const labelled = isPunctuator(tokens[1], ':');
    for (const start of labelled ? [2] : [0, 1]) {
      const name = tokens[start];
      const macros = name?.kind === 'identifier' ? this.macrosNamed(name.text) : [];
      if (!name || macros.length === 0) continue;
      for (const macro of macros) {
        if (this.#isExpanding(macro)) continue;
        const args = bindArguments(macro, tokens.slice(start + 1));
        if (args) return { macro, name, args, label: tokens.slice(0, labelled ? 1 : start) };
      }
    }
    return undefined;
  }

  macrosNamed(name: string): MultiLineMacro[] {
    const found = this.multiLine.get(name.toLowerCase());
    return found ? found.filter((one) => one.ignoreCase || one.name === name) : [];
  }

  /** A macro does not invoke itself: inside its body its name is an instruction again. */
  #isExpanding(macro: MultiLineMacro): boolean {
    return this.frames.some((frame) => frame.call?.macro === macro);
  }

  include(path: string, range: SourceRange): void {
    if (this.frames.filter((frame) => frame.kind === 'file').length >= MAXIMUM_INCLUDES) {
      this.error(range, `files are included more than ${MAXIMUM_INCLUDES} deep: does '${path}' include itself?`);
      return;
    }
    for (const candidate of candidatePaths(path, range.file)) {
      const contents = this.host.readFile(candidate);
      if (contents === undefined) continue;
      this.includes.push({ range, path, resolved: candidate });
      this.#pushFile(candidate, typeof contents === 'string' ? contents : new TextDecoder().decode(contents));
      return;
    }
    this.includes.push({ range, path });
    this.error(range, `file '${path}' cannot be read`);
  }

  #pushFile(file: string, text: string): void {
    const lines = tokenize(file, text, this.diagnostics);
    const { expansion } = this;
    const frame: Frame = { kind: 'file', file, lines, index: 0, conditions: [], remaining: 0 };
    this.frames.push(expansion ? { ...frame, expansion } : frame);
  }

  #builtIn(name: string, range: SourceRange): Token[] | undefined {
    const plain = /^__\??(\w+?)\??__$/u.exec(name)?.[1];
    const text = plain === undefined ? undefined : BUILT_IN[plain];
    const make = (kind: 'number' | 'string' | 'identifier', value: string): Token[] => [
      {
        kind,
        text: kind === 'string' ? `'${value}'` : value,
        range,
        spaced: true,
        ...(kind === 'string' ? { value } : {}),
      },
    ];
    if (plain === 'LINE') return make('number', String((this.expansion?.site ?? range).line));
    if (plain === 'FILE') return make('string', range.file);
    if (plain === 'BITS') return make('number', String(this.host.bits));
    return text === undefined ? undefined : make(/^\d/u.test(text) ? 'number' : 'identifier', text);
  }
}

const BUILT_IN: Readonly<Record<string, string>> = {
  OUTPUT_FORMAT: 'bin',
  NASM_MAJOR: '2',
  NASM_MINOR: '16',
  NASM_SUBMINOR: '1',
  NASM_PATCHLEVEL: '0',
  NASM_VERSION_ID: '0x02100100',
};

function directiveName(token: Token | undefined): string | undefined {
  if (token?.kind !== 'preprocessor') return undefined;
  return /^%([A-Za-z]\w*)$/u.exec(token.text)?.[1]?.toLowerCase();
}

function usesLabel(macro: MultiLineMacro): boolean {
  return macro.lines.some((line) => line.tokens.some((token) => token.text === '%00'));
}

function labelLineOf(label: readonly Token[], range: SourceRange): TokenLine {
  const colon: Token = { kind: 'punctuator', text: ':', range, spaced: false };
  return { tokens: [...label, colon], range };
}
