/** MONITOR and MWAIT (SDM volume 2). */

import type { LinearAddress } from '../isa/linear-address.ts';
import { checkSegment } from './access.ts';
import { GP, UD } from './events.ts';
import type { DecodedInstruction, SystemInstruction } from './instruction.ts';
import { MONITOR_LINE_BYTES, MONITORING } from './monitoring.ts';
import { Privilege, type Processor } from './processor.ts';
import { ACTIVITY, MISC_ENABLE } from './register-bits.ts';

const RAX = 0;
const RCX = 1;
/** ECX of MWAIT: interrupts end the wait though they are masked. */
const BREAK_ON_INTERRUPTS = 1;
const READ = 0;

/** Not there outside of ring 0, or where IA32_MISC_ENABLE turns them off. */
function checkExistence({ model, state }: Processor): void {
  const isOn = (state.miscEnable & MISC_ENABLE.MONITOR) !== 0n;
  if (!model.has('MONITOR') || !isOn || state.cpl !== 0) throw UD();
}

function monitoredOffset({ state }: Processor, { addressSize }: DecodedInstruction): LinearAddress {
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
  const physical = cpu.memory.translate(linear, READ, Privilege.Current);
  cpu.state.monitorLine = physical - (physical % MONITOR_LINE_BYTES);
  cpu.state.monitorArmed = MONITORING.ARMED;
  cpu.onMonitor();
};

export const MWAIT: SystemInstruction = (cpu) => {
  checkExistence(cpu);
  cpu.intercepts?.onMwait?.();
  const { state } = cpu;
  const extensions = state.gpr32(RCX);
  if (extensions & ~BREAK_ON_INTERRUPTS) throw GP(0);
  if (state.monitorArmed === MONITORING.OFF) return;
  state.monitorArmed = extensions === 0 ? MONITORING.WAITS : MONITORING.WAITS_FOR_MASKED_TOO;
  state.activityState = ACTIVITY.HLT;
};
