/** A CPU whose hardware virtualization executes instructions of its own, and takes the exits of others. */
import { bindInstruction } from '../../engine/cpu/bind-instruction.ts';
import { GuestFault, VmExit } from '../../engine/cpu/events.ts';
import type { SystemInstruction } from '../../engine/cpu/instruction.ts';
import { codeSize } from '../../engine/cpu/modes.ts';
import { systemInstructionKey, systemInstructions } from '../../engine/cpu/system-table.ts';
import { decodeOne } from '../../engine/isa/decode.ts';
import { TestMachine } from './machine.ts';

/** What VT-x and AMD-V both are. */
interface Virtualization {
  readonly instructions: Readonly<Record<string, SystemInstruction>>;
  handleEvent(event: GuestFault | VmExit, instructionLengthBytes: number): void;
}

export abstract class VirtualizingMachine extends TestMachine {
  protected abstract readonly virtualization: Virtualization;

  override run(hex: string): void {
    const { state } = this;
    const bytes = Uint8Array.from(hex.split(' ').map((byte) => Number.parseInt(byte, 16)));
    const decoded = decodeOne(bytes, codeSize(state), state.rip);
    if (decoded === undefined) throw new Error(`undecodable: ${hex}`);
    const site = bindInstruction(state, decoded, state.rip);
    const key = systemInstructionKey(site);
    const execute = this.virtualization.instructions[key] ?? systemInstructions[key];
    if (execute === undefined) throw new Error(`no system instruction ${key}`);
    this.execute(execute, site);
  }

  /** Runs one instruction and deals with its fault or exit as the run loop does. */
  override step(hex: string): this {
    try {
      this.run(hex);
    } catch (thrown) {
      if (!(thrown instanceof GuestFault || thrown instanceof VmExit)) throw thrown;
      this.virtualization.handleEvent(thrown, hex.split(' ').length);
    }
    return this;
  }
}
