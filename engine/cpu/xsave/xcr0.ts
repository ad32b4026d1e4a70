/** XGETBV and XSETBV: XCR0 (SDM volume 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features"). */
import { GP, UD } from '../events.ts';
import type { SystemInstruction } from '../instruction.ts';
import type { Processor } from '../processor.ts';
import { CR4 } from '../register-bits.ts';
import { COMPONENT, componentsInUse, supportedComponents } from './components.ts';

const [RAX, RCX, RDX] = [0, 1, 2];

/** #UD for each instruction of the feature set until the operating system has enabled it. */
export function checkEnabled({ state }: Processor): void {
  if ((state.cr4 & CR4.OSXSAVE) === 0) throw UD();
}

/** ECX = 0: XCR0; ECX = 1: those of its components that are in use. */
export const XGETBV: SystemInstruction = (cpu) => {
  const { state } = cpu;
  checkEnabled(cpu);
  const index = state.gpr32(RCX);
  if (index > (cpu.model.has('XGETBV1') ? 1 : 0)) throw GP(0);
  state.setGpr32(RAX, index === 0 ? state.xcr0 : state.xcr0 & componentsInUse(state));
  state.setGpr32(RDX, 0);
};

/** The x87 component cannot be disabled, and AVX needs SSE. */
function isValid(cpu: Processor, value: number): boolean {
  const { X87, SSE, AVX } = COMPONENT;
  if ((value & ~supportedComponents(cpu)) !== 0 || (value & X87) === 0) return false;
  return (value & AVX) === 0 || (value & SSE) !== 0;
}

/** Writes EDX:EAX to the extended control register ECX; false if that is not allowed. */
export function writeExtendedControl(cpu: Processor): boolean {
  const { state } = cpu;
  const value = state.gpr32(RAX);
  if (state.gpr32(RCX) !== 0 || state.gpr32(RDX) !== 0 || !isValid(cpu, value)) return false;
  const before = state.xcr0;
  state.xcr0 = value;
  cpu.hooks.controlRegisterWritten('XCR0', before, value);
  return true;
}

export const XSETBV: SystemInstruction = (cpu) => {
  checkEnabled(cpu);
  if (cpu.state.cpl !== 0) throw GP(0);
  cpu.intercepts?.onXsetbv?.();
  if (!writeExtendedControl(cpu)) throw GP(0);
};
