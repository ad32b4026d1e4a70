/** MOV to and from debug registers (SDM volume 3, "Debug Registers"). */
import { type LinearAddress, linearAddressOf, plus } from '../isa/linear-address.ts';
import { DebugFault } from './debug-exceptions.ts';
import { GP, UD } from './events.ts';
import type { SystemInstruction } from './instruction.ts';
import { is64Bit } from './modes.ts';
import { registerIndex, specialRegister, writeRegister } from './operands.ts';
import type { Processor } from './processor.ts';
import { CR4, DR6, DR7, hasBit } from './register-bits.ts';
import type { CpuState } from './state.ts';

/** Reserved bits that read as 1, and the bits that can be written. */
const DR6_FIXED = 0xffff_0ff0;
const DR6_WRITABLE = 0xe00f;
const DR7_FIXED = 0x400;
const DR7_WRITABLE = 0xffff_23ff;

/** What the registers hold after these values were written to them. */
export const asDr6 = (value: number): number => ((value & DR6_WRITABLE) | DR6_FIXED) >>> 0;
export const asDr7 = (value: number): number => ((value & DR7_WRITABLE) | DR7_FIXED) >>> 0;

export const DR6_RESET = DR6_FIXED;
export const DR7_RESET = DR7_FIXED;

/** What a breakpoint of DR0 to DR3 waits for: its R/W field in DR7. */
export const BreakpointKind = { Execute: 0, Write: 1, InputOutput: 2, ReadWrite: 3 } as const;
export type BreakpointKind = (typeof BreakpointKind)[keyof typeof BreakpointKind];

/** Bytes by the LEN field. */
const LENGTHS = [1, 2, 8, 4] as const;
/** L0, G0 … L3, G3. */
const ENABLED = 0xff;

export interface HardwareBreakpoint {
  readonly index: number;
  readonly kind: BreakpointKind;
  /** Linear address or port; a multiple of the length. */
  readonly address: LinearAddress;
  readonly lengthBytes: number;
}

export const hasBreakpoints = ({ dr7 }: CpuState): boolean => (dr7 & ENABLED) !== 0;

/** Those that DR7 enables. Where CR4.DE = 0, none waits for ports. */
export function enabledBreakpoints(state: CpuState): HardwareBreakpoint[] {
  const { dr7 } = state;
  const addresses = [state.dr0, state.dr1, state.dr2, state.dr3];
  return addresses.flatMap((value, index): HardwareBreakpoint[] => {
    const kind = ((dr7 >>> (16 + 4 * index)) & 3) as BreakpointKind;
    const lengthBytes = LENGTHS[(dr7 >>> (18 + 4 * index)) & 3] as number;
    if (((dr7 >>> (2 * index)) & 3) === 0) return [];
    if (kind === BreakpointKind.InputOutput && !hasBit(state.cr4, CR4.DE)) return [];
    const address = linearAddressOf(value & ~BigInt(lengthBytes - 1));
    return [{ index, kind, address, lengthBytes }];
  });
}

/** Bits B0 to B3 of DR6 for the enabled breakpoints of these kinds that an access meets. */
export function matchBreakpoints(
  state: CpuState,
  kinds: readonly BreakpointKind[],
  address: LinearAddress,
  lengthBytes: number,
): number {
  let bits = 0;
  // AMD-V discards them while GIF is 0; it is 1 on all other processors.
  if (!state.globalInterruptFlag) return bits;
  for (const breakpoint of enabledBreakpoints(state)) {
    const end = plus(breakpoint.address, breakpoint.lengthBytes);
    const overlaps = address < end && breakpoint.address < plus(address, lengthBytes);
    if (overlaps && kinds.includes(breakpoint.kind)) bits |= 1 << breakpoint.index;
  }
  return bits;
}

/** An access to ports was made: its breakpoints are traps. */
export function meetPortBreakpoints({ state }: Processor, port: number, sizeBytes: number): void {
  if (hasBreakpoints(state))
    state.pendingDebug |= matchBreakpoints(state, [BreakpointKind.InputOutput], port, sizeBytes);
}

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
  else if (register === 6) state.dr6 = asDr6(Number(value));
  else state.dr7 = asDr7(Number(value));
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
