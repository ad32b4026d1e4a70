/** MOV to and from segment registers, PUSH and POP of them, LDS LES LFS LGS LSS (SDM volume 2). */
import { readOperandMemory } from './access.ts';
import { UD } from './events.ts';
import type { DecodedInstruction, SystemInstruction } from './instruction.ts';
import { is64Bit } from './modes.ts';
import {
  memoryOperand,
  readWord,
  registerIndex,
  specialRegister,
  writeRegister,
  writeWordOrRegister,
} from './operands.ts';
import { loadDataSegment, loadDataSegmentWithShadow } from './segmentation.ts';
import { commitToCurrentStack, currentStack, PopFrame } from './stack.ts';
import { CS, DS, ES, FS, GS, SS } from './state.ts';

export const MOV_TO_SEGMENT: SystemInstruction = (cpu, insn) => {
  const index = specialRegister(insn, 0);
  if (index === CS || index > GS) throw UD();
  loadDataSegmentWithShadow(cpu, index, readWord(cpu, insn, 1));
};

export const MOV_FROM_SEGMENT: SystemInstruction = (cpu, insn) => {
  const index = specialRegister(insn, 1);
  if (index > GS) throw UD();
  writeWordOrRegister(cpu, insn, 0, BigInt(cpu.state.segment(index).selector));
};

/** A selector is zero-extended to the operand size; 32-bit pushes write 16 bits only, as Intel CPUs do. */
export const PUSH_SEGMENT: SystemInstruction = (cpu, insn) => {
  const selector = cpu.state.segment(specialRegister(insn, 0)).selector;
  const frame = currentStack(cpu);
  frame.push(selector, insn.operandSize / 8, insn.operandSize === 32 ? 2 : insn.operandSize / 8);
  commitToCurrentStack(cpu, frame);
};

export const POP_SEGMENT: SystemInstruction = (cpu, insn) => {
  const index = specialRegister(insn, 0);
  const sizeBytes = insn.operandSize / 8;
  const frame = new PopFrame(cpu);
  // Only the selector is read, whatever the operand size moves the stack pointer by.
  const selector = frame.popSelector(2);
  frame.skip(sizeBytes - 2);
  // The stack pointer moves by the width of the stack that was popped from, also when SS itself is loaded.
  loadDataSegmentWithShadow(cpu, index, selector);
  frame.commit();
};

const loadFarPointer =
  (index: number): SystemInstruction =>
  (cpu, insn: DecodedInstruction) => {
    if (is64Bit(cpu.state) && (index === DS || index === ES)) throw UD();
    const operand = memoryOperand(insn, 1);
    const sizeBytes = insn.operandSize / 8;
    const offset = readOperandMemory(cpu, operand, 0, sizeBytes);
    const selector = Number(readOperandMemory(cpu, operand, sizeBytes, 2));
    loadDataSegment(cpu, index, selector);
    writeRegister(cpu, registerIndex(insn, 0), insn.operandSize, offset);
  };

export const LES = loadFarPointer(ES);
export const LDS = loadFarPointer(DS);
export const LSS = loadFarPointer(SS);
export const LFS = loadFarPointer(FS);
export const LGS = loadFarPointer(GS);
