/**
 * RDRAND and RDSEED (SDM volume 2). Their numbers come from a sequence that is part of the CPU state, so that a run stays a
 * function of its inputs; where it begins is configured (`cpu.randomSeed`).
 */
import { readFlags, STATUS_FLAGS } from './flags.ts';
import type { DecodedInstruction, SystemInstruction } from './instruction.ts';
import { registerIndex, writeRegister } from './operands.ts';
import type { Processor } from './processor.ts';
import { RFLAGS } from './register-bits.ts';

/** SplitMix64: the state goes up by a constant, and is mixed into a number (Steele, Lea, Flood, OOPSLA 2014). */
const STEP = 0x9e37_79b9_7f4a_7c15n;

function nextNumber({ state }: Processor): bigint {
  state.randomState = BigInt.asUintN(64, state.randomState + STEP);
  let value = state.randomState;
  value = BigInt.asUintN(64, (value ^ (value >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
  value = BigInt.asUintN(64, (value ^ (value >> 27n)) * 0x94d0_49bb_1331_11ebn);
  return value ^ (value >> 31n);
}

/** Where the sequence of a processor begins. */
export const randomStart = (seed: number, apicId: number): bigint =>
  BigInt.asUintN(64, (BigInt(seed) << 8n) + BigInt(apicId));

/** There always is a number: CF = 1. The other status flags are cleared. */
const random: SystemInstruction = (cpu: Processor, insn: DecodedInstruction) => {
  if (cpu.intercepts?.onRandom?.(insn)) return;
  const size = insn.operandSize;
  writeRegister(cpu, registerIndex(insn, 0), size, BigInt.asUintN(size, nextNumber(cpu)));
  cpu.writeFlags((readFlags(cpu.state) & ~STATUS_FLAGS) | RFLAGS.CF);
};

export const RDRAND = random;
export const RDSEED = random;
