/**
 * EPT violations: memory that the guest touches for the first time gets a page; anything else is an access to a device,
 * whose instruction is carried out for the guest.
 */
import { hex } from '../../../cpu/hexadecimal.ts';
import { EptViolationBit } from '../../../mmu/access.ts';
import { type Handling, kernelStage, type Stage } from '../../stages.ts';
import { emulateInstruction } from '../emulator.ts';
import type { VirtualCpu } from '../virtual-cpu.ts';

const MAP_PAGE: Stage = kernelStage(
  'map guest memory',
  'The address lies in the guest’s memory slot, but EPT has no page there yet: an EPT entry is written. The VM entry lets the instruction start over.',
);
const DECODE: Stage = kernelStage(
  'emulate instruction',
  'No memory slot holds the address: it belongs to a device. The instruction at the guest’s RIP is decoded, to know what it reads or writes.',
);
const TO_USER: Stage = kernelStage(
  'KVM_EXIT_MMIO',
  'The access goes to the user half: KVM_RUN returns there with the guest-physical address, the length and the data.',
);

export function* handleEptViolation(vcpu: VirtualCpu): Handling {
  const { guest, memory, ept } = vcpu.parts;
  const address = guest.guestPhysical;
  if (guest.qualification & EptViolationBit.NmiUnblocking && !guest.wasDelivering) guest.blockNmis();
  if (memory.contains(address)) {
    vcpu.stages.enter(MAP_PAGE);
    yield;
    ept.map(address);
    return vcpu.stages.leave();
  }
  vcpu.stages.enter(DECODE);
  yield;
  const problem = whyNotEmulated(vcpu);
  if (problem === undefined) yield* accessDevice(vcpu, address);
  else vcpu.parts.stop(problem);
  vcpu.stages.leave();
}

/** Devices are only reached by instructions that read or write data. */
function whyNotEmulated(vcpu: VirtualCpu): string | undefined {
  const { guest } = vcpu.parts;
  const where = `guest-physical address ${hex(guest.guestPhysical)}, where the guest has no memory`;
  const { qualification } = guest;
  if (guest.wasDelivering) return `An event was delivered through ${where}.`;
  if (qualification & EptViolationBit.Fetch) return `The guest fetched an instruction from ${where}.`;
  if (!(qualification & EptViolationBit.FinalTranslation)) return `A guest paging structure lies at ${where}.`;
  return undefined;
}

function* accessDevice(vcpu: VirtualCpu, address: number): Handling {
  const { guest, userHalf } = vcpu.parts;
  const direction = guest.qualification & EptViolationBit.Write ? 'write' : 'read';
  vcpu.stages.enter(TO_USER);
  yield;
  vcpu.stages.enter(userHalf.memoryStage({ address, sizeBytes: 0, direction }));
  yield;
  const missing = emulateInstruction(vcpu);
  if (missing !== undefined) vcpu.parts.unimplemented(`emulation of ${missing}`);
  vcpu.stages.leave();
  vcpu.stages.leave();
}
