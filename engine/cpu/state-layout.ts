/**
 * The layout of the CPU state in wasm memory: one table from which come the offsets that compiled code uses, the
 * typed accessors that TypeScript uses (state.ts), and the names and descriptions that the debugger shows.
 *
 * Types: `u32` is a number; `u64` a bigint; `linear` a 64-bit field read as a `LinearAddress`; `physical` a 64-bit field
 * read as an unsigned number (52 bits).
 */
import { STATE_ADDRESS, STATE_BYTES } from './memory-map.ts';

export type FieldType = 'u32' | 'u64' | 'linear' | 'physical';

export interface FieldSpec {
  readonly type: FieldType;
  readonly doc: string;
}

const u32 = (doc: string) => ({ type: 'u32', doc }) as const;
const u64 = (doc: string) => ({ type: 'u64', doc }) as const;
const linear = (doc: string) => ({ type: 'linear', doc }) as const;
const physical = (doc: string) => ({ type: 'physical', doc }) as const;

/** Scalar fields. Names are the manual's where the manual has one. */
export const fieldTable = {
  zero: u64('always 0: the base or index of an address that has none'),
  rip: linear('instruction pointer of the next instruction, valid whenever compiled code is not running'),
  pageBase: linear('RIP value at the start of the code page that is executing'),
  flagsResult: u64('lazy flags: ZF, SF and PF derive from it; see flags.ts'),
  flagsAux: u64('lazy flags: CF in bit 63, CF^OF in bit 62, AF in bit 3, SF and PF corrections; see flags.ts'),
  flagsOther: u32('the bits of RFLAGS other than CF PF AF ZF SF OF, bit 1 set'),

  gdtrBase: linear('GDTR base'),
  gdtrLimit: u32('GDTR limit'),
  idtrBase: linear('IDTR base'),
  idtrLimit: u32('IDTR limit'),

  cr0: u32('CR0'),
  cr2: u64('CR2: page-fault linear address'),
  cr3: physical('CR3, without the no-flush bit'),
  cr4: u32('CR4'),
  cr8: u32('CR8: task priority'),
  xcr0: u32('XCR0'),
  pkru: u32('PKRU: rights of user-mode pages by their protection keys'),
  pkrs: u32('IA32_PKRS: rights of supervisor-mode pages by their protection keys'),
  fcw: u32('x87 FPU control word'),
  fsw: u32('x87 FPU status word, with the top of the stack'),
  ftw: u32('x87 FPU tag word, abridged as FXSAVE has it: bit n is 1 unless Rn is empty'),
  fop: u32('x87 FPU last instruction opcode'),
  fip: linear('x87 FPU last instruction pointer'),
  fdp: linear('x87 FPU last data pointer'),
  fcs: u32('selector of the x87 FPU last instruction pointer'),
  fds: u32('selector of the x87 FPU last data pointer'),
  mxcsr: u32('MXCSR'),
  dr0: u64('DR0'),
  dr1: u64('DR1'),
  dr2: u64('DR2'),
  dr3: u64('DR3'),
  dr6: u32('DR6'),
  dr7: u32('DR7'),

  efer: u32('IA32_EFER'),
  star: u64('IA32_STAR'),
  lstar: u64('IA32_LSTAR'),
  cstar: u64('IA32_CSTAR'),
  fmask: u32('IA32_FMASK'),
  kernelGsBase: linear('IA32_KERNEL_GS_BASE'),
  sysenterCs: u32('IA32_SYSENTER_CS'),
  sysenterEsp: linear('IA32_SYSENTER_ESP'),
  sysenterEip: linear('IA32_SYSENTER_EIP'),
  tscAux: u32('IA32_TSC_AUX'),
  apicBase: physical('IA32_APIC_BASE'),
  initialApicId: u32('initial APIC ID, which CPUID reports'),
  pat: u64('IA32_PAT'),
  miscEnable: u64('IA32_MISC_ENABLE'),
  featureControl: u32('IA32_FEATURE_CONTROL'),
  debugctl: u32('IA32_DEBUGCTL'),
  tscAdjust: u64(
    'value added to the retired-instruction clock to give the TSC (set by WRMSR to IA32_TIME_STAMP_COUNTER)',
  ),
  mtrrDefType: u64('IA32_MTRR_DEF_TYPE'),
  mtrrFix64Kx00000: u64('IA32_MTRR_FIX64K_00000'),
  mtrrFix16Kx80000: u64('IA32_MTRR_FIX16K_80000'),
  mtrrFix16KxA0000: u64('IA32_MTRR_FIX16K_A0000'),
  mtrrFix4KxC0000: u64('IA32_MTRR_FIX4K_C0000'),
  mtrrFix4KxC8000: u64('IA32_MTRR_FIX4K_C8000'),
  mtrrFix4KxD0000: u64('IA32_MTRR_FIX4K_D0000'),
  mtrrFix4KxD8000: u64('IA32_MTRR_FIX4K_D8000'),
  mtrrFix4KxE0000: u64('IA32_MTRR_FIX4K_E0000'),
  mtrrFix4KxE8000: u64('IA32_MTRR_FIX4K_E8000'),
  mtrrFix4KxF0000: u64('IA32_MTRR_FIX4K_F0000'),
  mtrrFix4KxF8000: u64('IA32_MTRR_FIX4K_F8000'),
  mtrrPhysBase0: u64('IA32_MTRR_PHYSBASE0'),
  mtrrPhysMask0: u64('IA32_MTRR_PHYSMASK0'),
  mtrrPhysBase1: u64('IA32_MTRR_PHYSBASE1'),
  mtrrPhysMask1: u64('IA32_MTRR_PHYSMASK1'),
  mtrrPhysBase2: u64('IA32_MTRR_PHYSBASE2'),
  mtrrPhysMask2: u64('IA32_MTRR_PHYSMASK2'),
  mtrrPhysBase3: u64('IA32_MTRR_PHYSBASE3'),
  mtrrPhysMask3: u64('IA32_MTRR_PHYSMASK3'),
  mtrrPhysBase4: u64('IA32_MTRR_PHYSBASE4'),
  mtrrPhysMask4: u64('IA32_MTRR_PHYSMASK4'),
  mtrrPhysBase5: u64('IA32_MTRR_PHYSBASE5'),
  mtrrPhysMask5: u64('IA32_MTRR_PHYSMASK5'),
  mtrrPhysBase6: u64('IA32_MTRR_PHYSBASE6'),
  mtrrPhysMask6: u64('IA32_MTRR_PHYSMASK6'),
  mtrrPhysBase7: u64('IA32_MTRR_PHYSBASE7'),
  mtrrPhysMask7: u64('IA32_MTRR_PHYSMASK7'),

  monitorArmed: u32('address-range monitoring: a value of MONITORING (cpu/monitoring.ts)'),
  monitorLine: physical('the monitored line, while there is one: a host-physical address'),
  randomState: u64('where RDRAND and RDSEED are in their sequence'),
  mcgStatus: u64('IA32_MCG_STATUS'),
  mc0Ctl: u64('IA32_MC0_CTL'),
  mc0Status: u64('IA32_MC0_STATUS'),
  mc0Addr: u64('IA32_MC0_ADDR'),
  mc0Misc: u64('IA32_MC0_MISC'),
  mc1Ctl: u64('IA32_MC1_CTL'),
  mc1Status: u64('IA32_MC1_STATUS'),
  mc1Addr: u64('IA32_MC1_ADDR'),
  mc1Misc: u64('IA32_MC1_MISC'),

  cpl: u32('current privilege level'),
  mode: u32('CpuMode: operating mode and code size; derived, see modes.ts'),
  activityState: u32('VMX encoding: 0 active, 1 HLT, 2 shutdown, 3 wait-for-SIPI'),
  interruptibility: u32('VMX encoding: bit 0 blocking by STI, 1 by MOV SS, 2 by SMI, 3 by NMI'),
  pendingDebug: u32('trap-like debug exceptions to deliver at the next boundary, DR6 format: bits 3:0 and 14'),
  repeating: u32('1 between two iterations of a repeated string instruction'),
  vmxOperation: u32('1 in VMX operation (between VMXON and VMXOFF)'),
  nonRoot: u32('1 in VMX non-root operation, and in guest mode of AMD-V'),
  monitorTrap: u32('monitor trap flag: 0 off, 1 after the next instruction or event, 2 a VM exit is pending'),
  preemptionDeadline: physical('virtual time in nanoseconds at which the VMX-preemption timer expires; 0: not active'),
  pauseLoopStart: physical('virtual time in nanoseconds of the first PAUSE of a loop, for PAUSE-loop exiting; 0: none'),
  pauseLoopLast: physical('virtual time in nanoseconds of its last PAUSE'),
  virtualInterrupt: u32('1 while a pending virtual interrupt is recognized'),
  apicEvent: u32('what the virtual APIC does at the next boundary: see vmx/virtual-apic.ts; 0: nothing'),
  vmxonPointer: physical('VMXON pointer'),
  currentVmcs: physical('VMCS pointer of the current VMCS, valid if currentVmcsValid'),
  currentVmcsValid: u32('1 if there is a current VMCS'),
  svmGuest: u32('1 in guest mode of AMD-V, between VMRUN and #VMEXIT'),
  globalInterruptFlag: u32('GIF of AMD-V: 0 holds all interrupts'),
  hostInterruptFlag: u32('1 if RFLAGS.IF was 1 at the last VMRUN'),
  pausesLeft: u32('PAUSEs that the filter of AMD-V lets pass'),
  vmcb: physical('address of the VMCB of the last VMRUN'),
  vmHsavePa: physical('VM_HSAVE_PA'),
  vmCr: u32('VM_CR'),

  budget: u64('instructions that may still run in this slice (signed)'),
  retired: u64('instructions retired since reset, of all slices that ended'),
  tlbBase: u32('wasm address of the set of the fast TLB for the current privilege'),
  jumpKey: u32('generation and mode of valid jump-cache entries'),
  linkSite: u32('wasm address of the successor link to patch once the target block is known, or 0'),
  exitRecord: u32('wasm address of the record that ended the slice'),
} as const satisfies Record<string, FieldSpec>;

export type FieldName = keyof typeof fieldTable;

/** Segment registers in their encoding order, then the two system segments. */
export const segmentNames = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDTR', 'TR'] as const;
export type SegmentName = (typeof segmentNames)[number];

/** One segment register with its hidden part. Offsets in bytes from the segment's address. */
export const segmentLayout = {
  /** i64: base; 0 in 64-bit mode for ES, CS, SS, DS as far as address generation goes is a matter of the decoder. */
  base: 0,
  /** i64, signed: largest offset a read may touch without the slow check, -1 if every access needs it. */
  fastReadLimit: 8,
  /** i64, signed: the same for writes. */
  fastWriteLimit: 16,
  /** u32: limit in bytes, granularity applied. */
  limit: 24,
  /** u32: access rights in the VMCS format (type, S, DPL, P, AVL, L, D/B, G; bit 16 = unusable). */
  attributes: 28,
  /** u32: selector. */
  selector: 32,
} as const;
export const SEGMENT_BYTES = 40;

export const gprNames = [
  'RAX', 'RCX', 'RDX', 'RBX', 'RSP', 'RBP', 'RSI', 'RDI',
  'R8', 'R9', 'R10', 'R11', 'R12', 'R13', 'R14', 'R15',
] as const; // biome-ignore format: one row a register file

/** Wasm addresses of the general-purpose registers: 8 bytes each, little-endian, so AH is at RAX + 1. */
const GPR_ADDRESS = STATE_ADDRESS;
export const gprAddress = (index: number): number => GPR_ADDRESS + index * 8;

const SEGMENTS_ADDRESS = GPR_ADDRESS + gprNames.length * 8;
export const segmentAddress = (index: number): number => SEGMENTS_ADDRESS + index * SEGMENT_BYTES;

/** Vector registers: 32 bytes each, YMM0 to YMM15; the lower half is the XMM register. */
export const VECTOR_REGISTERS = 16;
export const VECTOR_BYTES = 32;
const VECTORS_ADDRESS = SEGMENTS_ADDRESS + segmentNames.length * SEGMENT_BYTES;
export const vectorAddress = (index: number): number => VECTORS_ADDRESS + index * VECTOR_BYTES;

/** Registers R0 to R7 of the x87 FPU: 16 bytes each, significand (which is MM0 to MM7) first, then sign and exponent, then 0. */
export const X87_REGISTERS = 8;
const X87_REGISTER_BYTES = 16;
const X87_ADDRESS = vectorAddress(VECTOR_REGISTERS);
export const x87Address = (index: number): number => X87_ADDRESS + index * X87_REGISTER_BYTES;

const FIELDS_ADDRESS = x87Address(X87_REGISTERS);

/** Wasm address of every scalar field; each takes 8 bytes. */
export const fieldAddress: Readonly<Record<FieldName, number>> = Object.fromEntries(
  Object.keys(fieldTable).map((name, index) => [name, FIELDS_ADDRESS + index * 8]),
) as Record<FieldName, number>;

const end = FIELDS_ADDRESS + Object.keys(fieldTable).length * 8;
if (end > STATE_ADDRESS + STATE_BYTES) throw new Error(`CPU state needs ${end - STATE_ADDRESS} bytes`);
