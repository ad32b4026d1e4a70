/** Accesses to the APIC-access page (SDM volume 3, "Virtualizing Memory-Mapped APIC Accesses"). */
import { VmExit } from '../cpu/events.ts';
import { PAGE_BYTES } from '../cpu/memory-map.ts';
import { Access } from '../mmu/access.ts';
import type { ApicAccessPage } from '../mmu/translation-context.ts';
import { SECONDARY } from './controls.ts';
import { ExitReason } from './exit-reasons.ts';
import { VIRTUAL_APIC, type VirtualApic } from './virtual-apic.ts';
import { offsetOf } from './vmcs.ts';
import { hasSecondary, type VmxParts } from './vmx-parts.ts';

const ADDRESS = offsetOf('APIC-access address');

/** Access types in bits 15:12 of the exit qualification. */
export const ApicAccessType = {
  dataRead: 0,
  dataWrite: 1,
  fetch: 2,
  eventDelivery: 3,
  monitoring: 4,
  guestPhysicalEventDelivery: 10,
  guestPhysical: 15,
} as const;
const TYPE_SHIFT = 12;

const range = (first: number, last: number): number[] =>
  Array.from({ length: (last - first) / 16 + 1 }, (_, index) => first + index * 16);

/** Offsets of the registers that "APIC-register virtualization" covers. */
const written = [0x20, 0x80, 0xb0, 0xd0, 0xe0, 0xf0, 0x280, 0x300, 0x310, ...range(0x320, 0x380), 0x3e0];
const registerWrites = new Set(written);
const registerReads = new Set([...written, 0x30, ...range(0x100, 0x270)]);
/** Without that control. */
const taskPriority = new Set<number>([VIRTUAL_APIC.TPR]);
const deliveryWrites = new Set<number>([VIRTUAL_APIC.TPR, VIRTUAL_APIC.EOI, VIRTUAL_APIC.ICR_LOW]);

export class ApicAccesses implements ApicAccessPage {
  readonly #parts: VmxParts;
  readonly #apic: VirtualApic;
  readonly #stop: () => void;

  /** `stop` ends compiled code after the instruction under way. */
  constructor(parts: VmxParts, apic: VirtualApic, stop: () => void) {
    this.#parts = parts;
    this.#apic = apic;
    this.#stop = stop;
  }

  /** To be called at VM entry. */
  entered(): void {
    const { mmu, vmcs } = this.#parts;
    if (this.isInUse) mmu.keepFromFast(vmcs.number(ADDRESS));
  }
  get isInUse(): boolean {
    const { state, vmcs } = this.#parts;
    return state.nonRoot !== 0 && hasSecondary(vmcs, SECONDARY['Virtualize APIC accesses']);
  }

  covers(physical: number): boolean {
    if (!this.isInUse) return false;
    const offset = physical - this.#parts.vmcs.number(ADDRESS);
    return offset >= 0 && offset < PAGE_BYTES;
  }

  redirect(physical: number, lengthBytes: number, access: Access): number {
    const { processor } = this.#parts;
    const offset = physical % PAGE_BYTES;
    if (processor.delivering) throw apicAccess(offset, ApicAccessType.eventDelivery);
    if (access === Access.Execute) throw apicAccess(offset, ApicAccessType.fetch);
    const isWrite = access === Access.Write;
    if (!this.#isVirtualized(offset, lengthBytes, isWrite)) {
      throw apicAccess(offset, isWrite ? ApicAccessType.dataWrite : ApicAccessType.dataRead);
    }
    if (isWrite) {
      this.#apic.writtenByAccess(offset, lengthBytes);
      this.#stop();
    }
    return this.#apic.address + offset;
  }

  /** Of such an access the manual says no more than of EPT violations: it is a write. */
  checkModification(physical: number, lengthBytes: number): void {
    const offset = physical % PAGE_BYTES;
    const isVirtualized =
      this.#isVirtualized(offset, lengthBytes, false) && this.#isVirtualized(offset, lengthBytes, true);
    if (!isVirtualized) throw apicAccess(offset, ApicAccessType.dataWrite);
  }

  guestPhysicalExit(): VmExit {
    const isDelivery = this.#parts.processor.delivering !== undefined;
    const type = isDelivery ? ApicAccessType.guestPhysicalEventDelivery : ApicAccessType.guestPhysical;
    // Of the offset nothing is said.
    return apicAccess(0, type);
  }

  /**
   * At most 32 bits, in the first 4 of 16 bytes, of a register that the controls let be virtualized; but after a write no
   * access of the same instruction, other than the same write.
   */
  #isVirtualized(offset: number, lengthBytes: number, isWrite: boolean): boolean {
    if (!this.#apic.shadowsTpr || (offset & 0xf) + lengthBytes > 4) return false;
    if (!this.#apic.mayAccessAgain(offset, lengthBytes, isWrite)) return false;
    const { vmcs } = this.#parts;
    const register = offset & ~0xf;
    const hasRegisters = hasSecondary(vmcs, SECONDARY['APIC-register virtualization']);
    if (hasRegisters) return (isWrite ? registerWrites : registerReads).has(register);
    return (isWrite && this.#apic.deliversInterrupts ? deliveryWrites : taskPriority).has(register);
  }
}

/** The VM exit of an access that MONITOR made: of the APIC-access page it has a type of its own. */
export const asMonitoring = (exit: VmExit): VmExit =>
  exit.reason === ExitReason['APIC access'] && exit.qualification < 1n << BigInt(TYPE_SHIFT)
    ? apicAccess(Number(exit.qualification), ApicAccessType.monitoring)
    : exit;

const apicAccess = (offset: number, type: number): VmExit =>
  new VmExit(ExitReason['APIC access'], BigInt(offset | (type << TYPE_SHIFT)));
