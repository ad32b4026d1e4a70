/** The model-specific registers (SDM volume 4) as one table, and RDMSR and WRMSR over it. */

import { type LinearAddress, linearAddressOf } from '../isa/linear-address.ts';
import { isCpuCanonical } from './access.ts';
import { PHYSICAL_ADDRESS_BITS } from './cpuid.ts';
import { GP } from './events.ts';
import { refreshMode } from './modes.ts';
import { mtrrMsrs } from './mtrrs.ts';
import type { Processor } from './processor.ts';
import { APIC_BASE, CR0, EFER, hasBit, MISC_ENABLE, VM_CR } from './register-bits.ts';
import { type CpuState, FS, GS } from './state.ts';
import { type FieldName, fieldTable } from './state-layout.ts';

export interface Msr {
  readonly index: number;
  /** The manual's name. */
  readonly name: string;
  /** Features that it came with: without any of them there is no such MSR. */
  readonly features?: readonly string[];
  /** The value, without side effects. */
  read(processor: Processor): bigint;
  /** Absent for read-only MSRs. Throws GP(0) before it changes anything. */
  write?(processor: Processor, value: bigint): void;
}

/** Throws GP(0) if `value` has a bit outside `writable`. */
export function checkReserved(value: bigint, writable: bigint): void {
  if ((value & ~writable) !== 0n) throw GP(0);
}

const asCanonical = (processor: Processor, value: bigint): LinearAddress => {
  const linear = linearAddressOf(value);
  if (!isCpuCanonical(processor, linear)) throw GP(0);
  return linear;
};

/** An MSR kept in a scalar field of the state, with the bits that may be written. */
function fieldMsr(index: number, name: string, field: FieldName, writable: bigint): Msr {
  const { type } = fieldTable[field];
  return {
    index,
    name,
    read: ({ state }) => BigInt.asUintN(64, BigInt(state[field])),
    write: ({ state }, value) => {
      checkReserved(value, writable);
      const fields = state as unknown as Record<string, number | bigint>;
      fields[field] = type === 'u64' ? value : Number(value);
    },
  };
}

/** An MSR that holds a linear address. */
function linearMsr(
  index: number,
  name: string,
  read: (s: CpuState) => LinearAddress,
  write: (s: CpuState, v: LinearAddress) => void,
) {
  return {
    index,
    name,
    read: ({ state }: Processor) => BigInt.asUintN(64, BigInt(read(state))),
    write: (processor: Processor, value: bigint) => write(processor.state, asCanonical(processor, value)),
  };
}

export function constantMsr(index: number, name: string, value: bigint): Msr {
  return { index, name, read: () => value };
}

/** An MSR that ignores what is written to it. */
const sinkMsr = (index: number, name: string): Msr => ({ index, name, read: () => 0n, write: () => {} });

/** MSRs that came with a feature. */
export const msrsOf = (feature: string, msrs: readonly Msr[]): Msr[] =>
  msrs.map((msr) => ({ ...msr, features: [feature] }));

const ALL = 0xffff_ffff_ffff_ffffn;
const LOW = 0xffff_ffffn;
const PHYSICAL_PAGE = ((1n << BigInt(PHYSICAL_ADDRESS_BITS)) - 1n) & ~0xfffn;

/** The bits of IA32_EFER that the model lets software set. */
export function eferWritable({ model }: Pick<Processor, 'model'>): bigint {
  const systemCalls = model.has('SYSCALL') ? EFER.SCE : 0;
  const long = model.has('LM') ? EFER.LME | EFER.LMA : 0;
  return BigInt(systemCalls | long | (model.has('NX') ? EFER.NXE : 0) | (model.has('SVM') ? EFER.SVME : 0));
}

/** Writes IA32_EFER: LMA is read-only, LME may not change while paging is on. */
export function writeEfer(processor: Processor, value: bigint): void {
  const { state } = processor;
  checkReserved(value, eferWritable(processor));
  if (state.vmCr & VM_CR.SVMDIS && Number(value) & EFER.SVME) throw GP(0);
  const next = (Number(value) & ~EFER.LMA) | (state.efer & EFER.LMA);
  if (hasBit(next ^ state.efer, EFER.LME) && hasBit(state.cr0, CR0.PG)) throw GP(0);
  processor.tlb.writeEfer(next);
  refreshMode(processor);
}

/** Each byte of IA32_PAT holds a memory type; 2, 3 and 8 and above are reserved. */
function writePat({ state }: Processor, value: bigint): void {
  for (let shift = 0n; shift < 64n; shift += 8n) {
    const type = Number((value >> shift) & 0xffn);
    if (type > 7 || type === 2 || type === 3) throw GP(0);
  }
  state.pat = value;
}

/** IA32_APIC_BASE: the address of the local APIC's registers, bootstrap processor, enabled. */
function writeApicBase({ state, localApic }: Processor, value: bigint): void {
  checkReserved(value, PHYSICAL_PAGE | BigInt(APIC_BASE.BSP | APIC_BASE.ENABLE));
  localApic?.baseWritten(Number(value));
  state.apicBase = Number(value);
}

/** IA32_FEATURE_CONTROL: lock, VMX inside and outside SMX; read-only once locked. */
function writeFeatureControl({ state }: Processor, value: bigint): void {
  checkReserved(value, 7n);
  if (state.featureControl & 1) throw GP(0);
  state.featureControl = Number(value);
}

function writeTsc({ state, tscNow }: Processor, value: bigint): void {
  state.tscAdjust = BigInt.asUintN(64, state.tscAdjust + value - tscNow());
}

/** IA32_MISC_ENABLE: bits 11 and 12, which cannot be written, say: no BTS, no PEBS. */
function writeMiscEnable({ state, model }: Processor, value: bigint): void {
  const monitor = model.has('MONITOR') ? MISC_ENABLE.MONITOR : 0n;
  const writable = MISC_ENABLE.FAST_STRINGS | MISC_ENABLE.LIMIT_CPUID | monitor;
  const readOnly = (1n << 11n) | (1n << 12n);
  checkReserved(value, writable | readOnly);
  state.miscEnable = (value & writable) | (state.miscEnable & readOnly);
}

function writePkrs({ state, tlb }: Processor, value: bigint): void {
  checkReserved(value, LOW);
  state.pkrs = Number(value);
  tlb.keyRightsChanged();
}

const codeAndData: readonly Msr[] = msrsOf('LM', [
  linearMsr(
    0xc000_0100,
    'IA32_FS_BASE',
    (s) => s.segment(FS).base,
    (s, v) => {
      s.segment(FS).base = v;
    },
  ),
  linearMsr(
    0xc000_0101,
    'IA32_GS_BASE',
    (s) => s.segment(GS).base,
    (s, v) => {
      s.segment(GS).base = v;
    },
  ),
  linearMsr(
    0xc000_0102,
    'IA32_KERNEL_GS_BASE',
    (s) => s.kernelGsBase,
    (s, v) => {
      s.kernelGsBase = v;
    },
  ),
]);

const fastSystemCalls: readonly Msr[] = msrsOf('SEP', [
  fieldMsr(0x174, 'IA32_SYSENTER_CS', 'sysenterCs', LOW),
  linearMsr(
    0x175,
    'IA32_SYSENTER_ESP',
    (s) => s.sysenterEsp,
    (s, v) => {
      s.sysenterEsp = v;
    },
  ),
  linearMsr(
    0x176,
    'IA32_SYSENTER_EIP',
    (s) => s.sysenterEip,
    (s, v) => {
      s.sysenterEip = v;
    },
  ),
]);

const systemCalls: readonly Msr[] = msrsOf('SYSCALL', [
  fieldMsr(0xc000_0081, 'IA32_STAR', 'star', ALL),
  linearMsr(
    0xc000_0082,
    'IA32_LSTAR',
    (s) => linearAddressOf(s.lstar),
    (s, v) => {
      s.lstar = BigInt.asUintN(64, BigInt(v));
    },
  ),
  linearMsr(
    0xc000_0083,
    'IA32_CSTAR',
    (s) => linearAddressOf(s.cstar),
    (s, v) => {
      s.cstar = BigInt.asUintN(64, BigInt(v));
    },
  ),
  fieldMsr(0xc000_0084, 'IA32_FMASK', 'fmask', LOW),
]);

/** IA32_MCi_STATUS, _ADDR and _MISC can only be cleared (SDM volume 3, "Machine-Check MSRs"). */
const clearableMsr = (index: number, name: string, field: FieldName): Msr => fieldMsr(index, name, field, 0n);

/** Two banks that never report anything, as there are no errors of the hardware. */
const machineCheckMsrs: readonly Msr[] = [
  constantMsr(0x179, 'IA32_MCG_CAP', 2n),
  fieldMsr(0x17a, 'IA32_MCG_STATUS', 'mcgStatus', 7n),
  fieldMsr(0x400, 'IA32_MC0_CTL', 'mc0Ctl', ALL),
  clearableMsr(0x401, 'IA32_MC0_STATUS', 'mc0Status'),
  clearableMsr(0x402, 'IA32_MC0_ADDR', 'mc0Addr'),
  clearableMsr(0x403, 'IA32_MC0_MISC', 'mc0Misc'),
  fieldMsr(0x404, 'IA32_MC1_CTL', 'mc1Ctl', ALL),
  clearableMsr(0x405, 'IA32_MC1_STATUS', 'mc1Status'),
  clearableMsr(0x406, 'IA32_MC1_ADDR', 'mc1Addr'),
  clearableMsr(0x407, 'IA32_MC1_MISC', 'mc1Misc'),
];

/** The time-stamp counter as the software that runs sees it. */
export const timeStamp = ({ tscNow, intercepts }: Processor): bigint =>
  BigInt.asUintN(64, intercepts?.guestTsc?.(tscNow()) ?? tscNow());

/** The MSRs that every model has. */
export const standardMsrs: readonly Msr[] = [
  {
    index: 0x10,
    name: 'IA32_TIME_STAMP_COUNTER',
    read: timeStamp,
    write: writeTsc,
  },
  constantMsr(0x17, 'IA32_PLATFORM_ID', 0n),
  {
    index: 0x1b,
    name: 'IA32_APIC_BASE',
    read: ({ state }) => BigInt(state.apicBase),
    write: writeApicBase,
  },
  {
    index: 0x3a,
    name: 'IA32_FEATURE_CONTROL',
    features: ['VMX'],
    read: ({ state }) => BigInt(state.featureControl),
    write: writeFeatureControl,
  },
  sinkMsr(0x79, 'IA32_BIOS_UPDT_TRIG'),
  sinkMsr(0x8b, 'IA32_BIOS_SIGN_ID'),
  ...msrsOf('MCA', machineCheckMsrs),
  {
    index: 0x1a0,
    name: 'IA32_MISC_ENABLE',
    read: ({ state }) => state.miscEnable,
    write: writeMiscEnable,
  },
  fieldMsr(0x1d9, 'IA32_DEBUGCTL', 'debugctl', 3n),
  { index: 0x277, name: 'IA32_PAT', features: ['PAT'], read: ({ state }) => state.pat, write: writePat },
  {
    index: 0xc000_0080,
    name: 'IA32_EFER',
    features: ['SYSCALL', 'LM', 'NX'],
    read: ({ state }) => BigInt(state.efer),
    write: writeEfer,
  },
  ...msrsOf('RDTSCP', [fieldMsr(0xc000_0103, 'IA32_TSC_AUX', 'tscAux', LOW)]),
  ...codeAndData,
  ...fastSystemCalls,
  ...systemCalls,
  {
    index: 0xda0,
    name: 'IA32_XSS',
    features: ['XSAVES'],
    // There are no supervisor state components.
    read: () => 0n,
    write: (_processor, value) => checkReserved(value, 0n),
  },
  { index: 0x6e1, name: 'IA32_PKRS', features: ['PKS'], read: ({ state }) => BigInt(state.pkrs), write: writePkrs },
  ...msrsOf('MTRR', mtrrMsrs),
];

/** Reads an MSR by index; throws GP(0) if there is none. VMX and the CPL are the instruction's matter. */
export function readMsr(processor: Processor, index: number): bigint {
  const msr = processor.model.msrs.get(index);
  if (msr === undefined) throw GP(0);
  const value = msr.read(processor);
  processor.hooks.msrAccessed(index, 'read', value);
  return value;
}

/** Writes an MSR by index; throws GP(0) if there is none, or it or some bit cannot be written. */
export function writeMsr(processor: Processor, index: number, value: bigint): void {
  const msr = processor.model.msrs.get(index);
  if (msr?.write === undefined) throw GP(0);
  msr.write(processor, value);
  processor.hooks.msrAccessed(index, 'write', value);
}
