import { type AddressHint, type EvaluationContext, evaluate } from './evaluate.ts';
import { Kind, type OperandSpec } from './forms.ts';
import { isAddressRegister, isVector, type RegisterInfo } from './registers.ts';
import type { MemoryOperand } from './syntax.ts';
import { isRegister, type Term, type Value } from './value.ts';

export type Bits = 16 | 32 | 64;

/** An address taken apart: base + index * scale + displacement. */
export interface AddressParts {
  readonly base: RegisterInfo | undefined;
  readonly index: RegisterInfo | undefined;
  readonly scale: number;
  readonly hint: AddressHint;
  /** Without the registers. */
  readonly displacement: Value;
  readonly addressBits: Bits;
  readonly ripRelative: boolean;
}

/** ModRM.mod, ModRM.rm, SIB and displacement of a memory operand. */
export interface EncodedAddress {
  readonly mod: number;
  readonly rm: number;
  readonly sib: number | undefined;
  readonly rexX: boolean;
  readonly rexB: boolean;
  /** The index is one of vector registers 16..31. */
  readonly evexV: boolean;
  readonly displacement: Value;
  readonly displacementBytes: 0 | 1 | 2 | 4;
  readonly ripRelative: boolean;
}

/** Why an address cannot be encoded, in words. */
export type AddressProblem = string;

const NONE = -1;
const STACK_POINTER = 4;
const BASE_POINTER = 5;
/** ModRM.rm where a SIB byte follows; SIB.index where there is no index; SIB.base and ModRM.rm where there is no base. */
const HAS_SIB = 4;
const NO_INDEX = 4;
const NO_BASE = 5;

/** Splits the address into its parts; a string says what is wrong with it. */
export function analyzeAddress(
  operand: MemoryOperand,
  bits: Bits,
  defaultRelative: boolean,
  context: EvaluationContext,
): AddressParts | AddressProblem {
  const hint: AddressHint = { kind: 'none' };
  const value = evaluate(operand.address, context, hint);
  const registers = value.terms
    .filter((term): term is Term & { base: RegisterInfo } => isRegister(term.base))
    .sort((a, b) => (a.base.name < b.base.name ? -1 : 1));
  const displacement = registers.length === 0 ? value : withoutRegisters(value);
  const parts = assignRegisters(registers);
  if (typeof parts === 'string') return parts;
  const addressBits = addressSize(operand, parts.base, parts.index, bits);
  if (typeof addressBits === 'string') return addressBits;
  const ripRelative = registers.length === 0 && bits === 64 && isRipRelative(operand, displacement, defaultRelative);
  const { base, index, scale } = parts;
  return { base, index, scale, hint, displacement, addressBits, ripRelative };
}

function withoutRegisters({ constant, terms, unknown, forward, hasConstant }: Value): Value {
  return { constant, terms: terms.filter((term) => !isRegister(term.base)), unknown, forward, hasConstant };
}

function assignRegisters(
  registers: readonly { base: RegisterInfo; coefficient: bigint }[],
): { base?: RegisterInfo; index?: RegisterInfo; scale: number } | AddressProblem {
  const [first, second, third] = registers;
  if (third) return 'an address takes at most two registers, a base and an index';
  const bad = registers.find(({ base }) => !isAddressRegister(base) && !isVector(base));
  if (bad) return `'${bad.base.name}' cannot be part of an address`;
  if (!first) return { scale: 1 };
  const mayBeBase = first.coefficient === 1n && !isVector(first.base);
  if (!second) {
    return mayBeBase ? { base: first.base, scale: 1 } : { index: first.base, scale: Number(first.coefficient) };
  }
  const secondMayBeBase = second.coefficient === 1n && !isVector(second.base);
  if (mayBeBase) return { base: first.base, index: second.base, scale: Number(second.coefficient) };
  if (secondMayBeBase) return { base: second.base, index: first.base, scale: Number(first.coefficient) };
  return 'only one register of an address can be multiplied';
}

function addressSize(
  operand: MemoryOperand,
  base: RegisterInfo | undefined,
  index: RegisterInfo | undefined,
  bits: Bits,
): Bits | AddressProblem {
  const sizes = [base, index].filter((one) => one !== undefined && !isVector(one)).map((one) => one?.sizeBits);
  if (sizes.length === 2 && sizes[0] !== sizes[1]) return 'base and index must be registers of the same size';
  const [fromRegisters] = sizes;
  const wanted = operand.addressBits ?? (sizes.length === 0 ? wantedByDisplacement(operand, bits) : undefined);
  const size = (fromRegisters ?? wanted ?? bits) as Bits;
  if (wanted !== undefined && size !== wanted) return `a${wanted} does not fit registers of ${size} bits`;
  if (size === 64 && bits !== 64)
    return `64-bit registers in an address need 64-bit code, but this is ${bits}-bit code`;
  if (size === 16 && bits === 64) return '16-bit addresses do not exist in 64-bit code';
  return size;
}

/** `[word 5]` in 32-bit code is a 16-bit address, `[dword 5]` in 16-bit code a 32-bit one. */
function wantedByDisplacement(operand: MemoryOperand, bits: Bits): number | undefined {
  const wanted = operand.displacementBits;
  if (bits === 64) return wanted === 16 ? 16 : undefined;
  return wanted === 16 || wanted === 32 ? wanted : undefined;
}

function isRipRelative(operand: MemoryOperand, displacement: Value, defaultRelative: boolean): boolean {
  const thread = operand.segment?.name === 'fs' || operand.segment?.name === 'gs';
  const relative = operand.relative === 'rel' || (operand.relative === undefined && defaultRelative && !thread);
  return relative && (displacement.forward || displacement.terms.length > 0);
}

/**
 * Encodes the address. `compression` is the N of EVEX's disp8*N; 1 without.
 */
export function encodeAddress(
  operand: MemoryOperand,
  parts: AddressParts,
  bits: Bits,
  compression: number,
  spec: OperandSpec,
): EncodedAddress | AddressProblem {
  const { base, index } = parts;
  const isVsib = spec.vsib !== undefined;
  if (!base && !index) return encodeBare(parts, bits);
  if (isVsib !== (index !== undefined && isVector(index))) {
    return isVsib
      ? 'expected a vector register as the index of this address'
      : 'a vector register cannot be an index here';
  }
  if (parts.addressBits === 16) return encode16(operand, parts, compression);
  const encoded = encodeWithRegisters(operand, parts, compression, isVsib);
  return spec.kind === Kind.sibmem && typeof encoded !== 'string' ? withSib(encoded) : encoded;
}

/** AMX instructions need a SIB byte even for a base alone. */
function withSib(address: EncodedAddress): EncodedAddress {
  return address.sib === undefined ? { ...address, sib: (NO_INDEX << 3) | address.rm, rm: HAS_SIB } : address;
}

const NO_REX = { sib: undefined, rexX: false, rexB: false, evexV: false } as const;

function encodeBare(parts: AddressParts, bits: Bits): EncodedAddress {
  const { displacement, ripRelative } = parts;
  const common = { ...NO_REX, mod: 0, displacement, ripRelative };
  if (parts.addressBits === 16) return { ...common, rm: 6, displacementBytes: 2 };
  if (bits === 64 && !ripRelative)
    return { ...common, rm: HAS_SIB, sib: (NO_INDEX << 3) | NO_BASE, displacementBytes: 4 };
  return { ...common, rm: NO_BASE, displacementBytes: 4 };
}

interface Placement {
  base: RegisterInfo | undefined;
  index: RegisterInfo | undefined;
  scale: number;
}

function numberOf(register: RegisterInfo | undefined): number {
  return register?.number ?? NONE;
}

/** NASM's choice of base and index among the equivalent ones. */
function place(operand: MemoryOperand, parts: AddressParts): Placement {
  const { hint } = parts;
  let { base, index, scale }: Placement = parts;
  const isHinted = (register: RegisterInfo | undefined): boolean =>
    register !== undefined && hint.register === register;
  if (scale === 1 && base && index && base !== index) {
    if ((isHinted(base) && hint.kind === 'not-base') || (isHinted(index) && hint.kind === 'base')) {
      [base, index] = [index, base];
    }
  }
  if (!base && index && scale === 1 && !(isHinted(index) && hint.kind === 'not-base')) {
    base = index;
    index = undefined;
  }
  const splitsDouble = scale === 2 && numberOf(index) !== STACK_POINTER && (!operand.noSplit || hint.kind === 'summed');
  if (!base && index && (splitsDouble || scale === 3 || scale === 5 || scale === 9)) {
    base = index;
    scale--;
  }
  if (!index && base && (base.number & 7) !== STACK_POINTER && operand.noSplit && hint.kind === 'not-base') {
    index = base;
    base = undefined;
    scale = 1;
  }
  if (scale === 1 && numberOf(index) === STACK_POINTER) [base, index] = [index, base];
  return { base, index, scale };
}

function encodeWithRegisters(
  operand: MemoryOperand,
  parts: AddressParts,
  compression: number,
  isVsib: boolean,
): EncodedAddress | AddressProblem {
  const { base, index, scale } = isVsib ? parts : place(operand, parts);
  if (index && !isVsib && index.number === STACK_POINTER) return `'${index.name}' cannot be an index`;
  if (index && ![1, 2, 4, 8].includes(scale)) return `an index can be multiplied by 1, 2, 4 or 8, not by ${scale}`;
  const extensions = {
    rexX: index !== undefined && (index.number & 8) !== 0,
    rexB: base !== undefined && (base.number & 8) !== 0,
    evexV: index !== undefined && index.number >= 16,
    ripRelative: false,
  };
  const sib = (baseField: number): number =>
    (Math.log2(index ? scale : 1) << 6) | ((index ? index.number & 7 : NO_INDEX) << 3) | baseField;
  if (!base) {
    const { displacement } = parts;
    return { ...extensions, mod: 0, rm: HAS_SIB, sib: sib(NO_BASE), displacement, displacementBytes: 4 };
  }
  const { mod, displacement } = displacementMode(operand, parts, compression, (base.number & 7) === BASE_POINTER);
  const displacementBytes = mod === 0 ? 0 : mod === 1 ? 1 : 4;
  const rest = { ...extensions, mod, displacement, displacementBytes } as const;
  const baseField = base.number & 7;
  if (!index && baseField !== STACK_POINTER) return { ...rest, rm: baseField, sib: undefined };
  return { ...rest, rm: HAS_SIB, sib: sib(baseField) };
}

/** ModRM.mod, and the displacement divided by the EVEX factor where it is compressed. */
function displacementMode(
  operand: MemoryOperand,
  parts: AddressParts,
  compression: number,
  needsDisplacement: boolean,
): { mod: number; displacement: Value } {
  const { displacement, addressBits } = parts;
  const constant = BigInt.asIntN(addressBits === 64 ? 64 : addressBits, displacement.constant);
  const exact = displacement.terms.length === 0 && !displacement.forward;
  const forced = operand.displacementBits;
  if (exact && constant === 0n && forced === undefined && !needsDisplacement) return { mod: 0, displacement };
  const divisible = constant % BigInt(compression) === 0n;
  const scaled = divisible ? constant / BigInt(compression) : constant;
  const fits = divisible && scaled >= -128n && scaled <= 127n;
  const short = forced === 8 || (forced === undefined && exact && fits);
  if (!short) return { mod: 2, displacement };
  return { mod: 1, displacement: exact && divisible ? { ...displacement, constant: scaled } : displacement };
}

/** ModRM.rm of 16-bit addresses by base and index. */
const RM16: Readonly<Record<string, number>> = {
  'bx+si': 0,
  'bx+di': 1,
  'bp+si': 2,
  'bp+di': 3,
  si: 4,
  di: 5,
  bp: 6,
  bx: 7,
};

function encode16(operand: MemoryOperand, parts: AddressParts, compression: number): EncodedAddress | AddressProblem {
  const names = [parts.base?.name, parts.index?.name].filter((name) => name !== undefined).sort();
  const rm = parts.scale === 1 ? RM16[names.join('+')] : undefined;
  if (rm === undefined) {
    return `expected one of [bx+si], [bx+di], [bp+si], [bp+di], [si], [di], [bp], [bx], found [${names.join('+')}]`;
  }
  const { mod, displacement } = displacementMode(operand, parts, compression, rm === 6);
  return { ...NO_REX, mod, rm, displacement, displacementBytes: mod === 0 ? 0 : mod === 1 ? 1 : 2, ripRelative: false };
}
