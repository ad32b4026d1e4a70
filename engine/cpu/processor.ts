/**
 * What the system side of the CPU works on: the state, linear memory, the TLB's maintenance, ports, the CPU model, and
 * the two parties that are asked or told: VMX (intercepts) and the debugger (hooks).
 */

import type { LinearAddress } from '../isa/linear-address.ts';
import type { GuestFault, VmExit } from './events.ts';
import { Unimplemented } from './events.ts';
import { readFlags, writeFlags } from './flags.ts';
import type { DecodedInstruction } from './instruction.ts';
import type { CpuModel } from './model.ts';
import { refreshMode } from './modes.ts';
import { RFLAGS } from './register-bits.ts';
import type { CpuState } from './state.ts';

/**
 * In whose name memory is accessed; the numbers are those of the MMU. `Current`: an explicit access at the CPL.
 * `Supervisor`: an implicit supervisor-mode access, to a descriptor table or TSS, or to the stack of an inner ring
 * (SDM volume 3, "Determination of Access Rights").
 */
export const Privilege = { Current: 0, Supervisor: 1 } as const;
export type Privilege = (typeof Privilege)[keyof typeof Privilege];

/** Linear memory. Accesses throw PF, or GP(0) when the address is not canonical. */
export interface SystemMemory {
  readU8(linear: LinearAddress, privilege: Privilege): number;
  readU16(linear: LinearAddress, privilege: Privilege): number;
  readU32(linear: LinearAddress, privilege: Privilege): number;
  readU64(linear: LinearAddress, privilege: Privilege): bigint;
  readLinearNumber64(linear: LinearAddress, privilege: Privilege): LinearAddress;
  /** The low half of 64 bits, all of which are accessed; unsigned. */
  readLowHalf64(linear: LinearAddress, privilege: Privilege): number;
  writeU8(linear: LinearAddress, value: number, privilege: Privilege): void;
  writeU16(linear: LinearAddress, value: number, privilege: Privilege): void;
  writeU32(linear: LinearAddress, value: number, privilege: Privilege): void;
  writeU64(linear: LinearAddress, value: bigint, privilege: Privilege): void;
  /** Writes an address, or another integer number, as 64 bits in two's complement. */
  writeLinearNumber64(linear: LinearAddress, value: LinearAddress, privilege: Privilege): void;
  /** Faults as a write of the range would, without writing. */
  probeWrite(linear: LinearAddress, lengthBytes: number, privilege: Privilege): void;
  /** Host-physical address for a read (`access` 0). */
  translate(linear: LinearAddress, access: 0, privilege: Privilege): number;
  /** True while an IRET that ended blocking by NMI runs: exit qualifications of EPT violations say so in bit 12. */
  nmiUnblockingDueToIret: boolean;
}

/**
 * What changes translations. The register writes store the state field themselves, with PDPTE loads and invalidations;
 * they throw (GP(0) for reserved bits in a PDPTE, or a VM exit) before changing anything.
 */
export interface TranslationRegisters {
  writeCr0(value: number): void;
  writeCr3(value: number, noFlush: boolean): void;
  writeCr4(value: number): void;
  writeEfer(value: number): void;
  invlpg(linear: LinearAddress): void;
  /** Drops everything cached, after reset put new registers in place. */
  reset(): void;
  /** INVPCID with a valid descriptor: types 0 to 3. */
  invpcid(type: number, pcid: number, linear: LinearAddress): void;
  /** To be called after PKRU or IA32_PKRS changed. */
  keyRightsChanged(): void;
  /** To be called after the CPL or RFLAGS.AC changed. */
  privilegeChanged(): void;
}

/** The I/O address space; `sizeBytes` is 1, 2 or 4. */
export interface Ports {
  read(port: number, sizeBytes: number): number;
  write(port: number, sizeBytes: number, value: number): void;
}

/** One port access about to happen, as VM exits report it. */
export interface IoAccess {
  readonly port: number;
  readonly sizeBytes: number;
  readonly direction: 'in' | 'out';
  readonly string: boolean;
  readonly rep: boolean;
  readonly immediate: boolean;
}

/** How an event came to be, by the interruption types of VMX (SDM volume 3, "Information for VM Exits Due to Vectored Events"). */
export const EventType = {
  externalInterrupt: 0,
  nmi: 2,
  hardwareException: 3,
  softwareInterrupt: 4,
  privilegedSoftwareException: 5,
  softwareException: 6,
} as const;
export type EventType = (typeof EventType)[keyof typeof EventType];

/** An interrupt or exception on its way through the IVT or IDT. */
export interface CpuEvent {
  readonly type: EventType;
  readonly vector: number;
  readonly errorCode?: number | undefined;
  /** RIP to save: of the instruction for faults, of the next one for traps and software interrupts. */
  readonly returnIp: LinearAddress;
  /** Length of the instruction that caused a software interrupt or exception. */
  readonly instructionLengthBytes?: number | undefined;
  /** Whether RF is saved as 1, as for fault-class exceptions; otherwise as it is. VM entry injects without. */
  readonly resume?: boolean;
}

/**
 * What VMX non-root operation asks. Each method is consulted where the manual places the VM exit relative to faults
 * (SDM volume 3, "Relative Priority of Faults and VM Exits"), and throws `VmExit` to take the exit. Those of frequent
 * exits do not throw: they return true, with the exit in `Processor.vmExit`, and the instruction ends there.
 */
export interface Intercepts {
  /** True while the "unrestricted guest" control is 1: CR0.PE and CR0.PG may be 0. */
  readonly unrestrictedGuest?: boolean;
  /** True where IRET does not end blocking by NMI. */
  readonly keepsNmisBlocked?: boolean;
  /** What RDTSC, RDTSCP and RDMSR of IA32_TIME_STAMP_COUNTER return in place of the TSC; modulo 2^64. */
  guestTsc?(tsc: bigint): bigint;
  onCpuid?(): boolean;
  onHlt?(): boolean;
  onInvd?(): void;
  onWbinvd?(): void;
  onInvlpg?(linear: LinearAddress): void;
  onInvpcid?(insn: DecodedInstruction): void;
  onRdtsc?(): boolean;
  onRdtscp?(): void;
  onRdpid?(): void;
  onRdpmc?(): void;
  onRdmsr?(index: number): boolean;
  onWrmsr?(index: number): boolean;
  /** What RDMSR gives in place of the MSR; undefined for the MSR. */
  readVirtualMsr?(index: number): bigint | undefined;
  /** Whether WRMSR was carried out elsewhere. */
  writeVirtualMsr?(index: number, value: bigint): boolean;
  /** Returns the value to read instead of the register (guest/host masks and shadows), or undefined for the register. */
  onReadCr?(register: number, gpr: number): bigint | undefined;
  /** Returns the value to write in place of `value`, or undefined if the write was carried out elsewhere. */
  onWriteCr?(register: number, gpr: number, value: bigint): bigint | undefined;
  /** Returns whether CLTS is to clear CR0.TS (it is not when the host owns the bit and shadows it as 0). */
  onClts?(): boolean;
  /** Returns the source operand to load in place of `source`; `linear` is that of a memory operand. */
  onLmsw?(source: number, linear: LinearAddress | undefined): number;
  /** The value SMSW stores, given CR0. */
  onSmsw?(cr0: number): number;
  onDr?(register: number, gpr: number, direction: 'read' | 'write'): void;
  onIo?(access: IoAccess, insn: DecodedInstruction): boolean;
  /** LGDT, LIDT, SGDT, SIDT, LLDT, SLDT, LTR, STR. */
  onDescriptorTable?(insn: DecodedInstruction): void;
  onMwait?(): void;
  onMonitor?(): void;
  /** Makes the access of MONITOR. */
  onMonitoring?(access: () => void): void;
  onPause?(): void;
  /** RDRAND and RDSEED. */
  onRandom?(insn: DecodedInstruction): boolean;
  onXsetbv?(): void;
  /** XSAVES and XRSTORS. */
  onXsaves?(): void;
  /** Consulted before an exception is delivered; `Processor.delivering` is the event during whose delivery it arose. */
  onException?(fault: GuestFault): void;
  onTaskSwitch?(selector: number, source: 'call' | 'iret' | 'jmp' | 'idt'): void;
  onTripleFault?(): void;
  /** VMFUNC, with EAX and ECX. */
  onVmfunc?(leaf: number, ecx: number): void;
  /** PUSHF and POPF, before all their faults. */
  onPushf?(): void;
  onPopf?(): void;
  /** IRET and INT n, before all their faults. */
  onIret?(): void;
  onSoftwareInterrupt?(vector: number): void;
  /** RSM. */
  onRsm?(): void;
  /** The FPU is about to wait for the interrupt that FERR# asks for. */
  onFpuFreeze?(): void;
  /** The instructions of AMD-V; true if the instruction ends there. */
  onSvmInstruction?(insn: DecodedInstruction): boolean;
  /** GETSEC and the VMX instructions; false for VMREAD and VMWRITE that access the shadow VMCS. */
  onVmxInstruction?(insn: DecodedInstruction): boolean;
}

/** What the local APIC is told by its processor. */
export interface LocalApicPort {
  /** CR8 was written: it is the upper half of the task priority register. */
  taskPriorityWritten(cr8: number): void;
  /** The processor itself ends the interrupt that is in service, as for posted interrupts. */
  endOfInterrupt(): void;
  /** IA32_APIC_BASE is going to change. Throws Unimplemented for what the machine cannot do. */
  baseWritten(base: number): void;
}

/** The error output of the x87 FPU, for a CR0.NE of 0: FERR#, and IGNNE#, by which the system answers. */
export interface FpuErrorPort {
  /** FSW.ES or CR0.NE may have changed: FERR# is asserted while ES = 1 and NE = 0. */
  changed(): void;
  /** Whether IGNNE# is asserted: pending exceptions do not keep instructions from executing. */
  ignoresErrors(): boolean;
}

/** Notifications for the debugger. None of them may change the state. */
export interface Hooks {
  ringChanged(from: number, to: number): void;
  modeChanged(from: number, to: number): void;
  eventDelivered(event: CpuEvent): void;
  controlRegisterWritten(register: string, before: number | bigint, after: number | bigint): void;
  msrAccessed(index: number, access: 'read' | 'write', value: bigint): void;
  tripleFault(): void;
}

export const silentHooks: Hooks = {
  ringChanged: () => {},
  modeChanged: () => {},
  eventDelivered: () => {},
  controlRegisterWritten: () => {},
  msrAccessed: () => {},
  tripleFault: () => {},
};

export interface ProcessorParts {
  readonly state: CpuState;
  readonly memory: SystemMemory;
  readonly tlb: TranslationRegisters;
  readonly ports: Ports;
  readonly model: CpuModel;
  /** The time-stamp counter: the retired-instruction clock plus `state.tscAdjust`. */
  readonly tscNow: () => bigint;
  readonly hooks?: Hooks;
}

export class Processor {
  readonly state: CpuState;
  readonly memory: SystemMemory;
  readonly tlb: TranslationRegisters;
  readonly ports: Ports;
  readonly model: CpuModel;
  readonly tscNow: () => bigint;
  hooks: Hooks;
  /** The local APIC, where there is one. */
  localApic: LocalApicPort | undefined;
  /** What listens to FERR#, where there is something. */
  fpuErrors: FpuErrorPort | undefined;
  /** Told when MONITOR has armed `state.monitorLine`. */
  onMonitor: () => void = () => {};
  /** Set in VMX non-root operation. */
  intercepts: Intercepts | undefined;
  /** Set by an instruction that put its own value into `state.rip`; the dispatcher clears it before each instruction. */
  transferred = false;
  /** The VM exit that takes the place of the instruction under way; whoever runs the instruction takes it from here. */
  vmExit: VmExit | undefined;
  /** The event that is being delivered; stays set when a VM exit ends the delivery, for the IDT-vectoring information. */
  delivering: CpuEvent | undefined;
  /** Of the last shutdown, in words, for whoever reports it; not part of the architectural state. */
  shutdownCause = '';

  constructor(parts: ProcessorParts) {
    this.state = parts.state;
    this.memory = parts.memory;
    this.tlb = parts.tlb;
    this.ports = parts.ports;
    this.model = parts.model;
    this.tscNow = parts.tscNow;
    this.hooks = parts.hooks ?? silentHooks;
  }

  /** Continues at `rip` instead of the next instruction. */
  jump(rip: LinearAddress): void {
    this.state.rip = rip;
    this.transferred = true;
  }

  setCpl(cpl: number): void {
    const before = this.state.cpl;
    if (before === cpl) return;
    this.state.cpl = cpl;
    this.tlb.privilegeChanged();
    this.hooks.ringChanged(before, cpl);
  }

  /** Writes RFLAGS and tells those who depend on AC and VM. The caller has masked what may not change. */
  writeFlags(value: number): void {
    const changed = readFlags(this.state) ^ value;
    writeFlags(this.state, value);
    if (changed & RFLAGS.VM) refreshMode(this);
    if (changed & RFLAGS.AC) this.tlb.privilegeChanged();
  }

  /** Enters the shutdown state after a triple fault (SDM volume 3, "Interrupt 8—Double Fault Exception"). */
  tripleFault(): void {
    this.state.activityState = 2;
    this.hooks.tripleFault();
  }
}

/** Stops the run at something the engine does not implement, by its name in the specification. */
export function unimplemented(what: string): never {
  throw new Unimplemented(what);
}
