/** x87 comparisons and FXAM. */
import { compare, type Relation } from '../../float/compare.ts';
import { FloatException } from '../../float/environment.ts';
import { extended80 } from '../../float/format.ts';
import { unpack } from '../../float/unpack.ts';
import { readFlags } from '../flags.ts';
import type { SystemInstruction } from '../instruction.ts';
import { memoryOperand } from '../operands.ts';
import type { Processor } from '../processor.ts';
import { RFLAGS } from '../register-bits.ts';
import { fullPrecision } from './arithmetic.ts';
import { readInteger, readReal, type Source } from './memory-operands.ts';
import { FSW, isEmpty, pop, readStack } from './register-stack.ts';
import {
  hasEmpty,
  hasMemoryOperand,
  raise,
  setPointers,
  stackRegister,
  stackUnderflow,
  waiting,
} from './x87-instruction.ts';

/** Whether quiet NaNs, too, are an invalid operation. */
type Kind = 'quiet' | 'signalling';
type Outcome = { readonly relation: Relation; readonly delivered: boolean };

const CONDITIONS: Readonly<Record<Relation, number>> = {
  greater: 0,
  less: FSW.C0,
  equal: FSW.C3,
  unordered: FSW.C0 | FSW.C2 | FSW.C3,
};
const STATUS_FLAGS: Readonly<Record<Relation, number>> = {
  greater: 0,
  less: RFLAGS.CF,
  equal: RFLAGS.ZF,
  unordered: RFLAGS.CF | RFLAGS.PF | RFLAGS.ZF,
};

/** Compares ST(0) with a source, which is undefined if it is an empty register. */
function compareWith(cpu: Processor, source: Source | undefined, kind: Kind): Outcome {
  const { state } = cpu;
  if (!source || isEmpty(state, 0)) return { relation: 'unordered', delivered: stackUnderflow(cpu) };
  const own = readStack(state, 0);
  const { relation, exceptions } = compare(extended80, fullPrecision(state.fcw), own, source.bits, kind);
  const denormal = source.isDenormal && relation !== 'unordered' ? FloatException.Denormal : 0;
  return { relation, delivered: raise(cpu, exceptions | denormal, false) };
}

/** The register ST(i) as a source. */
const register = ({ state }: Processor, i: number): Source | undefined =>
  isEmpty(state, i) ? undefined : { bits: readStack(state, i), isDenormal: false };

/** The conditions are set even if the exception is unmasked, as silicon does it; the manual says they are not (FCOM). */
function deliver(cpu: Processor, { relation, delivered }: Outcome, pops: number): void {
  const { state } = cpu;
  state.fsw = (state.fsw & ~(FSW.C0 | FSW.C2 | FSW.C3)) | CONDITIONS[relation];
  if (!delivered) return;
  for (let n = 0; n < pops; n++) pop(state);
}

const withMemory = (read: typeof readReal, pops: number): SystemInstruction =>
  waiting((cpu, insn) => {
    const operand = memoryOperand(insn, 0);
    const source = read(cpu, operand);
    setPointers(cpu, insn, operand);
    deliver(cpu, compareWith(cpu, source, 'signalling'), pops);
  });

const withRegister = (kind: Kind, pops: number): SystemInstruction =>
  waiting((cpu, insn) => {
    setPointers(cpu, insn);
    const i = insn.operandCount === 0 ? 1 : stackRegister(insn, 1);
    deliver(cpu, compareWith(cpu, register(cpu, i), kind), pops);
  });

function real(pops: number): SystemInstruction {
  const [memory, between] = [withMemory(readReal, pops), withRegister('signalling', pops)];
  return (cpu, insn) => (hasMemoryOperand(insn) ? memory(cpu, insn) : between(cpu, insn));
}

export const FCOM = real(0);
export const FCOMP = real(1);
export const FCOMPP = withRegister('signalling', 2);
export const FICOM = withMemory(readInteger, 0);
export const FICOMP = withMemory(readInteger, 1);
export const FUCOM = withRegister('quiet', 0);
export const FUCOMP = withRegister('quiet', 1);
export const FUCOMPP = withRegister('quiet', 2);

/**
 * A comparison whose outcome goes to ZF, PF and CF; OF, SF and AF are cleared, and C1 only when the stack underflows.
 * As with the others, and unlike what the manual says, an unmasked exception does not keep the flags from being set.
 */
const toFlags = (kind: Kind, pops: number): SystemInstruction =>
  waiting((cpu, insn) => {
    const { state } = cpu;
    setPointers(cpu, insn);
    const i = stackRegister(insn, 1);
    const c1 = hasEmpty(state, 0, i) ? 0 : state.fsw & FSW.C1;
    const { relation, delivered } = compareWith(cpu, register(cpu, i), kind);
    state.fsw |= c1;
    const cleared = RFLAGS.CF | RFLAGS.PF | RFLAGS.AF | RFLAGS.ZF | RFLAGS.SF | RFLAGS.OF;
    cpu.writeFlags((readFlags(state) & ~cleared) | STATUS_FLAGS[relation]);
    if (!delivered) return;
    for (let n = 0; n < pops; n++) pop(state);
  });

export const FCOMI = toFlags('signalling', 0);
export const FCOMIP = toFlags('signalling', 1);
export const FUCOMI = toFlags('quiet', 0);
export const FUCOMIP = toFlags('quiet', 1);

/** FTST compares with +0. */
export const FTST = waiting((cpu, insn) => {
  setPointers(cpu, insn);
  deliver(cpu, compareWith(cpu, { bits: 0n, isDenormal: false }, 'signalling'), 0);
});

const CLASSES = {
  unsupported: 0,
  'quiet NaN': FSW.C0,
  'signalling NaN': FSW.C0,
  normal: FSW.C2,
  infinity: FSW.C2 | FSW.C0,
  zero: FSW.C3,
  empty: FSW.C3 | FSW.C0,
  denormal: FSW.C3 | FSW.C2,
} as const;

/** FXAM: C3, C2, C0 say what ST(0) is, C1 its sign, even if it is empty. */
export const FXAM = waiting((cpu, insn) => {
  const { state } = cpu;
  setPointers(cpu, insn);
  const value = unpack(extended80, readStack(state, 0));
  const found = CLASSES[isEmpty(state, 0) ? 'empty' : value.class];
  const kept = state.fsw & ~(FSW.C0 | FSW.C1 | FSW.C2 | FSW.C3);
  state.fsw = kept | found | (value.negative ? FSW.C1 : 0);
});
