/**
 * The virtual APIC of a guest (SDM volume 3, chapter "APIC Virtualization and Virtual Interrupts"): its registers lie in the
 * virtual-APIC page, RVI and SVI in the VMCS. What else it knows is in the CPU state: whether a virtual interrupt is
 * recognized, and what comes at the next instruction boundary.
 */
import { ACTIVITY } from '../cpu/register-bits.ts';
import { PIN, PRIMARY, SECONDARY } from './controls.ts';
import { ExitReason } from './exit-reasons.ts';
import { offsetOf } from './vmcs.ts';
import { hasPin, hasPrimary, hasSecondary, type VmxParts } from './vmx-parts.ts';

const ADDRESS = offsetOf('Virtual-APIC address');
const THRESHOLD = offsetOf('TPR threshold');
const INTERRUPT_STATUS = offsetOf('Guest interrupt status');
const NOTIFICATION_VECTOR = offsetOf('Posted-interrupt notification vector');
const DESCRIPTOR_ADDRESS = offsetOf('Posted-interrupt descriptor address');
const EOI_EXITS = [0, 1, 2, 3].map((index) => offsetOf(`EOI-exit bitmap ${index as 0 | 1 | 2 | 3}`));

/** Registers by their offsets in the page. */
export const VIRTUAL_APIC = {
  TPR: 0x80,
  PPR: 0xa0,
  EOI: 0xb0,
  ISR: 0x100,
  IRR: 0x200,
  ICR_LOW: 0x300,
  ICR_HIGH: 0x310,
  SELF_IPI: 0x3f0,
} as const;

/**
 * `CpuState.apicEvent`: in bits 15:0 the exit reason of a VM exit that comes once the instruction is complete, with its
 * qualification in bits 31:16; or this, with the offset in bits 27:16 and the length, less 1, in bits 29:28 of a write to a
 * register whose effects are due.
 */
const WRITE_DUE = 0xffff;
const PAYLOAD_SHIFT = 16;
const LENGTH_SHIFT = 28;
const REGISTER_MASK = 0xff0;
const writeDue = (offset: number, lengthBytes: number): number =>
  (((lengthBytes - 1) << LENGTH_SHIFT) | (offset << PAYLOAD_SHIFT) | WRITE_DUE) >>> 0;

/** Outstanding notification, in the dword after the 256 requests of a posted-interrupt descriptor. */
const NOTIFICATION_AT = 32;
const OUTSTANDING = 1;
/** A self-IPI is virtualized if it is fixed, edge-triggered and sets no reserved bit; its level and mode do not matter. */
const SELF_IPI_MASK = 0xffff_b700 | 0;
const SELF_IPI = 0x4_0000;

const PRIORITY = 0xf0;

export class VirtualApic {
  readonly #parts: VmxParts;

  constructor(parts: VmxParts) {
    this.#parts = parts;
  }

  /** CR8 and the TPR are virtual. */
  get shadowsTpr(): boolean {
    return hasPrimary(this.#parts.vmcs, PRIMARY['Use TPR shadow']);
  }
  get deliversInterrupts(): boolean {
    return hasSecondary(this.#parts.vmcs, SECONDARY['Virtual-interrupt delivery']);
  }
  get address(): number {
    return this.#parts.vmcs.number(ADDRESS);
  }

  read(offset: number): number {
    return this.#parts.physical.readU32(this.address + offset);
  }
  write(offset: number, value: number): void {
    this.#parts.physical.writeU32(this.address + offset, value >>> 0);
  }

  // ---- VM entry ----------------------------------------------------------------------------------------------------

  entered(): void {
    const { state, vmcs } = this.#parts;
    if (!this.shadowsTpr) return;
    if (this.deliversInterrupts) this.#virtualizeTpr();
    else if (state.activityState <= ACTIVITY.HLT && hasSecondary(vmcs, SECONDARY['Virtualize APIC accesses']))
      this.#checkThreshold();
  }

  // ---- registers ---------------------------------------------------------------------------------------------------

  /** The task priority as CR8 has it. */
  get cr8(): bigint {
    return BigInt((this.read(VIRTUAL_APIC.TPR) >>> 4) & 0xf);
  }
  set cr8(value: bigint) {
    this.write(VIRTUAL_APIC.TPR, Number(value) << 4);
    this.written(VIRTUAL_APIC.TPR);
  }

  /** A register in the page was written in the middle of an instruction: the effects come at its end. */
  writtenByAccess(offset: number, lengthBytes: number): void {
    this.#parts.state.apicEvent = writeDue(offset, lengthBytes);
  }
  /** Whether the instruction under way, which may have written to the page, can make this access to it too. */
  mayAccessAgain(offset: number, lengthBytes: number, isWrite: boolean): boolean {
    const event = this.#parts.state.apicEvent;
    return (event & 0xffff) !== WRITE_DUE || (isWrite && event === writeDue(offset, lengthBytes));
  }
  /** Carries out what a memory access has written, at the boundary after its instruction. */
  completeWrite(): void {
    const { state } = this.#parts;
    const event = state.apicEvent;
    if ((event & 0xffff) !== WRITE_DUE) return;
    state.apicEvent = 0;
    const register = (event >>> PAYLOAD_SHIFT) & REGISTER_MASK;
    this.#normalize(register);
    this.written(register);
  }
  /** Of the TPR one byte counts, of the EOI register nothing, and of the upper half of ICR the destination. */
  #normalize(offset: number): void {
    if (offset === VIRTUAL_APIC.TPR) this.write(offset, this.read(offset) & 0xff);
    if (offset === VIRTUAL_APIC.ICR_HIGH) this.write(offset, this.read(offset) & 0xff00_0000);
    if (offset === VIRTUAL_APIC.EOI && this.deliversInterrupts) this.write(offset, 0);
  }

  /** What a write to a register brings about (SDM, "APIC-Write Emulation"). */
  written(offset: number): void {
    if (offset === VIRTUAL_APIC.TPR) return this.#virtualizeTpr();
    if (offset === VIRTUAL_APIC.ICR_HIGH) return;
    if (this.deliversInterrupts) {
      if (offset === VIRTUAL_APIC.EOI) return this.#virtualizeEoi();
      const value = this.read(offset);
      if (isSelfIpi(offset, value)) return this.#virtualizeSelfIpi(value & 0xff);
    }
    this.#exitAtBoundary(ExitReason['APIC write'], offset);
  }

  #exitAtBoundary(reason: number, qualification = 0): void {
    this.#parts.state.apicEvent = ((qualification << PAYLOAD_SHIFT) | reason) >>> 0;
  }
  /** The VM exit that comes after the last instruction, if any. */
  takeExit(): { readonly reason: number; readonly qualification: bigint } | undefined {
    const event = this.#parts.state.apicEvent;
    if (event === 0) return undefined;
    this.#parts.state.apicEvent = 0;
    return { reason: event & 0xffff, qualification: BigInt(event >>> PAYLOAD_SHIFT) };
  }

  // ---- virtual interrupts ------------------------------------------------------------------------------------------

  get #rvi(): number {
    return this.#parts.vmcs.u32(INTERRUPT_STATUS) & 0xff;
  }
  get #svi(): number {
    return (this.#parts.vmcs.u32(INTERRUPT_STATUS) >>> 8) & 0xff;
  }
  #setStatus(rvi: number, svi: number): void {
    const { vmcs } = this.#parts;
    vmcs.touch();
    vmcs.setU32(INTERRUPT_STATUS, (svi << 8) | rvi);
  }

  #virtualizeTpr(): void {
    if (!this.deliversInterrupts) return this.#checkThreshold();
    this.#virtualizePpr();
    this.#evaluate();
  }
  #checkThreshold(): void {
    const threshold = this.#parts.vmcs.u32(THRESHOLD) & 0xf;
    if (this.cr8 < threshold) this.#exitAtBoundary(ExitReason['TPR below threshold']);
  }

  #virtualizePpr(): void {
    const tpr = this.read(VIRTUAL_APIC.TPR) & 0xff;
    const svi = this.#svi;
    this.write(VIRTUAL_APIC.PPR, tpr >>> 4 >= svi >>> 4 ? tpr : svi & PRIORITY);
  }
  /** Whether the requested virtual interrupt is above the priority of what goes on. */
  #evaluate(): void {
    const isAbove = this.#rvi >>> 4 > (this.read(VIRTUAL_APIC.PPR) & PRIORITY) >>> 4;
    this.#parts.state.virtualInterrupt = isAbove ? 1 : 0;
  }

  #virtualizeEoi(): void {
    const vector = this.#svi;
    this.#setBit(VIRTUAL_APIC.ISR, vector, false);
    this.#setStatus(this.#rvi, this.#highest(VIRTUAL_APIC.ISR));
    this.#virtualizePpr();
    const exits = this.#parts.vmcs.u64(EOI_EXITS[vector >>> 6] as number);
    if ((exits >> BigInt(vector & 63)) & 1n) this.#exitAtBoundary(ExitReason['Virtualized EOI'], vector);
    else this.#evaluate();
  }

  #virtualizeSelfIpi(vector: number): void {
    this.#setBit(VIRTUAL_APIC.IRR, vector, true);
    this.#setStatus(Math.max(this.#rvi, vector), this.#svi);
    this.#evaluate();
  }

  /** The vector of the recognized virtual interrupt, which is being serviced from now on. */
  acceptInterrupt(): number {
    const vector = this.#rvi;
    this.#setBit(VIRTUAL_APIC.ISR, vector, true);
    this.write(VIRTUAL_APIC.PPR, vector & PRIORITY);
    this.#setBit(VIRTUAL_APIC.IRR, vector, false);
    this.#setStatus(this.#highest(VIRTUAL_APIC.IRR), vector);
    this.#parts.state.virtualInterrupt = 0;
    return vector;
  }

  // ---- posted interrupts -------------------------------------------------------------------------------------------

  /** Whether an external interrupt announces posted ones. */
  isNotification(vector: number): boolean {
    const { vmcs } = this.#parts;
    return hasPin(vmcs, PIN['Process posted interrupts']) && vector === (vmcs.u32(NOTIFICATION_VECTOR) & 0xff);
  }

  /** The requests of the posted-interrupt descriptor become the virtual APIC's. */
  processPosted(): void {
    const { vmcs, physical } = this.#parts;
    const descriptor = vmcs.number(DESCRIPTOR_ADDRESS);
    const flags = physical.readU32(descriptor + NOTIFICATION_AT);
    physical.writeU32(descriptor + NOTIFICATION_AT, (flags & ~OUTSTANDING) >>> 0);
    let highest = 0;
    for (let index = 0; index < 8; index++) {
      const requests = physical.readU32(descriptor + index * 4);
      if (requests === 0) continue;
      physical.writeU32(descriptor + index * 4, 0);
      const at = VIRTUAL_APIC.IRR + index * 16;
      this.write(at, this.read(at) | requests);
      highest = index * 32 + 31 - Math.clz32(requests);
    }
    this.#setStatus(Math.max(this.#rvi, highest), this.#svi);
    this.#evaluate();
  }

  // ---- bitmaps of 256 vectors, 32 in every 16 bytes ----------------------------------------------------------------

  #setBit(bitmap: number, vector: number, value: boolean): void {
    const at = bitmap + (vector >>> 5) * 16;
    const bit = 1 << (vector & 31);
    this.write(at, value ? this.read(at) | bit : this.read(at) & ~bit);
  }
  /** The highest vector in a bitmap, 0 if there is none. */
  #highest(bitmap: number): number {
    for (let index = 7; index >= 0; index--) {
      const word = this.read(bitmap + index * 16);
      if (word !== 0) return index * 32 + 31 - Math.clz32(word);
    }
    return 0;
  }
}

/** Whether what was written to a register asks for a self-IPI that can be virtualized. */
function isSelfIpi(offset: number, value: number): boolean {
  const asks =
    offset === VIRTUAL_APIC.ICR_LOW ? (value & SELF_IPI_MASK) === SELF_IPI : offset === VIRTUAL_APIC.SELF_IPI;
  return asks && (value & PRIORITY) !== 0;
}
