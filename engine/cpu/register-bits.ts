/** Bits of RFLAGS, the control registers and IA32_EFER, by the manual's names (SDM volume 3, "System Architecture Overview"). */

export const RFLAGS = {
  CF: 1 << 0, FIXED: 1 << 1, PF: 1 << 2, AF: 1 << 4, ZF: 1 << 6, SF: 1 << 7, TF: 1 << 8, IF: 1 << 9, DF: 1 << 10,
  OF: 1 << 11, IOPL: 3 << 12, NT: 1 << 14, RF: 1 << 16, VM: 1 << 17, AC: 1 << 18, VIF: 1 << 19, VIP: 1 << 20,
  ID: 1 << 21,
} as const; // biome-ignore format: one table

/** PG is 2^31: test it with `hasBit`, since bit operators yield signed numbers. */
export const CR0 = {
  PE: 1 << 0, MP: 1 << 1, EM: 1 << 2, TS: 1 << 3, ET: 1 << 4, NE: 1 << 5, WP: 1 << 16, AM: 1 << 18, NW: 1 << 29,
  CD: 1 << 30, PG: 0x8000_0000,
} as const; // biome-ignore format: one table

export const CR4 = {
  VME: 1 << 0, PVI: 1 << 1, TSD: 1 << 2, DE: 1 << 3, PSE: 1 << 4, PAE: 1 << 5, MCE: 1 << 6, PGE: 1 << 7, PCE: 1 << 8,
  OSFXSR: 1 << 9, OSXMMEXCPT: 1 << 10, UMIP: 1 << 11, LA57: 1 << 12, VMXE: 1 << 13, SMXE: 1 << 14, FSGSBASE: 1 << 16,
  PCIDE: 1 << 17, OSXSAVE: 1 << 18, SMEP: 1 << 20, SMAP: 1 << 21, PKE: 1 << 22, PKS: 1 << 24,
} as const; // biome-ignore format: one table

/** Exception flags and masks, denormals-are-zeros, flush-to-zero; rounding control lies in bits 14:13. */
export const MXCSR = {
  IE: 1 << 0, DE: 1 << 1, ZE: 1 << 2, OE: 1 << 3, UE: 1 << 4, PE: 1 << 5, DAZ: 1 << 6, IM: 1 << 7, DM: 1 << 8, ZM: 1 << 9,
  OM: 1 << 10, UM: 1 << 11, PM: 1 << 12, FZ: 1 << 15,
} as const; // biome-ignore format: one table

/** SVME is of processors with AMD-V. */
export const EFER = { SCE: 1 << 0, LME: 1 << 8, LMA: 1 << 10, NXE: 1 << 11, SVME: 1 << 12 } as const;

/** IA32_APIC_BASE. */
export const APIC_BASE = { ADDRESS: 0xfee0_0000, BSP: 1 << 8, ENABLE: 1 << 11 } as const;

/** Debug status and control. */
export const DR6 = { B: 0xf, BD: 1 << 13, BS: 1 << 14, BT: 1 << 15 } as const;
export const DR7 = { LOCAL: 0x155, GD: 1 << 13 } as const;

/** IA32_MISC_ENABLE: fast strings; MONITOR and MWAIT exist; CPUID is cut to leaf 3. */
export const MISC_ENABLE = { FAST_STRINGS: 1n << 0n, MONITOR: 1n << 18n, LIMIT_CPUID: 1n << 22n } as const;

/** IA32_DEBUGCTL: record branches; single-step on branches. */
export const DEBUGCTL = { LBR: 1 << 0, BTF: 1 << 1 } as const;

/** Segment access rights in the VMCS format (SDM volume 3, "Guest Register State"). */
export const ACCESS = {
  TYPE: 0xf, S: 1 << 4, DPL: 3 << 5, P: 1 << 7, AVL: 1 << 12, L: 1 << 13, DB: 1 << 14, G: 1 << 15, UNUSABLE: 1 << 16,
  /** Within TYPE, for S = 1. */
  ACCESSED: 1 << 0, WRITABLE: 1 << 1, READABLE: 1 << 1, EXPAND_DOWN: 1 << 2, CONFORMING: 1 << 2, CODE: 1 << 3,
} as const; // biome-ignore format: one table

/** Interruptibility state in the VMX encoding. */
export const BLOCKING = { STI: 1 << 0, MOV_SS: 1 << 1, SMI: 1 << 2, NMI: 1 << 3 } as const;

/** Activity state in the VMX encoding. */
export const ACTIVITY = { ACTIVE: 0, HLT: 1, SHUTDOWN: 2, WAIT_FOR_SIPI: 3 } as const;

export const hasBit = (value: number, bit: number): boolean => (value & bit) !== 0;

/** VM_CR of AMD-V (AMD64 APM volume 2, "VM_CR MSR"). */
export const VM_CR = { DPD: 1 << 0, R_INIT: 1 << 1, DIS_A20M: 1 << 2, LOCK: 1 << 3, SVMDIS: 1 << 4 } as const;
