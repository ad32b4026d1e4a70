import type { Bits } from './address.ts';
import { Code, type Form } from './forms.ts';
import type { EvaluatedOperand, MatchRequest } from './match.ts';
import { type RegisterInfo, registerNamed } from './registers.ts';
import type { Operand } from './syntax.ts';
import { constantValue } from './value.ts';

type Operands = readonly EvaluatedOperand[];

/**
 * The ways in which NASM reads the operands of an instruction, in the order in which it tries them. Most instructions
 * have one; XCHG and TEST take theirs in either order, x87 instructions may leave out ST0 or ST1, and so on.
 */
export function operandVariants(name: string, request: MatchRequest): OperandVariant[] {
  const { operands } = request;
  const special = VARIANTS[name]?.(operands, request) ?? [];
  const others = [
    ...(name.startsWith('f') ? x87Variants(name, operands) : []),
    ...(name.startsWith('v') ? repeatFirst(operands) : []),
  ];
  return [
    ...special.filter((one) => one.first),
    { operands },
    ...special.filter((one) => !one.first),
    ...others.map((one) => ({ operands: one })),
  ];
}

/** One reading of the operands. */
export interface OperandVariant {
  readonly operands: Operands;
  /** What an operand that is not encoded says about the address size. */
  readonly addressSize?: Bits;
}

interface Variant extends OperandVariant {
  /** Tried before the operands as written. */
  readonly first: boolean;
}

function registerOperand(like: Operand, register: RegisterInfo): EvaluatedOperand {
  const { range } = like;
  return { operand: { kind: 'register', register, range, strict: false, to: false, decorators: {} } };
}

function registerOf(evaluated: EvaluatedOperand | undefined): RegisterInfo | undefined {
  return evaluated?.operand.kind === 'register' ? evaluated.operand.register : undefined;
}

function swapped(operands: Operands): Operands[] {
  const [first, second] = operands;
  return first && second && operands.length === 2 ? [[second, first]] : [];
}

const VARIANTS: Readonly<Record<string, (operands: Operands, request: MatchRequest) => Variant[]>> = {
  xchg: exchange,
  test: (operands) => swapped(operands).map((one) => ({ operands: one, first: false })),
  mov: moveVariants,
  imul: (operands) => {
    const [first, second] = operands;
    const immediate = second?.operand.kind === 'immediate' && operands.length === 2;
    return first && second && immediate ? [{ operands: [first, first, second], first: true }] : [];
  },
  lar: likeTarget,
  lsl: likeTarget,
  aam: defaultTen,
  aad: defaultTen,
  loop: counterVariants,
  loope: counterVariants,
  loopz: counterVariants,
  loopne: counterVariants,
  loopnz: counterVariants,
  invlpga: implicitAddress,
  blendvps: implicitXmm0,
  blendvpd: implicitXmm0,
  pblendvb: implicitXmm0,
  sha256rnds2: implicitXmm0,
  pextrb: narrowResult,
  vpextrb: narrowResult,
  vpextrw: narrowResult,
  vmovmskps: narrowResult,
  vmovmskpd: narrowResult,
  vpmovmskb: narrowResult,
};

/** XCHG with the accumulator is one byte in either order; of other registers NASM puts the first into ModRM.reg. */
function exchange(operands: Operands): Variant[] {
  const [a, b] = [registerOf(operands[0]), registerOf(operands[1])];
  const both = a !== undefined && b !== undefined;
  const accumulatorLast = both && b.number === 0 && b.class !== 'r8';
  return swapped(operands).map((one) => ({ operands: one, first: both && !accumulatorLast }));
}

/** 90 is NOP in 64-bit code and does not clear the upper half of RAX, so it is no `xchg eax, eax` there. */
export function excludedForm(name: string, request: MatchRequest): Code | undefined {
  const isEax = (operand: EvaluatedOperand | undefined): boolean => registerOf(operand)?.name === 'eax';
  const clears = name === 'xchg' && request.bits === 64 && request.operands.every(isEax);
  return clears ? Code.Xchg_r32_EAX : undefined;
}

function defaultTen(operands: Operands): Variant[] {
  if (operands.length > 0) return [];
  const range = { file: '', line: 1, column: 1, length: 1 };
  const operand: Operand = {
    kind: 'immediate',
    range,
    strict: false,
    decorators: {},
    value: { kind: 'number', value: 10n, range },
  };
  return [{ operands: [{ operand, value: constantValue(10n) }], first: true }];
}

/** LAR and LSL read a selector of 16 bits, whatever size the register is written in. */
function likeTarget(operands: Operands): Variant[] {
  const [target, source] = operands;
  const [to, from] = [registerOf(target), registerOf(source)];
  if (!target || !source || !to || !from || operands.length !== 2 || to.sizeBits < 16 || to.class === from.class)
    return [];
  const same = registerNamed(nameOfSize(from, to.sizeBits));
  return same ? [{ operands: [target, registerOperand(source.operand, same)], first: false }] : [];
}

/** `loop target, ecx` names the counter, which is the address size. */
function counterVariants(operands: Operands): Variant[] {
  const [target, counter] = operands;
  const register = registerOf(counter);
  if (!target || register?.number !== 1) return [];
  return [{ operands: [target], first: false, addressSize: register.sizeBits as Bits }];
}

/** `invlpga rax, ecx` names what it takes anyway; the accumulator is as wide as an address. */
function implicitAddress(operands: Operands): Variant[] {
  const [address, asid] = operands.map(registerOf);
  if (operands.length !== 2 || asid?.name !== 'ecx' || address?.number !== 0 || !/^[re]?ax$/.test(address.name))
    return [];
  return [{ operands: [], first: true, addressSize: address.sizeBits as Bits }];
}

/** The result is zero-extended anyway, so NASM encodes a 64-bit register as its lower half. */
function narrowResult(operands: Operands): Variant[] {
  const [target, ...rest] = operands;
  const register = registerOf(target);
  if (!target || register?.class !== 'r64') return [];
  return [{ operands: [registerOperand(target.operand, neutralRegister(register, 32)), ...rest], first: true }];
}

function implicitXmm0(operands: Operands): Variant[] {
  const third = registerOf(operands[2]);
  return third?.name === 'xmm0' ? [{ operands: operands.slice(0, 2), first: false }] : [];
}

/**
 * `mov rax, imm`: NASM writes MOV EAX for what fits 32 bits unsigned, and the 64-bit immediate only for what fits no
 * sign-extended doubleword. Segment registers are moved in the operand size that needs no prefix.
 */
function moveVariants(operands: Operands, request: MatchRequest): Variant[] {
  const [target, source] = operands;
  if (!target || !source) return [];
  const register = registerOf(target);
  if (register?.class === 'r64' && source.operand.kind === 'immediate') return moveImmediate(target, source, register);
  if (register?.class === 'segment') return neutralSegmentMove(operands, 1, request);
  if (registerOf(source)?.class === 'segment' && register?.class === 'r64') {
    return neutralSegmentMove(operands, 0, request);
  }
  return [];
}

function moveImmediate(target: EvaluatedOperand, source: EvaluatedOperand, register: RegisterInfo): Variant[] {
  const { operand, value } = source;
  if (!value || operand.strict || value.forward || value.terms.length > 0) return [];
  if (operand.sizeBits !== undefined && operand.sizeBits !== 64) return [];
  const unsigned = value.constant >= 0n && value.constant <= 0xffffffffn;
  const half = registerNamed(register.number < 8 ? `e${register.name.slice(1)}` : `${register.name}d`);
  const plain = { ...source, operand: withSize(operand, unsigned ? undefined : 32) };
  if (unsigned && half) return [{ operands: [registerOperand(target.operand, half), plain], first: true }];
  const signed = BigInt.asIntN(32, value.constant) === value.constant;
  return signed ? [{ operands: [target, plain], first: true }] : [];
}

function withSize(operand: Operand, sizeBits: number | undefined): Operand {
  const { sizeBits: _dropped, ...rest } = operand;
  return sizeBits === undefined ? rest : { ...rest, sizeBits };
}

function neutralSegmentMove(operands: Operands, general: 0 | 1, request: MatchRequest): Variant[] {
  const operand = operands[general];
  const register = registerOf(operand);
  if (!operand || !register || !['r16', 'r32', 'r64'].includes(register.class)) return [];
  const neutral = neutralRegister(register, request.bits === 16 ? 16 : 32);
  const replaced = registerOperand(operand.operand, neutral);
  return [{ operands: operands.map((one, index) => (index === general ? replaced : one)), first: true }];
}

const STEMS = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];

function neutralRegister(register: RegisterInfo, sizeBits: 16 | 32): RegisterInfo {
  return registerNamed(nameOfSize(register, sizeBits)) ?? register;
}

/** The name of the part of 16, 32 or 64 bits of a general-purpose register. */
function nameOfSize(register: RegisterInfo, sizeBits: number): string {
  const stem = STEMS[register.number];
  if (stem === undefined) return `r${register.number}${sizeBits === 16 ? 'w' : sizeBits === 32 ? 'd' : ''}`;
  return `${sizeBits === 16 ? '' : sizeBits === 32 ? 'e' : 'r'}${stem}`;
}

/** `fadd st1` is `fadd st0, st1`; `fadd to st1` is `fadd st1, st0`; `faddp` is `faddp st1, st0`. */
function x87Variants(name: string, operands: Operands): Operands[] {
  const [only, second] = operands;
  if (second) return [];
  const like: Operand = only?.operand ?? {
    kind: 'register',
    register: ST0,
    range: { file: '', line: 1, column: 1, length: 1 },
    strict: false,
    to: false,
    decorators: {},
  };
  const st0 = registerOperand(like, ST0);
  const operand = only ?? registerOperand(like, ST1);
  if (registerOf(operand)?.class !== 'st') return [];
  const to = operand.operand.kind === 'register' && operand.operand.to;
  const pops = POPPING.has(name);
  const ordered = to || pops ? [operand, st0] : [st0, operand];
  return only ? [ordered] : [[operand], ordered];
}

const POPPING: ReadonlySet<string> = new Set(['faddp', 'fmulp', 'fsubp', 'fsubrp', 'fdivp', 'fdivrp']);

function st(number: number): RegisterInfo {
  const register = registerNamed(`st${number}`);
  if (!register) throw new Error(`register st${number} is missing from the register table`);
  return register;
}

const ST0 = st(0);
const ST1 = st(1);

/** `vaddps xmm1, xmm2` stands for `vaddps xmm1, xmm1, xmm2`. */
function repeatFirst(operands: Operands): Operands[] {
  const [first, ...rest] = operands;
  return first && rest.length > 0 && first.operand.kind === 'register' ? [[first, first, ...rest]] : [];
}

/** Whether the operands written are only implied by the form and are not encoded. */
export function dropsOperand(form: Form): boolean {
  return form.operands.length === 0 && form.code !== Code.INVALID;
}
