/** Accesses to the APIC-access page (SDM volume 3, "Virtualizing Memory-Mapped APIC Accesses"). */
import { VmExit } from '../cpu/events.ts';
import { PAGE_BYTES } from '../cpu/memory-map.ts';
import { Access } from '../mmu/access.ts';
import type { ApicAccessPage } from '../mmu/mmu.ts';
import { SECONDARY } from './controls.ts';
import { ExitReason } from './exit-reasons.ts';
import { VIRTUAL_APIC, type VirtualApic } from './virtual-apic.ts';
import { offsetOf } from './vmcs.ts';
import { hasSecondary, type VmxParts } from './vmx-parts.ts';

const ADDRESS = offsetOf('APIC-access address');

/** Access types in bits 15:12 of the exit qualification. */
export const ApicAccessType = { dataRead: 0, dataWrite: 1, fetch: 2, eventDelivery: 3 } as const;
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
    if (this.#isOn()) mmu.keepFromFast(vmcs.number(ADDRESS));
  }
  #isOn(): boolean {
    return hasSecondary(this.#parts.vmcs, SECONDARY['Virtualize APIC accesses']);
  }

  covers(physical: number): boolean {
    const { state, vmcs } = this.#parts;
    if (state.nonRoot === 0 || !this.#isOn()) return false;
    const offset = physical - vmcs.number(ADDRESS);
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
      this.#apic.writtenByAccess(offset & ~0xf);
      this.#stop();
    }
    return this.#apic.address + offset;
  }

  /** At most 32 bits, in the first 4 of 16 bytes, of a register that the controls let be virtualized. */
  #isVirtualized(offset: number, lengthBytes: number, isWrite: boolean): boolean {
    if (!this.#apic.shadowsTpr || (offset & 0xf) + lengthBytes > 4) return false;
    const { vmcs } = this.#parts;
    const register = offset & ~0xf;
    const hasRegisters = hasSecondary(vmcs, SECONDARY['APIC-register virtualization']);
    if (hasRegisters) return (isWrite ? registerWrites : registerReads).has(register);
    return (isWrite && this.#apic.deliversInterrupts ? deliveryWrites : taskPriority).has(register);
  }
}

const apicAccess = (offset: number, type: number): VmExit =>
  new VmExit(ExitReason['APIC access'], BigInt(offset | (type << TYPE_SHIFT)));
