/** RDMSR and WRMSR of APIC registers (SDM volume 3, "Virtualizing MSR-Based APIC Accesses"). */
import { GP } from '../cpu/events.ts';
import { SECONDARY } from './controls.ts';
import { VIRTUAL_APIC, type VirtualApic } from './virtual-apic.ts';
import { hasSecondary, type VmxParts } from './vmx-parts.ts';

const FIRST = 0x800;
const LAST = 0x8ff;
const offsetOfMsr = (index: number): number => (index & 0xff) << 4;

/** What a register of the page is written by, through its MSR: the offsets, and bits that must be 0. */
const taskPriority: ReadonlyMap<number, bigint> = new Map([[VIRTUAL_APIC.TPR, ~0xffn]]);
const withDelivery: ReadonlyMap<number, bigint> = new Map([
  ...taskPriority,
  [VIRTUAL_APIC.EOI, ~0n],
  [VIRTUAL_APIC.SELF_IPI, ~0xffn],
]);

export class VirtualMsrs {
  readonly #parts: VmxParts;
  readonly #apic: VirtualApic;

  constructor(parts: VmxParts, apic: VirtualApic) {
    this.#parts = parts;
    this.#apic = apic;
  }

  #isVirtual(index: number): boolean {
    return index >= FIRST && index <= LAST && hasSecondary(this.#parts.vmcs, SECONDARY['Virtualize x2APIC mode']);
  }

  /** What RDMSR gives; undefined if the MSR itself is read. */
  read(index: number): bigint | undefined {
    if (!this.#isVirtual(index)) return undefined;
    const offset = offsetOfMsr(index);
    const hasRegisters = hasSecondary(this.#parts.vmcs, SECONDARY['APIC-register virtualization']);
    if (!hasRegisters && offset !== VIRTUAL_APIC.TPR) return undefined;
    return this.#parts.physical.readU64(this.#apic.address + offset);
  }

  /** Whether a WRMSR was carried out in the page. */
  write(index: number, value: bigint): boolean {
    if (!this.#isVirtual(index)) return false;
    const offset = offsetOfMsr(index);
    const reserved = (this.#apic.deliversInterrupts ? withDelivery : taskPriority).get(offset);
    if (reserved === undefined) return false;
    if ((value & reserved) !== 0n) throw GP(0);
    this.#parts.physical.writeU64(this.#apic.address + offset, value);
    this.#apic.written(offset);
    return true;
  }
}
