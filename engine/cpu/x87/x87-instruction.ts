/**
 * What all x87 instructions have in common: availability, exceptions that wait, the pointers to the last instruction, and
 * how exceptions are recorded (SDM volume 1, "x87 FPU Exception Handling").
 */
import { preComputationExceptions } from '../../float/environment.ts';
import { GuestFault, NM, Vector } from '../events.ts';
import type { DecodedInstruction, MemoryOperand, SystemInstruction } from '../instruction.ts';
import type { Processor } from '../processor.ts';
import { CR0 } from '../register-bits.ts';
import { type CpuState, CS } from '../state.ts';
import { EXCEPTIONS, FSW, isEmpty, updateErrorSummary } from './register-stack.ts';

const MF = () => new GuestFault(Vector.MF);

/** WAIT heeds TS only together with MP; all others heed EM and TS. */
function checkAvailable({ state }: Processor): void {
  if (state.cr0 & (CR0.EM | CR0.TS)) throw NM();
}

/**
 * Whether an exception that is pending keeps the instruction from executing: #MF, or with CR0.NE = 0 a wait for the
 * interrupt that FERR# asks for, during which the instruction is begun again and again.
 */
export function waitsForException(cpu: Processor, insn: DecodedInstruction): boolean {
  const { state, fpuErrors } = cpu;
  if ((state.fsw & FSW.ES) === 0) return false;
  if (state.cr0 & CR0.NE) throw MF();
  if (fpuErrors?.ignoresErrors()) return false;
  cpu.intercepts?.onFpuFreeze?.();
  cpu.jump(insn.ip);
  return true;
}

/** FERR#: an exception is pending, which is not reported by #MF. */
export const assertsError = ({ fsw, cr0 }: CpuState): boolean => (fsw & FSW.ES) !== 0 && (cr0 & CR0.NE) === 0;

/** An instruction that first looks whether an exception is pending. */
export const waiting =
  (operation: SystemInstruction): SystemInstruction =>
  (cpu, insn) => {
    checkAvailable(cpu);
    if (!waitsForException(cpu, insn)) operation(cpu, insn);
  };

/** One that does not: FNINIT, FNSTSW and so on. */
export const nonWaiting =
  (operation: SystemInstruction): SystemInstruction =>
  (cpu, insn) => {
    checkAvailable(cpu);
    operation(cpu, insn);
  };

/** Remembers a non-control instruction, and its memory operand if it has one. */
export function setPointers({ state }: Processor, insn: DecodedInstruction, memory?: MemoryOperand): void {
  state.fop = insn.x87Opcode;
  state.fip = insn.ip;
  state.fcs = state.segment(CS).selector & 0xffff;
  if (memory) {
    state.fdp = memory.offset;
    state.fds = state.segment(memory.segment).selector & 0xffff;
  }
}

/**
 * Records exceptions. C1 becomes what is given: whether rounding went up, or with a stack fault whether the stack
 * overflowed. Returns whether the result may be delivered: not if an exception that is found before there is a result is
 * unmasked, which then keeps those of the result from being found.
 */
export function raise(cpu: Processor, exceptions: number, c1: boolean): boolean {
  const { state } = cpu;
  const isDelivered = (exceptions & ~state.fcw & preComputationExceptions) === 0;
  const found = isDelivered ? exceptions : exceptions & (preComputationExceptions | FSW.SF);
  const isUp = c1 && (isDelivered || (exceptions & FSW.SF) !== 0);
  state.fsw = (state.fsw & ~FSW.C1) | found | (isUp ? FSW.C1 : 0);
  if (found !== 0) {
    updateErrorSummary(state);
    if (state.fsw & FSW.ES) cpu.fpuErrors?.changed();
  }
  return isDelivered;
}

/** Invalid operation because a register is empty. Returns whether the masked response is asked for. */
export const stackUnderflow = (cpu: Processor): boolean => raise(cpu, FSW.IE | FSW.SF, false);
/** The same because the register to be pushed to is not empty. */
export const stackOverflow = (cpu: Processor): boolean => raise(cpu, FSW.IE | FSW.SF, true);

export const hasEmpty = (state: CpuState, ...registers: readonly number[]): boolean =>
  registers.some((i) => isEmpty(state, i));

/** Told by the ModR/M byte, which is quicker than by the operand. */
export const hasMemoryOperand = ({ x87Opcode }: DecodedInstruction): boolean => (x87Opcode & 0xc0) !== 0xc0;

/** Index of the register operand `position`. */
export function stackRegister(insn: DecodedInstruction, position: number): number {
  const operand = insn.operand(position);
  if (operand.kind === 'x87') return operand.index;
  throw new Error(`internal: ${insn.mnemonic}: operand ${position}: expected ST(i), found ${operand.kind}`);
}

/** Whether exceptions that are found after the result keep a store from memory: an unmasked overflow or underflow. */
export const isStored = ({ fcw }: CpuState, exceptions: number): boolean =>
  (exceptions & ~fcw & EXCEPTIONS & ~FSW.PE) === 0;
