/**
 * MONITOR and MWAIT (SDM volume 2). A wait may end at any time for reasons of the implementation's own: this one ends at the
 * next thing that any device does, or at once while another processor runs, so that no store to the monitored line can be
 * missed.
 */
import { checkSegment } from './access.ts';
import { GP, UD } from './events.ts';
import type { DecodedInstruction, SystemInstruction } from './instruction.ts';
import { Privilege, type Processor } from './processor.ts';
import { MISC_ENABLE } from './register-bits.ts';

const RAX = 0;
const RCX = 1;
/** ECX of MWAIT: interrupts end the wait though they are masked. */
const BREAK_ON_INTERRUPTS = 1;

/** Not there outside of ring 0, or where IA32_MISC_ENABLE turns them off. */
function checkExistence({ model, state }: Processor): void {
  const isOn = (state.miscEnable & MISC_ENABLE.MONITOR) !== 0n;
  if (!model.has('MONITOR') || !isOn || state.cpl !== 0) throw UD();
}

function monitoredOffset({ state }: Processor, { addressSize }: DecodedInstruction): number {
  if (addressSize === 64) return state.gprLinear(RAX);
  return addressSize === 32 ? state.gpr32(RAX) : state.gpr32(RAX) & 0xffff;
}

/** The access that MONITOR makes is that of a load of a byte. */
export const MONITOR: SystemInstruction = (cpu, insn) => {
  checkExistence(cpu);
  cpu.intercepts?.onMonitor?.();
  if (cpu.state.gpr32(RCX) !== 0) throw GP(0);
  const linear = checkSegment(cpu, insn.segment, monitoredOffset(cpu, insn), 1, 'read');
  const load = (): unknown => cpu.memory.readU8(linear, Privilege.Current);
  if (cpu.intercepts?.onMonitoring) cpu.intercepts.onMonitoring(load);
  else load();
  cpu.state.monitorArmed = 1;
};

export const MWAIT: SystemInstruction = (cpu) => {
  checkExistence(cpu);
  cpu.intercepts?.onMwait?.();
  if (cpu.state.gpr32(RCX) & ~BREAK_ON_INTERRUPTS) throw GP(0);
  if (cpu.state.monitorArmed === 0) return;
  cpu.state.monitorArmed = 0;
  cpu.waitForDevices();
};
