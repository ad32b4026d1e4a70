/**
 * Non-root operation: which instructions and events exit (SDM volume 3, "VMX Non-Root Operation"). Every decision is
 * made from the current VMCS as it is, so that nothing needs to be kept in step with it.
 */

import { type GuestFault, UD, VmExit } from '../cpu/events.ts';
import type { DecodedInstruction } from '../cpu/instruction.ts';
import { is64Bit } from '../cpu/modes.ts';
import type { Intercepts, IoAccess } from '../cpu/processor.ts';
import { ES, FS } from '../cpu/state.ts';
import { type LinearAddress, low32, plus } from '../isa/linear-address.ts';
import { asMonitoring } from './apic-accesses.ts';
import { ioBitmapsSay, type MsrAccess, msrBitmapsSay } from './bitmaps.ts';
import { PIN, PRIMARY, SECONDARY } from './controls.ts';
import { exceptionExits, exitOfException } from './exception-exits.ts';
import { ExitReason } from './exit-reasons.ts';
import {
  displacementQualification,
  instructionInformation,
  randomInformation,
  stringIoInformation,
} from './instruction-information.ts';
import { PauseLoop } from './pause-loop.ts';
import { isShadowed } from './shadow-vmcs.ts';
import type { VirtualApic } from './virtual-apic.ts';
import { VirtualControlRegisters } from './virtual-control-registers.ts';
import { VirtualMsrs } from './virtual-msrs.ts';
import { invokeVmFunction } from './vm-functions.ts';
import { offsetOf, type Vmcs } from './vmcs.ts';
import { hasPin, hasPrimary, hasSecondary, usesVirtualNmis, type VmxParts } from './vmx-parts.ts';

const IO_BITMAP_A = offsetOf('Address of I/O bitmap A');
const IO_BITMAP_B = offsetOf('Address of I/O bitmap B');
const MSR_BITMAPS = offsetOf('Address of MSR bitmaps');
const TSC_OFFSET = offsetOf('TSC offset');
const TSC_MULTIPLIER = offsetOf('TSC multiplier');
/** The TSC multiplier is a fixed-point number with so many bits of fraction. */
const TSC_FRACTION_BITS = 48n;

const RSI = 6;
const RDI = 7;

const taskSources = { call: 0, iret: 1, jmp: 2, idt: 3 } as const;

/** Exits without further information are made once. */
const plain = (reason: number): VmExit => new VmExit(reason);
const CPUID_EXIT = plain(ExitReason.CPUID);
const HLT_EXIT = plain(ExitReason.HLT);
const INVD_EXIT = plain(ExitReason.INVD);
const WBINVD_EXIT = plain(ExitReason['WBINVD or WBNOINVD']);
const RDTSC_EXIT = plain(ExitReason.RDTSC);
const RDTSCP_EXIT = plain(ExitReason.RDTSCP);
const RDPMC_EXIT = plain(ExitReason.RDPMC);
const RDMSR_EXIT = plain(ExitReason.RDMSR);
const WRMSR_EXIT = plain(ExitReason.WRMSR);
const MONITOR_EXIT = plain(ExitReason.MONITOR);
const PAUSE_EXIT = plain(ExitReason.PAUSE);
const XSETBV_EXIT = plain(ExitReason.XSETBV);
const TRIPLE_FAULT_EXIT = plain(ExitReason['Triple fault']);

const RDRAND = { control: SECONDARY['RDRAND exiting'], reason: ExitReason.RDRAND };
const RDSEED = { control: SECONDARY['RDSEED exiting'], reason: ExitReason.RDSEED };

/** Exit reasons of the VMX instructions by the decoder's mnemonics. */
const vmxReasons: Readonly<Record<string, number>> = {
  Getsec: ExitReason.GETSEC,
  Vmclear: ExitReason.VMCLEAR,
  Vmlaunch: ExitReason.VMLAUNCH,
  Vmptrld: ExitReason.VMPTRLD,
  Vmptrst: ExitReason.VMPTRST,
  Vmread: ExitReason.VMREAD,
  Vmresume: ExitReason.VMRESUME,
  Vmwrite: ExitReason.VMWRITE,
  Vmxoff: ExitReason.VMXOFF,
  Vmxon: ExitReason.VMXON,
  Invept: ExitReason.INVEPT,
  Invvpid: ExitReason.INVVPID,
};
const VMCALL_EXIT = plain(ExitReason.VMCALL);

const withOperand = (reason: number, insn: DecodedInstruction): VmExit =>
  new VmExit(reason, displacementQualification(insn), { instructionInformation: instructionInformation(insn) });

export class NonRootIntercepts implements Intercepts {
  readonly #parts: VmxParts;
  readonly #vmcs: Vmcs;
  readonly #pauseLoop: PauseLoop;
  readonly #controlRegisters: VirtualControlRegisters;
  readonly #virtualMsrs: VirtualMsrs;

  constructor(parts: VmxParts, apic: VirtualApic) {
    this.#controlRegisters = new VirtualControlRegisters(parts, apic);
    this.#virtualMsrs = new VirtualMsrs(parts, apic);
    this.#parts = parts;
    this.#vmcs = parts.vmcs;
    this.#pauseLoop = new PauseLoop(parts);
  }

  get unrestrictedGuest(): boolean {
    return hasSecondary(this.#vmcs, SECONDARY['Unrestricted guest']);
  }
  /** NMIs that exit are blocked and unblocked by the host, unless there are virtual ones. */
  get keepsNmisBlocked(): boolean {
    return hasPin(this.#vmcs, PIN['NMI exiting']) && !usesVirtualNmis(this.#vmcs);
  }
  guestTsc(tsc: bigint): bigint {
    if (!this.#primary(PRIMARY['Use TSC offsetting'])) return tsc;
    const isScaled = hasSecondary(this.#vmcs, SECONDARY['Use TSC scaling']);
    const scaled = isScaled ? (tsc * this.#vmcs.u64(TSC_MULTIPLIER)) >> TSC_FRACTION_BITS : tsc;
    return BigInt.asUintN(64, scaled + this.#vmcs.u64(TSC_OFFSET));
  }

  #primary(mask: number): boolean {
    return hasPrimary(this.#vmcs, mask);
  }

  /** The exit takes the place of the instruction, without the time that throwing it takes. */
  #exit(event: VmExit): true {
    this.#parts.processor.vmExit = event;
    return true;
  }

  onCpuid(): boolean {
    return this.#exit(CPUID_EXIT);
  }
  onInvd(): void {
    throw INVD_EXIT;
  }
  onXsetbv(): void {
    throw XSETBV_EXIT;
  }
  /** No XSAVES or XRSTORS exits, as IA32_XSS has no bits that the XSS-exiting bitmap could ask for. */
  onXsaves(): void {
    if (!hasSecondary(this.#vmcs, SECONDARY['Enable XSAVES/XRSTORS'])) throw UD();
  }
  onTripleFault(): void {
    throw TRIPLE_FAULT_EXIT;
  }
  onHlt(): boolean {
    return this.#primary(PRIMARY['HLT exiting']) && this.#exit(HLT_EXIT);
  }
  onWbinvd(): void {
    if (hasSecondary(this.#vmcs, SECONDARY['WBINVD exiting'])) throw WBINVD_EXIT;
  }
  onRdtsc(): boolean {
    return this.#primary(PRIMARY['RDTSC exiting']) && this.#exit(RDTSC_EXIT);
  }
  onRdtscp(): void {
    if (!hasSecondary(this.#vmcs, SECONDARY['Enable RDTSCP'])) throw UD();
    if (this.#primary(PRIMARY['RDTSC exiting'])) throw RDTSCP_EXIT;
  }
  onRdpid(): void {
    if (!hasSecondary(this.#vmcs, SECONDARY['Enable RDTSCP'])) throw UD();
  }
  onRdpmc(): void {
    if (this.#primary(PRIMARY['RDPMC exiting'])) throw RDPMC_EXIT;
  }
  onMwait(): void {
    if (!this.#primary(PRIMARY['MWAIT exiting'])) return;
    throw new VmExit(ExitReason.MWAIT, BigInt(this.#parts.state.monitorArmed));
  }
  onMonitor(): void {
    if (this.#primary(PRIMARY['MONITOR exiting'])) throw MONITOR_EXIT;
  }
  onMonitoring(access: () => void): void {
    try {
      access();
    } catch (event) {
      throw event instanceof VmExit ? asMonitoring(event) : event;
    }
  }
  onPause(): void {
    if (this.#primary(PRIMARY['PAUSE exiting']) || this.#pauseLoop.exits()) throw PAUSE_EXIT;
  }
  onRandom(insn: DecodedInstruction): boolean {
    const { control, reason } = insn.mnemonic === 'Rdseed' ? RDSEED : RDRAND;
    if (!hasSecondary(this.#vmcs, control)) return false;
    return this.#exit(new VmExit(reason, 0n, { instructionInformation: randomInformation(insn) }));
  }

  onInvlpg(linear: LinearAddress): void {
    if (!this.#primary(PRIMARY['INVLPG exiting'])) return;
    throw new VmExit(ExitReason.INVLPG, BigInt.asUintN(64, BigInt(linear)));
  }
  onInvpcid(insn: DecodedInstruction): void {
    if (!hasSecondary(this.#vmcs, SECONDARY['Enable INVPCID'])) throw UD();
    if (this.#primary(PRIMARY['INVLPG exiting'])) throw withOperand(ExitReason.INVPCID, insn);
  }

  onDescriptorTable(insn: DecodedInstruction): void {
    if (!hasSecondary(this.#vmcs, SECONDARY['Descriptor-table exiting'])) return;
    const tables = insn.mnemonic.endsWith('gdt') || insn.mnemonic.endsWith('idt');
    throw withOperand(ExitReason[tables ? 'Access to GDTR or IDTR' : 'Access to LDTR or TR'], insn);
  }

  onVmfunc(leaf: number, ecx: number): void {
    invokeVmFunction(this.#parts, leaf, ecx);
  }

  onVmxInstruction(insn: DecodedInstruction): boolean {
    if (insn.mnemonic === 'Vmcall') return this.#exit(VMCALL_EXIT);
    const reason = vmxReasons[insn.mnemonic];
    if (reason === undefined) throw UD();
    if (isShadowed(this.#parts, insn)) return false;
    return this.#exit(withOperand(reason, insn));
  }

  onReadCr(register: number, gpr: number): bigint | undefined {
    return this.#controlRegisters.read(register, gpr);
  }
  onWriteCr(register: number, gpr: number, value: bigint): bigint | undefined {
    return this.#controlRegisters.write(register, gpr, value);
  }
  onClts(): boolean {
    return this.#controlRegisters.clts();
  }
  onLmsw(source: number, linear: LinearAddress | undefined): number {
    return this.#controlRegisters.lmsw(source, linear);
  }
  onSmsw(cr0: number): number {
    return this.#controlRegisters.smsw(cr0);
  }

  onDr(register: number, gpr: number, direction: 'read' | 'write'): void {
    if (!this.#primary(PRIMARY['MOV-DR exiting'])) return;
    throw new VmExit(ExitReason['MOV DR'], BigInt(register | (direction === 'read' ? 16 : 0) | (gpr << 8)));
  }

  onIo(access: IoAccess, insn: DecodedInstruction): boolean {
    const exits = this.#primary(PRIMARY['Use I/O bitmaps'])
      ? this.#ioBitmapsSay(access)
      : this.#primary(PRIMARY['Unconditional I/O exiting']);
    if (!exits) return false;
    const qualification = ioQualification(access);
    if (!access.string) return this.#exit(new VmExit(ExitReason['I/O instruction'], qualification));
    const segment = access.direction === 'in' ? ES : insn.segment;
    const more = {
      guestLinear: this.#stringAddress(segment, access.direction === 'in' ? RDI : RSI, insn.addressSize),
      instructionInformation: stringIoInformation(insn.addressSize, segment),
    };
    return this.#exit(new VmExit(ExitReason['I/O instruction'], qualification, more));
  }

  #ioBitmapsSay({ port, sizeBytes }: IoAccess): boolean {
    const { vmcs, physical } = this.#parts;
    return ioBitmapsSay(physical, vmcs.number(IO_BITMAP_A), vmcs.number(IO_BITMAP_B), port, sizeBytes);
  }

  #stringAddress(segment: number, index: number, addressSize: 16 | 32 | 64): LinearAddress {
    const { state } = this.#parts;
    const offset =
      addressSize === 64 ? state.gprLinear(index) : state.gpr32(index) & (addressSize === 16 ? 0xffff : -1);
    const { base } = state.segment(segment);
    if (is64Bit(state)) return segment >= FS ? plus(base, offset) : offset;
    return low32(plus(base, offset));
  }

  onRdmsr(index: number): boolean {
    return this.#msrExits(index, 'read') && this.#exit(RDMSR_EXIT);
  }
  onWrmsr(index: number): boolean {
    return this.#msrExits(index, 'write') && this.#exit(WRMSR_EXIT);
  }
  readVirtualMsr(index: number): bigint | undefined {
    return this.#virtualMsrs.read(index);
  }
  writeVirtualMsr(index: number, value: bigint): boolean {
    return this.#virtualMsrs.write(index, value);
  }
  #msrExits(index: number, access: MsrAccess): boolean {
    if (!this.#primary(PRIMARY['Use MSR bitmaps'])) return true;
    return msrBitmapsSay(this.#parts.physical, this.#vmcs.number(MSR_BITMAPS), index, access);
  }

  onException(fault: GuestFault): void {
    if (exceptionExits(this.#vmcs, fault)) throw exitOfException(this.#parts, fault);
  }

  onTaskSwitch(selector: number, source: 'call' | 'iret' | 'jmp' | 'idt'): void {
    throw new VmExit(ExitReason['Task switch'], BigInt(selector) | (BigInt(taskSources[source]) << 30n));
  }
}

const ioQualification = (access: IoAccess): bigint =>
  BigInt(
    access.port * 0x1_0000 +
      ((access.sizeBytes - 1) |
        (access.direction === 'in' ? 8 : 0) |
        (access.string ? 16 : 0) |
        (access.rep ? 32 : 0) |
        (access.immediate ? 64 : 0)),
  );
