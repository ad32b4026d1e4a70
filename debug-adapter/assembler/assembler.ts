/** The assembler proper: statements one after another, in passes, into the bytes of sections. */
import type { Bits } from './address.ts';
import { type EncodedData, encodeData } from './data.ts';
import { executeDirective } from './directives.ts';
import type { Encoding } from './encode.ts';
import { cachedEncoding } from './encoding-cache.ts';
import { type EvaluationContext, evaluate } from './evaluate.ts';
import type { Expression } from './expression.ts';
import type { Code } from './forms.ts';
import { MAXIMUM_IMAGE_BYTES, Section } from './section.ts';
import { Diagnostics, type Expansion, type SourceRange } from './source.ts';
import { align, includeBinary, reserve, startField } from './space.ts';
import { orphanedLabel } from './statement-parser.ts';
import { SymbolTable } from './symbol-table.ts';
import type { InstructionBody, Statement, StatementBody } from './syntax.ts';
import { addValues, constantValue, cutOffMessage, isSimple, termValue, UNKNOWN, type Value } from './value.ts';

/** Reads a file that the source includes; undefined when there is none. `path` is as written or resolved. */
export type ReadFile = (path: string) => Uint8Array | string | undefined;

/** The same for a file named by another one, which it may stand beside. */
export type ReadFileFrom = (path: string, from: string) => Uint8Array | string | undefined;

/** What one statement put into a section. */
export interface Emission {
  readonly section: Section;
  readonly offset: number;
  readonly length: number;
  readonly kind: 'code' | 'data';
  readonly bits: Bits;
  readonly statement: Statement;
  /** The form chosen, for instructions. */
  readonly code: Code | undefined;
}

/** Where code goes: a section, or the addresses after ABSOLUTE that produce no bytes. */
export type Location =
  | { readonly kind: 'section'; readonly section: Section }
  | { readonly kind: 'absolute'; readonly base: Value; offset: number };

export interface OpenStructure {
  readonly kind: 'struc' | 'istruc';
  readonly name: string;
  readonly range: SourceRange;
  /** STRUC: where assembly goes on after ENDSTRUC. */
  readonly outer?: Location;
  /** ISTRUC: where the instance starts. */
  readonly start?: Value;
}

/** More repetitions of one branch than this are a mistake; plain bytes may repeat up to the size of an image. */
const MAXIMUM_BRANCH_REPETITIONS = 10_000;

/**
 * One pass after another over the same statements until no symbol moves any more. Holds what the directives change.
 */
export class Assembler {
  readonly symbols = new SymbolTable();
  readonly sections: Section[] = [];
  readonly readFile: ReadFileFrom;
  /** Faults of the present pass; those of earlier passes may be gone by now. */
  diagnostics = new Diagnostics();
  /** Of the first pass: values that had to be known before the symbols in them were. */
  criticalDiagnostics = new Diagnostics();
  emissions: Emission[] = [];
  pass = 0;
  bits: Bits = 16;
  /** NASM carries the last DEFAULT REL of a pass into the next one, so it holds for lines before it as well. */
  defaultRelative = false;
  origin: number | undefined;
  location: Location;
  structures: OpenStructure[] = [];
  #statement: Statement | undefined;
  /** `$` of the present statement. */
  #here: Value = constantValue(0n);

  constructor(readFile: ReadFileFrom) {
    this.readFile = readFile;
    this.location = { kind: 'section', section: this.section('.text', { file: '', line: 1, column: 1, length: 1 }) };
  }

  startPass(): void {
    this.pass++;
    this.symbols.startPass();
    this.diagnostics = new Diagnostics();
    this.emissions = [];
    this.bits = 16;
    this.origin = undefined;
    this.structures = [];
    for (const section of this.sections) section.clear();
    this.location = { kind: 'section', section: this.section('.text', { file: '', line: 1, column: 1, length: 1 }) };
  }

  /** Reports what was opened and not closed. */
  endPass(): void {
    for (const open of this.structures) {
      const end = open.kind === 'struc' ? 'endstruc' : 'iend';
      this.error(open.range, `'${open.kind} ${open.name}' has no '${end}' before the end of the source`);
    }
  }

  section(name: string, range: SourceRange): Section {
    let section = this.sections.find((one) => one.name === name);
    if (!section) this.sections.push((section = new Section(name, range)));
    return section;
  }

  error(range: SourceRange, message: string): void {
    this.diagnostics.error(range, message, this.#expansion);
  }

  warning(range: SourceRange, message: string): void {
    this.diagnostics.warning(range, message, this.#expansion);
  }

  /** After any pass but the first it may turn out that nothing has moved, so that its output is the final one. */
  get #keepsOutput(): boolean {
    return this.pass > 1;
  }

  get #expansion(): Expansion | undefined {
    return this.#statement?.expansion;
  }

  /** The address of the next byte. */
  currentAddress(): Value {
    const { location } = this;
    if (location.kind === 'section') return termValue(location.section.reference, BigInt(location.section.length));
    return addValues(location.base, constantValue(BigInt(location.offset)));
  }

  readonly context: EvaluationContext = {
    symbol: (name, range) => this.#lookup(name, range),
    here: () => this.#here,
    sectionStart: () =>
      this.location.kind === 'section' ? termValue(this.location.section.reference) : this.location.base,
    error: (range, message) => this.error(range, message),
  };

  #lookup(name: string, range: SourceRange): Value {
    const value = this.symbols.lookup(name, this.pass);
    if (value && value !== UNKNOWN) return value;
    const section = /^section\.(.+)\.(start|vstart)$/u.exec(name);
    const named = section && this.sections.find((one) => one.name === section[1]);
    if (named) return termValue(section[2] === 'start' ? named.startReference : named.reference);
    if (value) return value;
    const similar = this.symbols.similar(name);
    const hint = similar === undefined ? '' : `; did you mean '${similar}'?`;
    this.error(range, `symbol '${this.symbols.fullName(name)}' is not defined${hint}`);
    return constantValue(0n);
  }

  /** Evaluates what must be a plain number already in the first pass; undefined after reporting that it is not. */
  critical(expression: Expression, what: string): bigint | undefined {
    const value = evaluate(expression, this.context);
    if (isSimple(value)) return value.constant;
    const late = `${what} must be known here, but a symbol in it is defined later`;
    if (value.unknown !== 0) this.criticalDiagnostics.error(expression.range, late, this.#expansion);
    else this.error(expression.range, `expected a plain number for ${what}, found an address or a register`);
    return undefined;
  }

  /** Evaluates for %if and %assign; `asked` is called when the value depends on a symbol or an address. */
  evaluateForPreprocessor(
    asked: () => void,
    expression: Expression,
    report: (range: SourceRange, message: string) => void,
  ): Value {
    this.#here = this.currentAddress();
    const watched = <Result>(value: Result): Result => {
      asked();
      return value;
    };
    return evaluate(expression, {
      symbol: (name, range) => {
        const value = this.symbols.find(name)?.value;
        if (!value) report(range, `symbol '${name}' must be defined before a directive of the preprocessor uses it`);
        return watched(value ?? constantValue(0n));
      },
      here: () => watched(this.#here),
      sectionStart: () => watched(this.context.sectionStart()),
      error: report,
    });
  }

  execute(statement: Statement): void {
    this.#statement = statement;
    this.#here = this.currentAddress();
    const { body, label } = statement;
    if (body.kind === 'equ') this.#defineEqu(statement, body.value);
    else {
      if (label) this.defineLabel(label.name, label.range);
      const orphan = body.kind === 'empty' && !this.diagnostics.isFull ? orphanedLabel(label) : undefined;
      if (label && orphan !== undefined) this.warning(label.range, orphan);
      const times = this.#times(statement);
      if (times !== 0) this.executeBody(body, times);
    }
    this.#statement = undefined;
  }

  defineLabel(name: string, range: SourceRange, value = this.currentAddress()): void {
    this.symbols.enterScope(name);
    this.#define(name, 'label', value, range);
  }

  #defineEqu(statement: Statement, expression: Expression): void {
    if (!statement.label) this.error(statement.range, "expected a name in front of 'equ'");
    else {
      const value = evaluate(expression, this.context);
      // NASM takes an EQU of what is not known yet for 0 until the next pass.
      const known = value.unknown !== 0 ? constantValue(0n) : { ...value, forward: false };
      this.#define(statement.label.name, 'equ', known, statement.label.range);
    }
  }

  #define(name: string, kind: 'label' | 'equ', value: Value, range: SourceRange): void {
    const before = this.symbols.find(name);
    if (this.symbols.define(name, kind, value, range, this.pass)) return;
    const place = before ? ` in ${before.range.file}:${before.range.line}` : '';
    this.error(range, `symbol '${this.symbols.fullName(name)}' is already defined${place}`);
  }

  /** How often the statement is repeated; of several TIMES the last one counts, as in NASM. */
  #times(statement: Statement): number {
    const expression = statement.times.at(-1);
    if (!expression) return 1;
    const count = this.critical(expression, 'the count of TIMES');
    if (count === undefined) return 0;
    if (count >= 0n && count <= BigInt(MAXIMUM_IMAGE_BYTES)) return Number(count);
    const found = count < 0n ? `${count}, so what precedes is ${-count} bytes too long` : `${count}`;
    this.error(expression.range, `expected a TIMES count from 0 to ${MAXIMUM_IMAGE_BYTES}, found ${found}`);
    return 0;
  }

  /** Carries out a statement without its label; `times` is the count of TIMES. */
  executeBody(body: StatementBody, times: number): void {
    switch (body.kind) {
      case 'instruction':
        this.#instruction(body, times);
        break;
      case 'data':
        this.emitRepeated(encodeData(body.unitBytes, body.items, this.context), times, 'data');
        break;
      case 'reserve':
        reserve(this, body.count, body.unitBytes * times);
        break;
      case 'incbin':
        includeBinary(this, body, times);
        break;
      case 'align':
        align(this, body);
        break;
      case 'at':
        startField(this, body);
        break;
      case 'directive':
        executeDirective(this, body.name, body.arguments);
        break;
      default:
        break;
    }
  }

  #instruction(body: InstructionBody, times: number): void {
    const start = this.startEmission();
    let code: Code | undefined;
    const context = {
      bits: this.bits,
      defaultRelative: this.defaultRelative,
      evaluation: this.context,
      address: () => this.currentAddress(),
    };
    for (let index = 0; index < times; index++) {
      const encoded = cachedEncoding(body, context);
      if ('problem' in encoded) {
        this.error(encoded.range, encoded.problem);
        break;
      }
      code = encoded.form?.code;
      const moves = encoded.encoding.fixups.some((fixup) => fixup.relative);
      if (!moves) {
        this.#emitBytes(encoded.encoding, times - index);
        break;
      }
      if (index >= MAXIMUM_BRANCH_REPETITIONS) {
        this.error(start.range, `a branch can be repeated at most ${MAXIMUM_BRANCH_REPETITIONS} times`);
        break;
      }
      if (!this.#emitBytes(encoded.encoding, 1)) break;
    }
    this.endEmission(start, 'code', code);
  }

  /** Appends the same bytes `times` times at the present place. */
  emitRepeated(data: EncodedData, times: number, kind: 'code' | 'data'): void {
    const start = this.startEmission();
    this.#emitBytes(data, times);
    this.endEmission(start, kind);
  }

  /** Notes where the present statement starts to put bytes. */
  startEmission(): { range: SourceRange; section: Section | undefined; offset: number } {
    const section = this.location.kind === 'section' ? this.location.section : undefined;
    const range = this.#statement?.range ?? { file: '', line: 1, column: 1, length: 1 };
    return { range, section, offset: section?.length ?? 0 };
  }

  /** Enters what was put since `start` into the line table. */
  endEmission(start: { section: Section | undefined; offset: number }, kind: 'code' | 'data', code?: Code): void {
    const { section, offset } = start;
    const length = (section?.length ?? 0) - offset;
    if (!section || length === 0 || !this.#statement || !this.#keepsOutput) return;
    const { bits } = this;
    const statement = this.#statement;
    this.emissions.push({ section, offset, length, kind, bits, statement, code });
  }

  /** Appends the bytes `times` times; false after reporting that there is no room or no place for them. */
  #emitBytes(encoding: Encoding | EncodedData, times: number): boolean {
    const { location } = this;
    const range = this.#statement?.range ?? { file: '', line: 1, column: 1, length: 1 };
    const { bytes, fixups, cutOff } = encoding;
    if (cutOff) this.warning(range, cutOffMessage(cutOff));
    if (bytes.length === 0) return true;
    if (location.kind === 'absolute') {
      this.error(range, 'only reservations (RESB …) and labels can stand in absolute space, not code or data');
      return false;
    }
    const { section } = location;
    if (!this.hasRoom(section.length + bytes.length * times, range)) return false;
    if (section.isNobits)
      this.warning(range, `section ${section.name} has no contents in the image: bytes are ignored`);
    if (!this.#keepsOutput) {
      section.length += bytes.length * times;
      return true;
    }
    if (fixups.length === 0 && times > 1) section.append(repeated(bytes, times));
    else for (let index = 0; index < times; index++) section.appendPatchable(bytes, fixups, range);
    return true;
  }

  /** Whether a section may grow to `length` bytes; reports it when not. */
  hasRoom(length: number, range: SourceRange): boolean {
    if (length <= MAXIMUM_IMAGE_BYTES) return true;
    this.error(range, `the section would grow beyond ${MAXIMUM_IMAGE_BYTES} bytes`);
    return false;
  }
}

function repeated(bytes: readonly number[], times: number): Uint8Array {
  const all = new Uint8Array(bytes.length * times);
  all.set(bytes);
  for (let filled = bytes.length; filled < all.length; filled *= 2) all.copyWithin(filled, 0, filled);
  return all;
}
