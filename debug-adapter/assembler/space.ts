import type { Assembler, OpenStructure } from './assembler.ts';
import { evaluate } from './evaluate.ts';
import type { Expression } from './expression.ts';
import { bytesOfString } from './literals.ts';
import { MAXIMUM_IMAGE_BYTES, type Section } from './section.ts';
import type { SourceRange } from './source.ts';
import type { StatementBody } from './syntax.ts';
import { addValues, constantValue } from './value.ts';

export function reserve(assembler: Assembler, count: Expression, unitBytes: number): void {
  const value = evaluate(count, assembler.context);
  if (value.unknown !== 0) return;
  const units = assembler.critical(count, 'the number of units to reserve');
  if (units === undefined) return;
  if (units < 0n) assembler.error(count.range, `expected a number of units of at least 0, found ${units}`);
  else reserveBytes(assembler, Number(units) * unitBytes, count.range);
}

function reserveBytes(assembler: Assembler, length: number, range: SourceRange): void {
  const { location } = assembler;
  if (location.kind === 'absolute') {
    location.offset += length;
    return;
  }
  if (!location.section.isNobits && !assembler.hasRoom(location.section.length + length, range)) return;
  const start = assembler.startEmission();
  location.section.reserve(length);
  assembler.endEmission(start, 'data');
}

export function includeBinary(assembler: Assembler, body: StatementBody & { kind: 'incbin' }, times: number): void {
  const path = body.path.value ?? '';
  const contents = assembler.readFile(path, body.path.range.file);
  if (contents === undefined) {
    assembler.error(body.path.range, `file '${path}' cannot be read`);
    return;
  }
  const bytes = typeof contents === 'string' ? Uint8Array.from(bytesOfString(contents)) : contents;
  const skip = body.skip ? assembler.critical(body.skip, 'the number of bytes to skip') : 0n;
  const length = body.length ? assembler.critical(body.length, 'the number of bytes to include') : BigInt(bytes.length);
  if (skip === undefined || length === undefined) return;
  if (skip < 0n || length < 0n) assembler.error(body.path.range, 'expected an offset and a length of at least 0');
  else {
    const part = bytes.subarray(Number(skip), Number(skip + length));
    assembler.emitRepeated({ bytes: Array.from(part), fixups: [] }, times, 'data');
  }
}

export function align(assembler: Assembler, body: StatementBody & { kind: 'align' }): void {
  const boundary = assembler.critical(body.boundary, 'the alignment');
  if (boundary === undefined) return;
  const inSection = assembler.location.kind === 'section' ? assembler.location.section : undefined;
  const isPower = boundary > 0n && (boundary & (boundary - 1n)) === 0n;
  if (!isPower || boundary > BigInt(MAXIMUM_IMAGE_BYTES)) {
    assembler.error(body.boundary.range, `expected a power of two for the alignment, found ${boundary}`);
    return;
  }
  const offset = inSection ? inSection.length : assembler.location.kind === 'absolute' ? assembler.location.offset : 0;
  const gap = (Number(boundary) - (offset % Number(boundary))) % Number(boundary);
  if (inSection) raiseAlignment(inSection, Number(boundary));
  if (gap === 0) return;
  if (body.fill) assembler.executeBody(body.fill, gap);
  else if (body.reserve || !inSection || inSection.isNobits) reserveBytes(assembler, gap, body.boundary.range);
  else assembler.emitRepeated({ bytes: [0x90], fixups: [] }, gap, 'code');
}

export function startField(assembler: Assembler, body: StatementBody & { kind: 'at' }): void {
  const open = assembler.structures.at(-1);
  if (open?.kind !== 'istruc' || !open.start) {
    assembler.error(body.field.range, "'at' stands between 'istruc' and 'iend'");
    return;
  }
  const field = evaluate(qualify(body.field, body.localField ? open.name : ''), assembler.context);
  const base = assembler.symbols.lookup(open.name, assembler.pass);
  if (field.unknown !== 0 || !base || base.unknown !== 0) return;
  padStructure(assembler, open, addValues(field, { ...base, constant: -base.constant }).constant, body.field.range);
  if (body.body) assembler.executeBody(body.body, 1);
}

/** Fills an instance with zeros up to `offset` bytes from its start. */
export function padStructure(assembler: Assembler, open: OpenStructure, offset: bigint, range: SourceRange): void {
  const start = open.start ?? constantValue(0n);
  const gap = offset - (assembler.currentAddress().constant - start.constant);
  if (gap < 0n) {
    assembler.error(range, `structure '${open.name}' is already ${-gap} bytes past offset ${offset}`);
  } else if (gap > BigInt(MAXIMUM_IMAGE_BYTES)) assembler.error(range, `offset ${offset} is beyond the largest image`);
  else assembler.emitRepeated({ bytes: [0], fixups: [] }, Number(gap), 'data');
}

function raiseAlignment(section: Section, alignment: number): void {
  if ((section.attributes.align ?? 1) < alignment) section.attributes.align = alignment;
}

/** `at .field` inside an instance of structure `name` means `name.field`. */
function qualify(expression: Expression, name: string): Expression {
  return expression.kind === 'symbol' && name !== '' ? { ...expression, name: name + expression.name } : expression;
}
