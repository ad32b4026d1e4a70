import type { RegisterInfo } from './registers.ts';

/** What a term of a value is relative to: a section's start, known only after layout, or a register of an address. */
export type TermBase = RegisterInfo | SectionReference;

/** A section as expressions see it; `kind` says whether the virtual or the physical start is meant. */
export interface SectionReference {
  readonly sectionName: string;
  readonly kind: 'vstart' | 'start';
}

export interface Term {
  readonly base: TermBase;
  readonly coefficient: bigint;
}

/**
 * The value of an expression: a 64-bit constant plus multiples of registers and of section starts.
 */
export interface Value {
  /** Signed, wrapped to 64 bits. */
  readonly constant: bigint;
  readonly terms: readonly Term[];
  /**
   * How many symbols, added up with their signs, this first pass has not met yet. Where it is not 0 the other numbers
   * mean nothing; the difference of two unknown labels counts as the number 0, as in NASM.
   */
  readonly unknown: number;
  /** A symbol in it was not met yet, though it may have cancelled out: sizes are not chosen by such a value. */
  readonly forward: boolean;
  /** Written with a number, be it 0: NASM treats `eax+0` unlike `eax` when it chooses the base of an address. */
  readonly hasConstant: boolean;
}

const NO_TERMS: readonly Term[] = [];

export const UNKNOWN: Value = { constant: 0n, terms: NO_TERMS, unknown: 1, forward: true, hasConstant: false };

export function constantValue(value: bigint): Value {
  return { constant: BigInt.asIntN(64, value), terms: NO_TERMS, unknown: 0, forward: false, hasConstant: true };
}

export function termValue(base: TermBase, constant = 0n): Value {
  return { constant, terms: [{ base, coefficient: 1n }], unknown: 0, forward: false, hasConstant: !isRegister(base) };
}

export function isRegister(base: TermBase): base is RegisterInfo {
  return 'class' in base;
}

/** Whether the value is a plain number. */
export function isSimple(value: Value): boolean {
  return value.terms.length === 0 && value.unknown === 0;
}

/** The section the value is an offset in, when that is all it depends on. */
export function sectionOf(value: Value): SectionReference | undefined {
  const [term, ...others] = value.terms;
  if (!term || others.length > 0 || term.coefficient !== 1n || isRegister(term.base)) return undefined;
  return term.base;
}

/** Whether the value is a number or one offset in one section: something that fits into a field of the output. */
export function isRelocatable(value: Value): boolean {
  return value.terms.length === 0 || sectionOf(value) !== undefined;
}

/** Whether the value is the distance of an address from one in another section, which layout settles. */
export function isDistance(value: Value): boolean {
  const [first, second, third] = value.terms;
  if (!first || !second || third || isRegister(first.base) || isRegister(second.base)) return false;
  return first.coefficient + second.coefficient === 0n && (first.coefficient === 1n || second.coefficient === 1n);
}

function sameBase(a: TermBase, b: TermBase): boolean {
  if (isRegister(a) || isRegister(b)) return a === b;
  return a.sectionName === b.sectionName && a.kind === b.kind;
}

/** Called when two terms on the same base, or two constants, are added up to something other than zero. */
export type Merged = () => void;

export function addValues(a: Value, b: Value, merged?: Merged): Value {
  const terms = [...a.terms];
  for (const term of b.terms) {
    const index = terms.findIndex((one) => sameBase(one.base, term.base));
    const existing = terms[index];
    if (!existing) {
      terms.push(term);
      continue;
    }
    const coefficient = existing.coefficient + term.coefficient;
    if (coefficient === 0n) terms.splice(index, 1);
    else {
      terms[index] = { base: term.base, coefficient };
      merged?.();
    }
  }
  const constant = BigInt.asIntN(64, a.constant + b.constant);
  const both = a.hasConstant && b.hasConstant;
  if (both && constant !== 0n) merged?.();
  const hasConstant = both ? constant !== 0n : a.hasConstant || b.hasConstant;
  return { constant, terms, unknown: a.unknown + b.unknown, forward: a.forward || b.forward, hasConstant };
}

export function scaleValue(value: Value, factor: bigint): Value {
  const terms = value.terms.map(({ base, coefficient }) => ({ base, coefficient: coefficient * factor }));
  return {
    constant: BigInt.asIntN(64, value.constant * factor),
    terms: factor === 0n ? NO_TERMS : terms,
    unknown: value.unknown * Number(factor),
    forward: value.forward,
    hasConstant: value.hasConstant,
  };
}

/** A constant of which the encoding keeps only the low bits. */
export interface CutOff {
  readonly constant: bigint;
  readonly bits: number;
}

/** Whether a constant is neither a signed nor an unsigned number of so many bits. */
export function isCutOff(constant: bigint, bits: number): boolean {
  return bits < 64 && BigInt.asIntN(bits, constant) !== constant && BigInt.asUintN(bits, constant) !== constant;
}

export const cutOffMessage = ({ constant, bits }: CutOff): string =>
  `value ${constant} does not fit ${bits} bits and is cut off`;

export function sameValue(a: Value, b: Value): boolean {
  return (
    a.constant === b.constant &&
    a.unknown === b.unknown &&
    a.terms.length === b.terms.length &&
    a.terms.every((term) =>
      b.terms.some((other) => sameBase(term.base, other.base) && term.coefficient === other.coefficient),
    )
  );
}

/** Whether nothing tells the values apart, not even how they were written. */
export function identicalValue(a: Value, b: Value): boolean {
  return a === b || (a.forward === b.forward && a.hasConstant === b.hasConstant && sameValue(a, b));
}
