import type { Bits } from './address.ts';
import { Assembler, type Emission, type ReadFile } from './assembler.ts';
import type { Code } from './forms.ts';
import { patchFixups } from './patch.ts';
import { candidatePaths } from './paths.ts';
import { type IncludedFile, Preprocessor } from './preprocessor.ts';
import { type Layout, layOut } from './section-layout.ts';
import { type Diagnostic, Diagnostics, inSourceOrder, type SourceRange } from './source.ts';
import { parseStatement } from './statement-parser.ts';
import type { SymbolEntry } from './symbol-table.ts';
import type { Statement } from './syntax.ts';

export interface AssembleOptions {
  /** Contents of an included file, or undefined when there is none; text is taken as UTF-8. */
  readonly readFile: ReadFile;
  /** Single-line macros defined before the first line: name to replacement text. */
  readonly defines?: Readonly<Record<string, string>>;
}

export interface SectionOutput {
  readonly name: string;
  /** Where the section lies once the image is loaded at its origin. */
  readonly start: number;
  /** Where its code believes to be; the same as `start` unless the source says otherwise. */
  readonly vstart: number;
  /** Bytes. */
  readonly length: number;
  /** Has no bytes in the image. */
  readonly nobits: boolean;
}

export interface SymbolOutput {
  readonly name: string;
  /** The address of a label (in its section's virtual space), the value of an EQU; unsigned 64-bit. */
  readonly value: bigint;
  readonly kind: 'label' | 'equ';
  /** Undefined for plain numbers. */
  readonly section?: string;
  readonly location: SourceRange;
}

/** One row of the line table. Rows do not overlap and are in the order of their addresses within a section. */
export interface LineRow {
  /** Linear address by the section's virtual start. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /** The line a user would point at: for code from a macro, the line of the invocation. */
  readonly file: string;
  readonly line: number;
  /** The operand and address size that BITS asked for here. */
  readonly bits: Bits;
  readonly kind: 'code' | 'data';
  readonly section: string;
  /** For code from a macro: the line of its body. */
  readonly body?: { readonly file: string; readonly line: number };
}

/** An instruction of the source with the form that was chosen for it. */
export interface AssembledInstruction {
  /** The mnemonic's place in the source, or in the macro body it comes from. */
  readonly range: SourceRange;
  readonly mnemonic: string;
  readonly address: number;
  readonly length: number;
  readonly bits: Bits;
  /** iced-x86's Code. */
  readonly code: Code;
}

/** The result of assembling one source with all that it includes. */
export interface AssembledProgram {
  /** The flat binary; undefined when there are errors. */
  readonly image?: Uint8Array;
  /** The address the first byte of the image wants to be loaded at. */
  readonly origin: number;
  readonly sections: readonly SectionOutput[];
  readonly symbols: readonly SymbolOutput[];
  readonly lines: readonly LineRow[];
  readonly instructions: readonly AssembledInstruction[];
  readonly includes: readonly IncludedFile[];
  readonly diagnostics: readonly Diagnostic[];
  /** BITS at the first byte of code: the mode a flat image should be entered in. */
  readonly defaultBits: Bits;
}

export interface Source {
  readonly path: string;
  readonly text: string;
}

/** A program whose symbols still move after this many passes never settles. */
const MAXIMUM_PASSES = 100;

/**
 * Assembles NASM-syntax source to a flat binary, byte for byte what `nasm -f bin` of version 2.16 makes of it. Never
 * throws for a fault of the source: all of them are in `diagnostics`.
 */
export function assemble(source: Source, options: AssembleOptions): AssembledProgram {
  const run = new Run(source, options);
  return run.assemble();
}

class Run {
  readonly #source: Source;
  readonly #options: AssembleOptions;
  readonly #assembler: Assembler;
  #preprocessor: Preprocessor | undefined;
  #syntax = new Diagnostics();
  /** What had to be known in the first pass and was not stays an error, although later passes know it. */
  #firstPass: readonly Diagnostics[] = [];
  #statements: Statement[] | undefined;

  constructor(source: Source, options: AssembleOptions) {
    this.#source = source;
    this.#options = options;
    this.#assembler = new Assembler((path, from) => this.#readFile(path, from));
  }

  assemble(): AssembledProgram {
    const assembler = this.#assembler;
    do {
      this.#runPass();
      if (assembler.pass === 1) this.#firstPass = [assembler.criticalDiagnostics, this.#syntax];
      // What follows was not read, so later passes could only complain about it.
      if (this.#preprocessor?.stopped) break;
    } while (assembler.pass < 2 || (assembler.symbols.changed && assembler.pass < MAXIMUM_PASSES));
    if (assembler.pass === MAXIMUM_PASSES && assembler.symbols.changed) this.#reportUnsettled();
    const layout = layOut(assembler.sections, assembler.origin, (range, message) =>
      assembler.diagnostics.error(range, message),
    );
    const starts = new Map(layout.placed.map(({ section, start, vstart }) => [section.name, { start, vstart }]));
    patchFixups(assembler.sections, starts, assembler.diagnostics);
    return this.#output(layout, starts);
  }

  #runPass(): void {
    const assembler = this.#assembler;
    assembler.startPass();
    const cached = this.#preprocessor?.dependsOnSymbols === false ? this.#statements : undefined;
    if (cached) {
      for (const statement of cached) assembler.execute(statement);
    } else this.#readAndExecute();
    assembler.endPass();
  }

  /** Preprocesses while assembling, since %if and %assign may ask for addresses of what came before. */
  #readAndExecute(): void {
    const assembler = this.#assembler;
    this.#syntax = new Diagnostics();
    const host = {
      evaluate: assembler.evaluateForPreprocessor.bind(assembler, () => {
        preprocessor.dependsOnSymbols = true;
      }),
      get bits() {
        return assembler.bits;
      },
      readFile: (path: string) => this.#options.readFile(path),
    };
    const preprocessor = new Preprocessor(host, this.#syntax);
    this.#preprocessor = preprocessor;
    preprocessor.predefine(this.#options.defines ?? {});
    this.#statements = [];
    for (const line of preprocessor.lines(this.#source.path, this.#source.text)) {
      if (line.tokens.length === 0) continue;
      const statement = parseStatement(line, this.#syntax);
      this.#statements.push(statement);
      assembler.execute(statement);
    }
  }

  #readFile(path: string, from: string): Uint8Array | string | undefined {
    for (const candidate of candidatePaths(path, from)) {
      const contents = this.#options.readFile(candidate);
      if (contents !== undefined) return contents;
    }
    return undefined;
  }

  #reportUnsettled(): void {
    const range = { file: this.#source.path, line: 1, column: 1, length: 1 };
    this.#assembler.diagnostics.error(
      range,
      `symbols still move after ${MAXIMUM_PASSES} passes: their values depend on each other`,
    );
  }

  #output(layout: Layout, starts: ReadonlyMap<string, { start: number; vstart: number }>): AssembledProgram {
    const assembler = this.#assembler;
    const diagnostics = inSourceOrder(this.#syntax, ...this.#firstPass, assembler.diagnostics);
    const failed = diagnostics.some((one) => one.severity === 'error');
    const firstCode = assembler.emissions.find((emission) => emission.kind === 'code');
    const image = failed ? undefined : buildImage(layout);
    return {
      ...(image ? { image } : {}),
      origin: layout.origin,
      sections: layout.placed.map(({ section, start, vstart }) => ({
        name: section.name,
        start,
        vstart,
        length: section.length,
        nobits: section.isNobits,
      })),
      symbols: [...assembler.symbols.entries].map((entry) => symbolOutput(entry, starts)),
      lines: assembler.emissions
        .filter(({ section }) => !section.isNobits)
        .map((emission) => lineRow(emission, starts)),
      instructions: assembler.emissions.flatMap((emission) => instructionOutput(emission, starts)),
      includes: this.#preprocessor?.includes ?? [],
      diagnostics,
      defaultBits: firstCode?.bits ?? 16,
    };
  }
}

function buildImage(layout: Layout): Uint8Array {
  const filled = layout.placed.filter(({ section }) => !section.isNobits);
  const end = Math.max(
    layout.origin,
    ...filled.map(({ section, start }) => (section.length > 0 ? start + section.length : 0)),
  );
  const image = new Uint8Array(end - layout.origin);
  for (const { section, start } of filled) if (section.length > 0) image.set(section.contents, start - layout.origin);
  return image;
}

type Starts = ReadonlyMap<string, { start: number; vstart: number }>;

function symbolOutput(entry: SymbolEntry, starts: Starts): SymbolOutput {
  let { constant } = entry.value;
  let section: string | undefined;
  for (const { base, coefficient } of entry.value.terms) {
    if (!('sectionName' in base)) continue;
    section = base.sectionName;
    constant += coefficient * BigInt(starts.get(section)?.[base.kind] ?? 0);
  }
  const value = BigInt.asUintN(64, constant);
  const { name, kind, range } = entry;
  return { name, value, kind, location: range, ...(section === undefined ? {} : { section }) };
}

function addressOf(emission: Emission, starts: Starts): number {
  return (starts.get(emission.section.name)?.vstart ?? 0) + emission.offset;
}

function lineRow(emission: Emission, starts: Starts): LineRow {
  const { length, bits, kind, statement, section } = emission;
  const { range, expansion } = statement;
  const site = expansion?.site ?? range;
  return {
    address: addressOf(emission, starts),
    length,
    file: site.file,
    line: site.line,
    bits,
    kind,
    section: section.name,
    ...(expansion ? { body: { file: range.file, line: range.line } } : {}),
  };
}

function instructionOutput(emission: Emission, starts: Starts): AssembledInstruction[] {
  const { code, statement, length, bits } = emission;
  const mnemonic = statement.body.kind === 'instruction' ? statement.body.mnemonic : undefined;
  if (code === undefined || !mnemonic) return [];
  const address = addressOf(emission, starts);
  return [{ range: mnemonic.range, mnemonic: mnemonic.text.toLowerCase(), address, length, bits, code }];
}
