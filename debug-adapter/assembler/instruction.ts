import { CodeExt } from 'iced-x86';
import { analyzeAddress, type Bits } from './address.ts';
import { type Decoration, type Encoding, type ExplicitPrefixes, encodeForm, PLAIN } from './encode.ts';
import { type EvaluationContext, evaluate } from './evaluate.ts';
import type { Expression } from './expression.ts';
import { type Code, type Form, formsOf } from './forms.ts';
import { bindOperands, type EvaluatedOperand, type MatchRequest, type MatchResult, matchForm } from './match.ts';
import { type MnemonicEntry, mnemonicEntry } from './mnemonics.ts';
import { dropsOperand, excludedForm, type OperandVariant, operandVariants } from './quirks.ts';
import { type RegisterInfo, registerNamed } from './registers.ts';
import type { SourceRange } from './source.ts';
import { type InstructionBody, NO_DECORATORS, type Operand } from './syntax.ts';
import type { Token } from './token.ts';
import { addValues, constantValue, isDistance, isRelocatable, scaleValue, type Value } from './value.ts';

/** What encoding an instruction depends on besides its text. */
export interface InstructionContext {
  readonly bits: Bits;
  readonly defaultRelative: boolean;
  readonly evaluation: EvaluationContext;
  /** Where this repetition of the instruction goes; `$` stays at the first one. */
  address(): Value;
}

export interface EncodedInstruction {
  readonly encoding: Encoding;
  /** Undefined for a line that holds only prefixes. */
  readonly form?: Form;
}

export interface InstructionProblem {
  readonly range: SourceRange;
  readonly problem: string;
}

const X87_ARITHMETIC: ReadonlySet<string> = new Set(['fadd', 'fmul', 'fsub', 'fsubr', 'fdiv', 'fdivr']);

const REPEAT: Readonly<Record<string, number>> = {
  rep: 0xf3,
  repe: 0xf3,
  repz: 0xf3,
  xrelease: 0xf3,
  repne: 0xf2,
  repnz: 0xf2,
  xacquire: 0xf2,
  bnd: 0xf2,
};

const SEGMENT_BYTES: readonly number[] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

/** Gives the answer to a question about the context; who keeps encodings keeps it with them. */
export type Decide = (question: (context: InstructionContext) => boolean) => boolean;

/** Encodes one instruction as NASM does in the present pass. */
export function encodeInstruction(
  body: InstructionBody,
  context: InstructionContext,
  decide: Decide = (question) => question(context),
): EncodedInstruction | InstructionProblem {
  const { mnemonic } = body;
  const prefixes = explicitPrefixes(body, context.bits);
  if (!mnemonic) return { encoding: prefixesAlone(prefixes, context.bits) };
  const written = mnemonic.text.toLowerCase();
  // `fadd` alone adds and pops.
  const name = body.operands.length === 0 && X87_ARITHMETIC.has(written) ? `${written}p` : written;
  const entry = mnemonicEntry(name);
  if (!entry) return { range: mnemonic.range, problem: `'${mnemonic.text}' is not an instruction` };
  const evaluated = evaluateOperands(body.operands, prefixes, context);
  if ('problem' in evaluated) return evaluated;
  const request = makeRequest(body, evaluated.operands, prefixes, context.bits, decide);
  const forms = candidateForms(entry);
  const excluded = excludedForm(name, request);
  let result: MatchResult = { kind: 'none' };
  for (const variant of operandVariants(name, request)) {
    const attempt = withImmediate(entry, attemptOf(request, variant, excluded));
    const found = matchForm(forms, attempt);
    if (found.kind === 'match') return finish(found.form, attempt, mnemonic);
    if (result.kind === 'none') result = found;
  }
  return { range: mnemonic.range, problem: describeFailure(result, mnemonic, forms, body.operands, context.bits) };
}

/** The request with one reading of the operands. */
function attemptOf(request: MatchRequest, variant: OperandVariant, excluded: Code | undefined): MatchRequest {
  const { operands, addressSize } = variant;
  if (operands === request.operands && excluded === undefined) return request;
  const prefixes = addressSize === undefined ? request.prefixes : { ...request.prefixes, addressSize };
  return { ...request, operands, prefixes, ...(excluded === undefined ? {} : { excluded }) };
}

function finish(form: Form, request: MatchRequest, mnemonic: Token): EncodedInstruction | InstructionProblem {
  const bound = bindOperands(form, dropsOperand(form) ? [] : request.operands);
  const encoding = encodeForm(form, bound, request.prefixes, request.decoration, request.bits);
  if (typeof encoding === 'string') return { range: mnemonic.range, problem: encoding };
  return { encoding, form };
}

const formsByEntry = new WeakMap<MnemonicEntry, readonly Form[]>();

function candidateForms(entry: MnemonicEntry): readonly Form[] {
  let forms = formsByEntry.get(entry);
  if (forms) return forms;
  forms = entry.mnemonics.flatMap(formsOf);
  if (entry.operandSize !== undefined) forms = forms.filter((form) => form.operandSize === entry.operandSize);
  formsByEntry.set(entry, forms);
  return forms;
}

function withImmediate(entry: MnemonicEntry, request: MatchRequest): MatchRequest {
  if (entry.immediate === undefined) return request;
  const value = constantValue(BigInt(entry.immediate));
  const range = request.operands[0]?.operand.range ?? { file: '', line: 1, column: 1, length: 1 };
  const operand: Operand = {
    kind: 'immediate',
    range,
    strict: false,
    decorators: {},
    value: { kind: 'number', value: value.constant, range },
  };
  return { ...request, operands: [...request.operands, { operand, value }] };
}

const NO_PREFIXES: ExplicitPrefixes = { leading: [] };

function explicitPrefixes(body: InstructionBody, bits: Bits): ExplicitPrefixes {
  const overrides = body.operands.some((operand) => operand.kind === 'memory' && operand.segment);
  if (body.prefixes.length === 0 && !overrides) return NO_PREFIXES;
  const bytes: (number | undefined)[] = [undefined, undefined, undefined, undefined];
  let operandSize: Bits | undefined;
  let addressSize: Bits | undefined;
  for (const { text } of body.prefixes) {
    const word = text.toLowerCase();
    const size = /^([ao])(16|32|64)$/u.exec(word);
    const register = registerNamed(word);
    if (word === 'wait') bytes[0] = 0x9b;
    else if (REPEAT[word] !== undefined) bytes[1] = REPEAT[word];
    else if (word === 'lock') bytes[2] = 0xf0;
    else if (register) bytes[3] = SEGMENT_BYTES[register.number];
    else if (size?.[1] === 'a') addressSize = Number(size[2]) as Bits;
    else if (size) operandSize = Number(size[2]) as Bits;
    else if (word === 'osp') operandSize = bits === 16 ? 32 : 16;
    else if (word === 'asp') addressSize = bits === 32 ? 16 : 32;
  }
  for (const operand of body.operands) {
    if (operand.kind === 'memory' && operand.segment) bytes[3] = SEGMENT_BYTES[operand.segment.number];
  }
  return {
    leading: bytes.filter((byte) => byte !== undefined),
    ...(operandSize === undefined ? {} : { operandSize }),
    ...(addressSize === undefined ? {} : { addressSize }),
  };
}

function prefixesAlone(prefixes: ExplicitPrefixes, bits: Bits): Encoding {
  const bytes = [...prefixes.leading];
  const { operandSize, addressSize } = prefixes;
  if (operandSize === 16 ? bits !== 16 : operandSize === 32 && bits === 16) bytes.push(0x66);
  if (addressSize !== undefined && addressSize !== bits) bytes.push(0x67);
  if (operandSize === 64 && bits === 64) bytes.push(0x48);
  return { bytes, fixups: [] };
}

function evaluateOperands(
  operands: readonly Operand[],
  prefixes: ExplicitPrefixes,
  context: InstructionContext,
): { operands: EvaluatedOperand[] } | InstructionProblem {
  const evaluated: EvaluatedOperand[] = [];
  for (const operand of operands) {
    if (operand.kind === 'rounding') continue;
    const one = evaluateOperand(operand, prefixes, context);
    if ('problem' in one) return one;
    evaluated.push(one);
  }
  return { operands: evaluated };
}

function evaluateOperand(
  operand: Exclude<Operand, { kind: 'rounding' }>,
  prefixes: ExplicitPrefixes,
  { bits, defaultRelative, evaluation }: InstructionContext,
): EvaluatedOperand | InstructionProblem {
  const { range } = operand;
  switch (operand.kind) {
    case 'register':
      return { operand };
    case 'far': {
      const [segment, value] = [evaluate(operand.segment, evaluation), evaluate(operand.offset, evaluation)];
      return checkPlain(value, range) ?? checkPlain(segment, range) ?? { operand, segment, value };
    }
    case 'immediate': {
      const value = evaluate(operand.value, evaluation);
      return checkPlain(value, range) ?? { operand, value };
    }
    case 'memory': {
      const size = operand.addressBits ?? prefixes.addressSize;
      const sized = size === undefined ? operand : { ...operand, addressBits: size };
      const parts = analyzeAddress(sized, bits, defaultRelative, evaluation);
      if (typeof parts === 'string') return { range, problem: parts };
      return checkAddress(parts.displacement, range) ?? { operand: sized, parts };
    }
  }
}

function checkPlain(value: Value, range: SourceRange): InstructionProblem | undefined {
  const register = value.terms.find((term) => 'class' in term.base);
  if (!register) return checkAddress(value, range);
  const { name } = register.base as RegisterInfo;
  return { range, problem: `expected a number or a label, found an expression with register '${name}'` };
}

function checkAddress(value: Value, range: SourceRange): InstructionProblem | undefined {
  if (isRelocatable(value) || isDistance(value)) return undefined;
  return { range, problem: 'expected a number or one address, found a sum or multiple of addresses' };
}

function makeRequest(
  body: InstructionBody,
  operands: readonly EvaluatedOperand[],
  prefixes: ExplicitPrefixes,
  bits: Bits,
  decide: Decide,
): MatchRequest {
  const [first] = operands;
  const target = first?.operand.kind === 'immediate' ? first.operand.value : undefined;
  return {
    operands,
    prefixes,
    bits,
    decoration: decorationOf(body),
    branchUnknown: target !== undefined && first?.value?.forward === true,
    reachesShort: () => target !== undefined && decide((context) => isInReach(target, prefixes, context)),
  };
}

const SHORT_BRANCH_BYTES = 2;

/** Whether the target is at most a signed byte away from the end of a short branch. */
function isInReach(
  target: Expression,
  prefixes: ExplicitPrefixes,
  { evaluation, address }: InstructionContext,
): boolean {
  const end = addValues(address(), constantValue(BigInt(SHORT_BRANCH_BYTES + prefixes.leading.length)));
  const distance = addValues(evaluate(target, evaluation), scaleValue(end, -1n));
  return distance.terms.length === 0 && distance.constant >= -128n && distance.constant <= 127n;
}

function decorationOf(body: InstructionBody): Decoration {
  if (body.prefixes.length === 0 && body.operands.every(isUndecorated)) return PLAIN;
  const decorators = body.operands.map((operand) => operand.decorators);
  const rounding = body.operands.find((operand) => operand.kind === 'rounding');
  const wide = body.prefixes.map(({ text }) => text).find((text) => text.startsWith('vex') || text === 'evex');
  return {
    mask: decorators.find((one) => one.mask !== undefined)?.mask ?? 0,
    zeroing: decorators.some((one) => one.zeroing === true),
    broadcast: decorators.some((one) => one.broadcast !== undefined),
    wide: wide === 'vex3' || wide === 'evex' ? wide : wide === undefined ? 'none' : 'vex2',
    ...(rounding?.kind === 'rounding' ? { rounding: rounding.mode } : {}),
  };
}

function isUndecorated({ kind, decorators }: Operand): boolean {
  return kind !== 'rounding' && decorators === NO_DECORATORS;
}

const SIZE_NAMES: Readonly<Record<number, string>> = {
  8: 'byte',
  16: 'word',
  32: 'dword',
  64: 'qword',
  80: 'tword',
  128: 'oword',
  256: 'yword',
  512: 'zword',
};

function describeFailure(
  result: MatchResult,
  mnemonic: Token,
  forms: readonly Form[],
  operands: readonly Operand[],
  bits: Bits,
): string {
  const name = mnemonic.text.toLowerCase();
  if (result.kind === 'ambiguous-size') {
    const names = result.sizes.map((size) => SIZE_NAMES[size] ?? `${size} bits`).join(', ');
    return `operation size not specified: write one of ${names} before the memory operand`;
  }
  if (result.kind === 'other-mode') return `'${name}' with these operands does not exist in ${bits}-bit code`;
  const found = operands.length === 0 ? 'no operands' : operands.map(describeOperand).join(', ');
  return `no form of '${name}' takes these operands; expected ${expectedForms(forms, operands.length, bits)}, found ${found}`;
}

const SHOWN_FORMS = 5;

function expectedForms(forms: readonly Form[], count: number, bits: Bits): string {
  const available = forms.filter((form) => form.modes[bits]);
  const sameCount = available.filter((form) => form.operands.length === count);
  const texts = [...new Set((sameCount.length > 0 ? sameCount : available).map(instructionText))];
  if (texts.length === 0) return `nothing in ${bits}-bit code`;
  const shown = texts.slice(0, SHOWN_FORMS).join(' | ');
  return texts.length > SHOWN_FORMS ? `${shown} | …` : shown;
}

/** The form in the notation of the manual, such as `MOV r32, r/m32`. */
function instructionText(form: Form): string {
  const info = CodeExt.opCode(form.code);
  const text = info.instructionString;
  info.free();
  return text;
}

function describeOperand(operand: Operand): string {
  const size = operand.sizeBits === undefined ? '' : `${SIZE_NAMES[operand.sizeBits] ?? ''} `;
  switch (operand.kind) {
    case 'register':
      return operand.register.name;
    case 'memory':
      return `${size}memory`;
    case 'far':
      return 'segment:offset';
    case 'immediate':
      return `${size}number`;
    case 'rounding':
      return `{${operand.mode}}`;
  }
}
