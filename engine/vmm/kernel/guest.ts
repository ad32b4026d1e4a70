/**
 * The guest's registers as an exit handler has them: general-purpose ones are still in the CPU, the others in the VMCS.
 * Each accessor stands for a VMREAD or VMWRITE.
 */

import { type GuestFault, Vector } from '../../cpu/events.ts';
import { EventType } from '../../cpu/processor.ts';
import { ACCESS, BLOCKING, CR0, DR6, EFER, hasBit, RFLAGS } from '../../cpu/register-bits.ts';
import { type CpuState, CS, SS } from '../../cpu/state.ts';
import { segmentNames } from '../../cpu/state-layout.ts';
import { type LinearAddress, low32, plus } from '../../isa/linear-address.ts';
import { PRIMARY } from '../../vmx/controls.ts';
import { ENTRY_FAILURE } from '../../vmx/exit-reasons.ts';
import type { VmcsFieldName } from '../../vmx/fields.ts';
import { encodingOf, offsetOf, type Vmcs } from '../../vmx/vmcs.ts';

const RIP = offsetOf('Guest RIP');
const RSP_FIELD = offsetOf('Guest RSP');
const RFLAGS_FIELD = offsetOf('Guest RFLAGS');
const CR0_FIELD = offsetOf('Guest CR0');
const CR0_SHADOW = offsetOf('CR0 read shadow');
const CR0_MASK = offsetOf('CR0 guest/host mask');
const CR3_FIELD = offsetOf('Guest CR3');
const CR4_FIELD = offsetOf('Guest CR4');
const CR4_SHADOW = offsetOf('CR4 read shadow');
const CR4_MASK = offsetOf('CR4 guest/host mask');
const EFER_FIELD = offsetOf('Guest IA32_EFER');
const INTERRUPTIBILITY = offsetOf('Guest interruptibility state');
const INSTRUCTION_LENGTH = offsetOf('VM-exit instruction length');
const REASON = offsetOf('Exit reason');
const QUALIFICATION = offsetOf('Exit qualification');
const GUEST_LINEAR = offsetOf('Guest-linear address');
const GUEST_PHYSICAL = offsetOf('Guest-physical address');
const EXIT_INTERRUPTION = offsetOf('VM-exit interruption information');
const EXIT_ERROR_CODE = offsetOf('VM-exit interruption error code');
const INSTRUCTION_INFORMATION = offsetOf('VM-exit instruction information');
const ENTRY_INTERRUPTION = offsetOf('VM-entry interruption-information field');
const ENTRY_ERROR_CODE = offsetOf('VM-entry exception error code');
const ENTRY_INSTRUCTION_LENGTH = offsetOf('VM-entry instruction length');
const VECTORING = offsetOf('IDT-vectoring information field');
const VECTORING_ERROR_CODE = offsetOf('IDT-vectoring error code');
const PRIMARY_CONTROLS = offsetOf('Primary processor-based VM-execution controls');

const segmentFields = segmentNames.map((name) => ({
  base: offsetOf(`Guest ${name} base`),
  limit: offsetOf(`Guest ${name} limit`),
  rights: offsetOf(`Guest ${name} access rights`),
}));

const RSP = 4;
const VALID = 0x8000_0000;
const ERROR_CODE_VALID = 1 << 11;
const TYPE_SHIFT = 8;
const SHADOW = BLOCKING.STI | BLOCKING.MOV_SS;

export class Guest {
  readonly state: CpuState;
  readonly vmcs: Vmcs;

  constructor(state: CpuState, vmcs: Vmcs) {
    this.state = state;
    this.vmcs = vmcs;
  }

  // ---- registers ---------------------------------------------------------------------------------------------------

  /** A general-purpose register. VM exits replace RSP alone, so that of the guest is in the VMCS. */
  gpr(index: number): bigint {
    return index === RSP ? this.vmcs.u64(RSP_FIELD) : this.state.gpr(index);
  }
  setGpr(index: number, value: bigint): void {
    if (index === RSP) this.vmcs.setU64(RSP_FIELD, value);
    else this.state.setGpr(index, value);
  }
  get rip(): LinearAddress {
    return this.vmcs.linear(RIP);
  }
  set rip(value: LinearAddress) {
    this.vmcs.setNumber(RIP, value);
  }
  get rflags(): number {
    return this.vmcs.u32(RFLAGS_FIELD);
  }
  set rflags(value: number) {
    this.vmcs.setU32(RFLAGS_FIELD, value);
  }
  /** CR0 and CR4 as the guest sees them: the bits that the host owns come from the read shadow. */
  get cr0(): number {
    const mask = this.vmcs.u32(CR0_MASK);
    return ((this.vmcs.u32(CR0_FIELD) & ~mask) | (this.vmcs.u32(CR0_SHADOW) & mask)) >>> 0;
  }
  get cr4(): number {
    const mask = this.vmcs.u32(CR4_MASK);
    return ((this.vmcs.u32(CR4_FIELD) & ~mask) | (this.vmcs.u32(CR4_SHADOW) & mask)) >>> 0;
  }
  get cr3(): number {
    return this.vmcs.number(CR3_FIELD);
  }
  /** Any field. */
  field(name: VmcsFieldName): bigint {
    return this.vmcs.readEncoding(encodingOf(name));
  }
  setField(name: VmcsFieldName, value: bigint | number): void {
    this.vmcs.writeEncoding(encodingOf(name), BigInt.asUintN(64, BigInt(value)));
  }
  get efer(): number {
    return this.vmcs.u32(EFER_FIELD);
  }
  set efer(value: number) {
    this.vmcs.setU32(EFER_FIELD, value);
  }
  get cpl(): number {
    return (this.segment(SS).attributes & ACCESS.DPL) >>> 5;
  }
  segment(index: number): { base: LinearAddress; limit: number; attributes: number } {
    const { base, limit, rights } = segmentFields[index] as (typeof segmentFields)[number];
    return { base: this.vmcs.linear(base), limit: this.vmcs.u32(limit), attributes: this.vmcs.u32(rights) };
  }

  get is64Bit(): boolean {
    return hasBit(this.efer, EFER.LMA) && hasBit(this.segment(CS).attributes, ACCESS.L);
  }
  /** Default size of the code that runs. */
  get codeSize(): 16 | 32 | 64 {
    if (this.is64Bit) return 64;
    return hasBit(this.segment(CS).attributes, ACCESS.DB) ? 32 : 16;
  }
  get stackSize(): 16 | 32 | 64 {
    if (this.is64Bit) return 64;
    return hasBit(this.segment(SS).attributes, ACCESS.DB) ? 32 : 16;
  }
  get isReal(): boolean {
    return !hasBit(this.cr0, CR0.PE);
  }

  // ---- exit information --------------------------------------------------------------------------------------------

  /** Basic exit reason. */
  get exitReason(): number {
    return this.vmcs.u32(REASON) & 0xffff;
  }
  /** Whether what the exit reason tells is the failure of a VM entry. */
  get entryFailed(): boolean {
    return hasBit(this.vmcs.u32(REASON), ENTRY_FAILURE);
  }
  /** Low 32 bits of the exit qualification, unsigned: all that most exits use. */
  get qualification(): number {
    return this.vmcs.u32(QUALIFICATION);
  }
  /** The exit qualification of instructions with a memory operand, signed. */
  get displacement(): bigint {
    return BigInt.asIntN(64, this.vmcs.u64(QUALIFICATION));
  }
  get guestLinear(): LinearAddress {
    return this.vmcs.linear(GUEST_LINEAR);
  }
  get guestPhysical(): number {
    return this.vmcs.number(GUEST_PHYSICAL);
  }
  get interruptionInformation(): number {
    return this.vmcs.u32(EXIT_INTERRUPTION);
  }
  get interruptionErrorCode(): number {
    return this.vmcs.u32(EXIT_ERROR_CODE);
  }
  get instructionInformation(): number {
    return this.vmcs.u32(INSTRUCTION_INFORMATION);
  }

  // ---- what handlers do --------------------------------------------------------------------------------------------

  /** Goes on behind the instruction that exited, which the handler has carried out. */
  skipInstruction(): void {
    this.completeAt(plus(this.rip, this.vmcs.u32(INSTRUCTION_LENGTH)));
  }

  /** An instruction was carried out for the guest, which goes on at `rip`: shadows end, TF traps. */
  completeAt(rip: LinearAddress): void {
    this.rip = this.is64Bit ? rip : low32(rip);
    const blocking = this.vmcs.u32(INTERRUPTIBILITY);
    if (blocking & SHADOW) this.vmcs.setU32(INTERRUPTIBILITY, blocking & ~SHADOW);
    if (!hasBit(this.rflags, RFLAGS.TF)) return;
    this.state.dr6 |= DR6.BS;
    this.injectException(Vector.DB);
  }

  injectException(vector: number, errorCode?: number): void {
    const withCode = errorCode !== undefined && !this.isReal;
    this.#inject(vector, EventType.hardwareException, withCode ? errorCode : undefined);
  }
  injectFault({ vector, errorCode, linear }: GuestFault): void {
    if (linear !== undefined) this.state.cr2 = BigInt.asUintN(64, BigInt(linear));
    this.injectException(vector, errorCode);
  }
  injectInterrupt(vector: number): void {
    this.#inject(vector, EventType.externalInterrupt, undefined);
  }
  #inject(vector: number, type: number, errorCode: number | undefined): void {
    const code = errorCode === undefined ? 0 : ERROR_CODE_VALID;
    this.vmcs.setU32(ENTRY_INTERRUPTION, (vector | (type << TYPE_SHIFT) | code | VALID) >>> 0);
    this.vmcs.setU32(ENTRY_ERROR_CODE, errorCode ?? 0);
  }

  /** Whether an event is going to be injected by the next VM entry. */
  get isInjecting(): boolean {
    return hasBit(this.vmcs.u32(ENTRY_INTERRUPTION), VALID);
  }

  /** Whether the exit came while an event was delivered. */
  get wasDelivering(): boolean {
    return hasBit(this.vmcs.u32(VECTORING), VALID);
  }
  /** The event whose delivery the exit interrupted is delivered again by the next VM entry. */
  reinjectInterruptedEvent(): void {
    const information = this.vmcs.u32(VECTORING);
    if (!hasBit(information, VALID)) return;
    this.vmcs.setU32(ENTRY_INTERRUPTION, information);
    this.vmcs.setU32(ENTRY_ERROR_CODE, this.vmcs.u32(VECTORING_ERROR_CODE));
    this.vmcs.setU32(ENTRY_INSTRUCTION_LENGTH, this.vmcs.u32(INSTRUCTION_LENGTH));
  }

  get interruptsEnabled(): boolean {
    return hasBit(this.rflags, RFLAGS.IF);
  }
  /** Whether an external interrupt could be injected now. */
  get isInterruptible(): boolean {
    return this.interruptsEnabled && (this.vmcs.u32(INTERRUPTIBILITY) & SHADOW) === 0;
  }
  blockNmis(): void {
    this.vmcs.setU32(INTERRUPTIBILITY, this.vmcs.u32(INTERRUPTIBILITY) | BLOCKING.NMI);
  }

  get wantsInterruptWindow(): boolean {
    return (this.vmcs.u32(PRIMARY_CONTROLS) & PRIMARY['Interrupt-window exiting']) !== 0;
  }
  set wantsInterruptWindow(wanted: boolean) {
    if (wanted === this.wantsInterruptWindow) return;
    this.vmcs.setU32(PRIMARY_CONTROLS, this.vmcs.u32(PRIMARY_CONTROLS) ^ PRIMARY['Interrupt-window exiting']);
  }
}
