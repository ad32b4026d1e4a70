/** INT n, INT3, INTO, INT1 and BOUND's #BR (SDM volume 2, "INT n/INTO/INT3/INT1"). */
import { DebugFault } from './debug-exceptions.ts';
import { GuestFault, UD, Vector } from './events.ts';
import { readFlags } from './flags.ts';
import type { DecodedInstruction, SystemInstruction } from './instruction.ts';
import { deliverEvent } from './interrupts.ts';
import { is64Bit, isVirtual8086 } from './modes.ts';
import { immediate } from './operands.ts';
import { EventType, type Processor } from './processor.ts';
import { RFLAGS } from './register-bits.ts';
import { redirectSoftwareInterrupt } from './virtual-8086.ts';

function softwareEvent(cpu: Processor, insn: DecodedInstruction, vector: number, type: EventType): void {
  const { nextIp, lengthBytes } = insn;
  cpu.transferred = true;
  deliverEvent(cpu, { type, vector, returnIp: nextIp, instructionLengthBytes: lengthBytes });
}

export const INT_N: SystemInstruction = (cpu, insn) => {
  const vector = immediate(insn, 0) & 0xff;
  cpu.intercepts?.onSoftwareInterrupt?.(vector);
  if (isVirtual8086(cpu.state) && redirectSoftwareInterrupt(cpu, vector, insn.nextIp)) return;
  softwareEvent(cpu, insn, vector, EventType.softwareInterrupt);
};

/** A software exception asks the exception bitmap like any other exception. */
function softwareException(cpu: Processor, insn: DecodedInstruction, vector: number): void {
  cpu.intercepts?.onException?.(new SoftwareException(vector, insn.lengthBytes));
  softwareEvent(cpu, insn, vector, EventType.softwareException);
}

/** The #BP or #OF of INT3 and INTO, as `Intercepts.onException` sees it: it has an instruction length. */
export class SoftwareException extends GuestFault {
  readonly instructionLengthBytes: number;

  constructor(vector: number, instructionLengthBytes: number) {
    super(vector);
    this.instructionLengthBytes = instructionLengthBytes;
  }
}

export const INT3: SystemInstruction = (cpu, insn) => softwareException(cpu, insn, Vector.BP);

export const INTO: SystemInstruction = (cpu, insn) => {
  if (is64Bit(cpu.state)) throw UD();
  if (readFlags(cpu.state) & RFLAGS.OF) softwareException(cpu, insn, Vector.OF);
};

/** INT1 raises #DB as a trap, without touching DR6 and without the DPL check of the gate. */
export const INT1: SystemInstruction = (cpu, insn) => {
  cpu.intercepts?.onException?.(new DebugFault(0, true));
  softwareEvent(cpu, insn, Vector.DB, EventType.privilegedSoftwareException);
};
