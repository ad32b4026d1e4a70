/** Which handler takes which exit: one table by exit reason. */
import { ExitReason, type ExitReasonName } from '../../vmx/exit-reasons.ts';
import { handleControlRegister } from './exits/control-registers.ts';
import { handleCpuid } from './exits/cpuid.ts';
import { handleEptViolation } from './exits/ept-violation.ts';
import { handleIo } from './exits/io.ts';
import { handleRdmsr, handleWrmsr } from './exits/msr.ts';
import * as small from './exits/small-exits.ts';
import { nestedInstructions } from './nested/instructions.ts';
import type { ExitHandler } from './virtual-cpu.ts';

const handlers: Partial<Record<ExitReasonName, ExitHandler>> = {
  'Exception or non-maskable interrupt (NMI)': small.handleException,
  'External interrupt': small.handleInterrupt,
  'Triple fault': small.handleTripleFault,
  'Interrupt window': small.handleInterrupt,
  'Task switch': small.handleTaskSwitch,
  CPUID: handleCpuid,
  GETSEC: small.handleUndefined,
  HLT: small.handleHlt,
  INVD: small.handleNothingToDo,
  RDPMC: small.handleNoCounters,
  VMCALL: small.handleVmcall,
  'Control-register accesses': handleControlRegister,
  'I/O instruction': handleIo,
  RDMSR: handleRdmsr,
  WRMSR: handleWrmsr,
  MWAIT: small.handleNothingToDo,
  MONITOR: small.handleNothingToDo,
  PAUSE: small.handleNothingToDo,
  'EPT violation': handleEptViolation,
  'WBINVD or WBNOINVD': small.handleNothingToDo,
  XSETBV: small.handleXsetbv,
  ...nestedInstructions,
};

/** Handlers by basic exit reason. */
export const exitHandlers: ReadonlyMap<number, ExitHandler> = new Map(
  Object.entries(handlers).map(([name, handler]) => [ExitReason[name as ExitReasonName], handler]),
);
