/** MOV to and from debug registers (SDM volume 3, "Debug Registers"). */
import { DebugFault } from './debug-exceptions.ts';
import { GP, UD } from './events.ts';
import type { SystemInstruction } from './instruction.ts';
import { is64Bit } from './modes.ts';
import { registerIndex, specialRegister, writeRegister } from './operands.ts';
import type { Processor } from './processor.ts';
import { CR4, DR6, DR7, hasBit } from './register-bits.ts';

/** Reserved bits that read as 1, and the bits that can be written. */
const DR6_FIXED = 0xffff_0ff0;
const DR6_WRITABLE = 0xe00f;
const DR7_FIXED = 0x400;
const DR7_WRITABLE = 0xffff_23ff;

export const DR6_RESET = DR6_FIXED;
export const DR7_RESET = DR7_FIXED;

/** Number of the register meant: DR4 and DR5 are DR6 and DR7 unless CR4.DE makes them undefined. */
function resolve(cpu: Processor, register: number): number {
  if (register >= 8) throw UD();
  if (register !== 4 && register !== 5) return register;
  if (hasBit(cpu.state.cr4, CR4.DE)) throw UD();
  return register + 2;
}

/** Checks common to both directions: existence, privilege, VMX, general detection. */
function checkAccess(cpu: Processor, register: number, gpr: number, direction: 'read' | 'write'): void {
  const { state } = cpu;
  if (state.cpl !== 0) throw GP(0);
  cpu.intercepts?.onDr?.(register, gpr, direction);
  if (hasBit(state.dr7, DR7.GD)) throw new DebugFault(DR6.BD, false);
}

function readDebugRegister({ state }: Processor, register: number): bigint {
  const all = [state.dr0, state.dr1, state.dr2, state.dr3];
  return all[register] ?? BigInt(register === 6 ? state.dr6 : state.dr7);
}

function writeDebugRegister({ state }: Processor, register: number, value: bigint): void {
  if (register === 0) state.dr0 = value;
  else if (register === 1) state.dr1 = value;
  else if (register === 2) state.dr2 = value;
  else if (register === 3) state.dr3 = value;
  else if (value >> 32n !== 0n) throw GP(0);
  else if (register === 6) state.dr6 = (Number(value) & DR6_WRITABLE) | DR6_FIXED;
  else state.dr7 = (Number(value) & DR7_WRITABLE) | DR7_FIXED;
}

export const MOV_FROM_DR: SystemInstruction = (cpu, insn) => {
  const register = resolve(cpu, specialRegister(insn, 1));
  const gpr = registerIndex(insn, 0);
  checkAccess(cpu, register, gpr, 'read');
  writeRegister(cpu, gpr, is64Bit(cpu.state) ? 64 : 32, readDebugRegister(cpu, register));
};

export const MOV_TO_DR: SystemInstruction = (cpu, insn) => {
  const register = resolve(cpu, specialRegister(insn, 0));
  const gpr = registerIndex(insn, 1);
  checkAccess(cpu, register, gpr, 'write');
  const value = is64Bit(cpu.state) ? cpu.state.gpr(gpr) : BigInt(cpu.state.gpr32(gpr));
  const before = readDebugRegister(cpu, register);
  writeDebugRegister(cpu, register, value);
  cpu.hooks.controlRegisterWritten(`DR${register}`, before, value);
};
