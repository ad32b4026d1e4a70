/**
 * The registers of the local APIC as data: offsets, what of them may be written, and the bits of the local vector table
 * and the interrupt command register. Source: SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".
 */

/** Offsets from the base, each register at a multiple of 16. */
export const APIC_REGISTER = {
  ID: 0x20,
  VERSION: 0x30,
  TPR: 0x80,
  APR: 0x90,
  PPR: 0xa0,
  EOI: 0xb0,
  LDR: 0xd0,
  DFR: 0xe0,
  SVR: 0xf0,
  /** The first of eight, as of TMR and IRR. */
  ISR: 0x100,
  TMR: 0x180,
  IRR: 0x200,
  ESR: 0x280,
  ICR_LOW: 0x300,
  ICR_HIGH: 0x310,
  LVT_TIMER: 0x320,
  LVT_THERMAL: 0x330,
  LVT_PERFORMANCE: 0x340,
  LVT_LINT0: 0x350,
  LVT_LINT1: 0x360,
  LVT_ERROR: 0x370,
  INITIAL_COUNT: 0x380,
  CURRENT_COUNT: 0x390,
  DIVIDE_CONFIGURATION: 0x3e0,
} as const;

export const APIC_BYTES = 0x1000;

/** Version 15H: an integrated APIC; the highest entry of the local vector table is the fifth. */
export const APIC_VERSION = 0x0005_0015;

/** Entries of the local vector table, in the order of their registers. */
export const LVT = { TIMER: 0, THERMAL: 1, PERFORMANCE: 2, LINT0: 3, LINT1: 4, ERROR: 5 } as const;

export interface LvtEntry {
  readonly name: string;
  readonly writable: number;
}

export const lvtEntries: readonly LvtEntry[] = [
  { name: 'LVT Timer', writable: 0x0003_00ff },
  { name: 'LVT Thermal Monitor', writable: 0x0001_07ff },
  { name: 'LVT Performance Counter', writable: 0x0001_07ff },
  { name: 'LVT LINT0', writable: 0x0001_a7ff },
  { name: 'LVT LINT1', writable: 0x0001_a7ff },
  { name: 'LVT Error', writable: 0x0001_00ff },
];

/** Index of the entry of the local vector table at an offset. */
export function lvtIndex(offset: number): number | undefined {
  const index = (offset - APIC_REGISTER.LVT_TIMER) >> 4;
  return index >= 0 && index < lvtEntries.length ? index : undefined;
}

const registerOffsets: ReadonlySet<number> = new Set([
  ...Object.values(APIC_REGISTER),
  ...Array.from({ length: 24 }, (_, index) => APIC_REGISTER.ISR + 16 * index),
]);
/** Whether there is a register at an offset. */
export const isApicRegister = (offset: number): boolean => registerOffsets.has(offset);

/** Bits of an entry of the local vector table. */
export const LVT_BIT = {
  POLARITY_LOW: 1 << 13,
  REMOTE_IRR: 1 << 14,
  LEVEL: 1 << 15,
  MASK: 1 << 16,
  PERIODIC: 1 << 17,
} as const;

/** Spurious-interrupt vector register. */
export const SVR = { ENABLE: 1 << 8, WRITABLE: 0x3ff } as const;

/** Delivery modes of the interrupt command register and of the local vector table. */
export const DELIVERY = { FIXED: 0, LOWEST: 1, SMI: 2, NMI: 4, INIT: 5, STARTUP: 6, EXTINT: 7 } as const;
export const deliveryNames: readonly string[] = [
  'fixed',
  'lowest priority',
  'SMI',
  'reserved',
  'NMI',
  'INIT',
  'start-up',
  'ExtINT',
];

/** Interrupt command register, low half. */
export const ICR = { LOGICAL: 1 << 11, ASSERT: 1 << 14, LEVEL: 1 << 15, WRITABLE: 0x000c_cfff } as const;
/** Bits 19:18 of it. */
export const SHORTHAND = { NONE: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const;
export const shorthandNames: readonly string[] = ['', 'self', 'all including self', 'all excluding self'];

/** Error status register. */
export const ESR = { SEND_ILLEGAL_VECTOR: 1 << 5, RECEIVE_ILLEGAL_VECTOR: 1 << 6, ILLEGAL_REGISTER: 1 << 7 } as const;
export const esrNames: readonly (string | undefined)[] = [
  ...new Array<undefined>(5).fill(undefined),
  'send illegal vector',
  'receive illegal vector',
  'illegal register address',
];

/** Vectors 0 to 15 are illegal. */
export const FIRST_LEGAL_VECTOR = 16;

export const deliveryMode = (register: number): number => (register >>> 8) & 7;
