/** MOV to and from control registers, CLTS, LMSW, SMSW (SDM volume 3, "Control Registers"). */
import { checkSegment } from './access.ts';
import { PHYSICAL_ADDRESS_BITS } from './cpuid.ts';
import { SystemType } from './descriptors.ts';
import { GP, UD } from './events.ts';
import type { SystemInstruction } from './instruction.ts';
import { is64Bit, isIa32e, refreshMode } from './modes.ts';
import { readWord, registerIndex, specialRegister, writeRegister, writeWordOrRegister } from './operands.ts';
import type { Processor } from './processor.ts';
import { ACCESS, CR0, CR4, EFER, hasBit } from './register-bits.ts';
import { CS, TR } from './state.ts';

/** Bit 63 of what is moved to CR3, in its upper half. */
const NO_FLUSH_HIGH = 2 ** 31;
/** The upper half of the first address beyond MAXPHYADDR. */
const ADDRESS_END_HIGH = 2 ** (PHYSICAL_ADDRESS_BITS - 32);

const CR0_DEFINED =
  (CR0.PE | CR0.MP | CR0.EM | CR0.TS | CR0.ET | CR0.NE | CR0.WP | CR0.AM | CR0.NW | CR0.CD | CR0.PG) >>> 0;

/** Features that start-up code uses unasked: it is enough if the model has them, be they announced or not. */
const ASSUMED: readonly string[] = ['CMOV', 'FXSR', 'SSE'];

/** CR4 bits and the CPUID feature that each needs. */
const cr4Features: readonly (readonly [number, string])[] = [
  [CR4.VME, 'VME'],
  [CR4.PVI, 'VME'],
  [CR4.TSD, 'TSC'],
  [CR4.DE, 'DE'],
  [CR4.PSE, 'PSE'],
  [CR4.PAE, 'PAE'],
  [CR4.MCE, 'MCE'],
  [CR4.PGE, 'PGE'],
  // Performance counters came with CMOV; the feature leaf that describes them is younger.
  [CR4.PCE, 'CMOV'],
  [CR4.OSFXSR, 'FXSR'],
  [CR4.OSXMMEXCPT, 'SSE'],
  [CR4.UMIP, 'UMIP'],
  [CR4.LA57, 'LA57'],
  [CR4.VMXE, 'VMX'],
  [CR4.FSGSBASE, 'FSGSBASE'],
  [CR4.PCIDE, 'PCID'],
  [CR4.OSXSAVE, 'XSAVE'],
  [CR4.SMEP, 'SMEP'],
  [CR4.SMAP, 'SMAP'],
  [CR4.PKE, 'PKU'],
  [CR4.PKS, 'PKS'],
];

/** Every CR4 bit that the model lets software set; IA32_VMX_CR4_FIXED1 is the same. */
export function cr4Allowed(processor: Pick<Processor, 'model'>): number {
  let allowed = 0;
  const { model } = processor;
  for (const [bit, feature] of cr4Features) {
    if (model.has(feature) || (ASSUMED.includes(feature) && model.options.hasFeature(feature))) allowed |= bit;
  }
  return allowed;
}

/** Bits of CR0 that VMX operation fixes to 1 (IA32_VMX_CR0_FIXED0), less what "unrestricted guest" frees. */
function checkVmxFixedCr0(processor: Processor, value: number): void {
  if (!processor.state.vmxOperation) return;
  const fixed = processor.intercepts?.unrestrictedGuest ? CR0.NE : CR0.NE | CR0.PE | CR0.PG;
  if ((value & fixed) !== (fixed | 0)) throw GP(0);
}

/** Writes CR0 with all checks and effects; throws GP(0) before changing anything. */
export function writeCr0(processor: Processor, wide: bigint): void {
  const { state } = processor;
  if (wide >> 32n !== 0n) throw GP(0);
  const value = ((Number(wide) & CR0_DEFINED) | CR0.ET) >>> 0;
  if (hasBit(value, CR0.PG) && !hasBit(value, CR0.PE)) throw GP(0);
  if (hasBit(value, CR0.NW) && !hasBit(value, CR0.CD)) throw GP(0);
  checkVmxFixedCr0(processor, value);
  const before = state.cr0;
  const efer = eferForPaging(processor, value);
  // IA-32e mode is entered before and left after paging changes, so that no state in between has PAE paging.
  if (hasBit(efer, EFER.LMA)) setEfer(processor, efer);
  processor.tlb.writeCr0(value);
  setEfer(processor, efer);
  refreshMode(processor);
  processor.fpuErrors?.changed();
  processor.hooks.controlRegisterWritten('CR0', before, value);
}

function setEfer({ state, tlb }: Processor, efer: number): void {
  if (efer !== state.efer) tlb.writeEfer(efer);
}

/** IA32_EFER after CR0.PG changes: paging activates and deactivates IA-32e mode. */
function eferForPaging({ state }: Processor, value: number): number {
  const was = hasBit(state.cr0, CR0.PG);
  const willBe = hasBit(value, CR0.PG);
  const long = (state.segment(CS).attributes & ACCESS.L) !== 0;
  if (!was && willBe && hasBit(state.efer, EFER.LME)) {
    const tss = state.segment(TR).attributes & ACCESS.TYPE;
    const tss16 = tss === SystemType.tss16Available || tss === SystemType.tss16Busy;
    if (!hasBit(state.cr4, CR4.PAE) || long || tss16) throw GP(0);
    return state.efer | EFER.LMA;
  }
  if (was && !willBe) {
    if (hasBit(state.cr4, CR4.PCIDE) || (isIa32e(state) && long)) throw GP(0);
    return state.efer & ~EFER.LMA;
  }
  return state.efer;
}

/** Writes CR3. Bit 63 asks to keep the cached translations of the PCID. */
export function writeCr3(processor: Processor, wide: bigint): void {
  writeCr3Halves(processor, Number(wide & 0xffff_ffffn), Number(wide >> 32n));
}

/** The same, without a bigint: unsigned halves. */
function writeCr3Halves(processor: Processor, low: number, high: number): void {
  const { state, tlb } = processor;
  const before = state.cr3;
  const pcide = hasBit(state.cr4, CR4.PCIDE);
  const noFlush = pcide && high >= NO_FLUSH_HIGH;
  const high31 = noFlush ? high - NO_FLUSH_HIGH : high;
  if (high31 >= ADDRESS_END_HIGH) throw GP(0);
  const value = high31 * 0x1_0000_0000 + low;
  tlb.writeCr3(value, noFlush);
  processor.hooks.controlRegisterWritten('CR3', before, value);
}

/** Writes CR4 with all checks and effects. */
export function writeCr4(processor: Processor, wide: bigint): void {
  const { state } = processor;
  const before = state.cr4;
  if ((wide & ~BigInt(cr4Allowed(processor))) !== 0n) throw GP(0);
  const value = Number(wide);
  if (isIa32e(state) && (!hasBit(value, CR4.PAE) || hasBit(before ^ value, CR4.LA57))) throw GP(0);
  if (state.vmxOperation && !hasBit(value, CR4.VMXE)) throw GP(0);
  const enablesPcid = hasBit(value & ~before, CR4.PCIDE);
  if (enablesPcid && (!isIa32e(state) || state.cr3 % 4096 !== 0)) throw GP(0);
  processor.tlb.writeCr4(value);
  processor.tlb.privilegeChanged();
  processor.hooks.controlRegisterWritten('CR4', before, value);
}

export function writeCr8(processor: Processor, wide: bigint): void {
  if (wide >> 4n !== 0n) throw GP(0);
  const before = processor.state.cr8;
  processor.state.cr8 = Number(wide);
  processor.localApic?.taskPriorityWritten(Number(wide));
  processor.hooks.controlRegisterWritten('CR8', before, Number(wide));
}

/** Writes a control register as MOV does, VMX already asked. */
function writeControlRegister(processor: Processor, register: number, value: bigint): void {
  switch (register) {
    case 0:
      return writeCr0(processor, value);
    case 2:
      processor.state.cr2 = value;
      return;
    case 3:
      return writeCr3(processor, value);
    case 4:
      return writeCr4(processor, value);
    default:
      return writeCr8(processor, value);
  }
}

function readControlRegister({ state }: Processor, register: number): bigint {
  switch (register) {
    case 0:
      return BigInt(state.cr0);
    case 2:
      return state.cr2;
    case 3:
      return BigInt(state.cr3);
    case 4:
      return BigInt(state.cr4);
    default:
      return BigInt(state.cr8);
  }
}

const EXISTING: readonly number[] = [0, 2, 3, 4];

/** #UD for a register that does not exist precedes the privilege check. */
function checkControlRegister(processor: Processor, register: number): void {
  const { state } = processor;
  const has = register === 4 ? cr4Allowed(processor) !== 0 : EXISTING.includes(register);
  const exists = register === 8 ? is64Bit(state) : has;
  if (!exists) throw UD();
  if (state.cpl !== 0) throw GP(0);
}

export const MOV_FROM_CR: SystemInstruction = (cpu, insn) => {
  const register = specialRegister(insn, 1);
  const gpr = registerIndex(insn, 0);
  checkControlRegister(cpu, register);
  const value = cpu.intercepts?.onReadCr?.(register, gpr) ?? readControlRegister(cpu, register);
  writeRegister(cpu, gpr, is64Bit(cpu.state) ? 64 : 32, value);
};

export const MOV_TO_CR: SystemInstruction = (cpu, insn) => {
  const register = specialRegister(insn, 0);
  const gpr = registerIndex(insn, 1);
  checkControlRegister(cpu, register);
  if (register === 3 && !cpu.intercepts?.onWriteCr && is64Bit(cpu.state)) {
    return writeCr3Halves(cpu, cpu.state.gpr32(gpr), cpu.state.gprHigh32(gpr));
  }
  const source = is64Bit(cpu.state) ? cpu.state.gpr(gpr) : BigInt(cpu.state.gpr32(gpr));
  const { intercepts } = cpu;
  const value = intercepts?.onWriteCr ? intercepts.onWriteCr(register, gpr, source) : source;
  if (value !== undefined) writeControlRegister(cpu, register, value);
};

export const CLTS: SystemInstruction = (cpu) => {
  const { state } = cpu;
  if (state.cpl !== 0) throw GP(0);
  const clears = cpu.intercepts?.onClts?.() ?? true;
  if (!clears) return;
  const before = state.cr0;
  state.cr0 = before & ~CR0.TS;
  cpu.hooks.controlRegisterWritten('CR0', before, state.cr0);
};

/** LMSW loads PE, MP, EM and TS, and cannot clear PE. */
export const LMSW: SystemInstruction = (cpu, insn) => {
  const { state } = cpu;
  if (state.cpl !== 0) throw GP(0);
  const operand = insn.operand(0);
  const linear = operand.kind === 'memory' ? checkSegment(cpu, operand.segment, operand.offset, 2, 'read') : undefined;
  const word = readWord(cpu, insn, 0);
  const source = cpu.intercepts?.onLmsw?.(word, linear) ?? word;
  const loaded = source & (CR0.PE | CR0.MP | CR0.EM | CR0.TS);
  const kept = state.cr0 & ~(CR0.MP | CR0.EM | CR0.TS);
  writeCr0(cpu, BigInt((kept | loaded) >>> 0));
};

export const SMSW: SystemInstruction = (cpu, insn) => {
  const { state } = cpu;
  if (hasBit(state.cr4, CR4.UMIP) && state.cpl > 0) throw GP(0);
  const value = cpu.intercepts?.onSmsw?.(state.cr0) ?? state.cr0;
  writeWordOrRegister(cpu, insn, 0, BigInt(value));
};
