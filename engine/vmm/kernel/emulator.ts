/**
 * Carries out one instruction for the guest, because it accesses a device through memory: decoded at the guest's RIP, its
 * semantics evaluated by definition (isa/oracle.ts), its accesses made through the guest's segments and page tables.
 */

import { GuestFault } from '../../cpu/events.ts';
import { readExtendedState, writeExtendedState } from '../../cpu/extended-state.ts';
import { CR4, hasBit } from '../../cpu/register-bits.ts';
import { CS } from '../../cpu/state.ts';
import { type CodeSize, type DecodedInstruction, decodeOne } from '../../isa/decode.ts';
import { formOf } from '../../isa/form.ts';
import { type LinearAddress, linearAddressOf } from '../../isa/linear-address.ts';
import { OracleException, type OracleMachine, runOracle } from '../../isa/oracle.ts';
import { MAX_INSTRUCTION_BYTES } from '../../isa/prefixes.ts';
import { GuestLinear } from './guest-linear.ts';
import type { VirtualCpu } from './virtual-cpu.ts';

const REGISTERS = 16;

/**
 * Emulates the instruction at the guest's RIP (of a REP, one iteration). A fault becomes an event to inject. Returns
 * what cannot be emulated, or undefined.
 */
export function emulateInstruction(vcpu: VirtualCpu): string | undefined {
  const { guest } = vcpu.parts;
  const linear = new GuestLinear(vcpu.parts);
  const { rip } = guest;
  try {
    const bytes = linear.fetch(rip, MAX_INSTRUCTION_BYTES, guest.segment(CS).base);
    const instruction = decoded(bytes, guest.codeSize, rip);
    if (!instruction) return 'an instruction in memory that holds no code';
    const form = formOf(instruction, guest.stackSize);
    if (!form) return `${instruction.codeName} on a device`;
    const machine: OracleMachine = {
      gpr: Array.from({ length: REGISTERS }, (_, index) => guest.gpr(index)),
      extended: readExtendedState(vcpu.parts.processor.state),
      rflags: guest.rflags,
      rip: BigInt(rip),
      codeSegmentLimit: BigInt(guest.segment(CS).limit),
      fiveLevelPaging: hasBit(guest.cr4, CR4.LA57),
      read: (access) => linear.read(access),
      write: (access, value) => linear.write(access, value),
      probe: (access) => linear.probe(access),
    };
    runOracle(form.operation, instruction, machine);
    commit(vcpu, machine, instruction.ip);
  } catch (event) {
    if (event instanceof GuestFault) guest.injectFault(event);
    else if (event instanceof OracleException) guest.injectException(event.vector, event.errorCode);
    else throw event;
  }
  return undefined;
}

/** Instructions decoded before, by RIP: drivers access their devices from few places. */
const known = new Map<LinearAddress, { readonly bytes: Uint8Array; readonly instruction: DecodedInstruction }>();
const CAPACITY = 1024;

function decoded(bytes: Uint8Array, codeSize: CodeSize, rip: LinearAddress): DecodedInstruction | undefined {
  const entry = known.get(rip);
  if (entry && entry.instruction.codeSize === codeSize && startsWith(bytes, entry.bytes)) return entry.instruction;
  const instruction = decodeOne(bytes, codeSize, rip);
  if (!instruction) return undefined;
  if (known.size >= CAPACITY) known.clear();
  known.set(rip, { bytes: bytes.slice(0, instruction.lengthBytes), instruction });
  return instruction;
}

const startsWith = (bytes: Uint8Array, prefix: Uint8Array): boolean =>
  bytes.length >= prefix.length && prefix.every((byte, index) => bytes[index] === byte);

function commit(vcpu: VirtualCpu, machine: OracleMachine, ip: LinearAddress): void {
  const { guest } = vcpu.parts;
  machine.gpr.forEach((value, index) => {
    guest.setGpr(index, value);
  });
  writeExtendedState(vcpu.parts.processor.state, machine.extended);
  guest.rflags = machine.rflags;
  const rip = linearAddressOf(machine.rip);
  // An iteration of a REP that goes on leaves the shadows and the trap to the last one.
  if (rip === ip) guest.rip = rip;
  else guest.completeAt(rip);
  vcpu.parts.retired();
}
