/** Memory through segments: limit, type and canonicality checks, then access at the CPL. */

import { isSignExtended, type LinearAddress, low32, plus } from '../isa/linear-address.ts';
import { GP, SS_ } from './events.ts';
import type { MemoryOperand } from './instruction.ts';
import { is64Bit, usesRealSelectors } from './modes.ts';
import { Privilege, type Processor } from './processor.ts';
import { ACCESS, CR4, hasBit } from './register-bits.ts';
import { type CpuState, FS, type SegmentRegister, SS } from './state.ts';

export type AccessKind = 'read' | 'write';

/** Whether software may access an address: sign-extended from bit 47, or from bit 56 where CR4.LA57 = 1. */
export const isCanonical = ({ cr4 }: Pick<CpuState, 'cr4'>, linear: LinearAddress): boolean =>
  isSignExtended(linear, hasBit(cr4, CR4.LA57));

/**
 * Whether MSRs, segment bases and descriptor-table registers may hold an address, and invalidations may be asked for it:
 * that depends on what the CPU supports, not on the paging mode (Intel's "5-Level Paging and 5-Level EPT", "Canonicality").
 */
export const isCpuCanonical = ({ model }: Pick<Processor, 'model'>, linear: LinearAddress): boolean =>
  isSignExtended(linear, model.has('LA57'));

/**
 * The slow check of a memory access: limit and type of the segment, or canonicality in 64-bit mode. Returns the
 * linear address of the first byte; throws SS(0) for the stack segment, else GP(0).
 */
export function checkSegment(
  processor: Processor,
  index: number,
  offset: LinearAddress,
  sizeBytes: number,
  access: AccessKind,
): LinearAddress {
  const { state } = processor;
  const segment = state.segment(index);
  if (is64Bit(state)) {
    const linear = index >= FS ? plus(segment.base, offset) : offset;
    if (isCanonical(state, linear) && isCanonical(state, plus(linear, sizeBytes - 1))) return linear;
  } else if (
    (usesRealSelectors(state) || allows(segment.attributes, access)) &&
    withinLimit(segment, low32(offset), sizeBytes)
  ) {
    return low32(plus(segment.base, offset));
  }
  throw index === SS ? SS_(0) : GP(0);
}

function allows(attributes: number, access: AccessKind): boolean {
  if ((attributes & (ACCESS.UNUSABLE | ACCESS.P | ACCESS.S)) !== (ACCESS.P | ACCESS.S)) return false;
  const code = (attributes & ACCESS.CODE) !== 0;
  if (access === 'write') return !code && (attributes & ACCESS.WRITABLE) !== 0;
  return !code || (attributes & ACCESS.READABLE) !== 0;
}

/** Whether offset to offset + sizeBytes - 1 lies inside the segment (SDM volume 3, "Limit Checking"). */
export function withinLimit(segment: Pick<SegmentRegister, 'attributes' | 'limit'>, offset: number, sizeBytes: number) {
  const last = offset + sizeBytes - 1;
  if (!isExpandDown(segment.attributes)) return last <= segment.limit;
  const top = segment.attributes & ACCESS.DB ? 0xffff_ffff : 0xffff;
  return offset > segment.limit && last <= top;
}

const isExpandDown = (attributes: number): boolean =>
  (attributes & (ACCESS.S | ACCESS.CODE | ACCESS.EXPAND_DOWN)) === (ACCESS.S | ACCESS.EXPAND_DOWN);

/** Reads 1, 2, 4 or 8 bytes. */
export function readLinear(
  processor: Processor,
  linear: LinearAddress,
  sizeBytes: number,
  privilege: Privilege,
): bigint {
  const { memory } = processor;
  switch (sizeBytes) {
    case 1:
      return BigInt(memory.readU8(linear, privilege));
    case 2:
      return BigInt(memory.readU16(linear, privilege));
    case 4:
      return BigInt(memory.readU32(linear, privilege));
    default:
      return memory.readU64(linear, privilege);
  }
}

/** Reads 1, 2 or 4 bytes, unsigned, or 8 bytes as an address. */
export function readLinearNumber(
  { memory }: Processor,
  linear: LinearAddress,
  sizeBytes: number,
  privilege: Privilege,
): LinearAddress {
  if (sizeBytes === 8) return memory.readLinearNumber64(linear, privilege);
  if (sizeBytes === 4) return memory.readU32(linear, privilege);
  return sizeBytes === 2 ? memory.readU16(linear, privilege) : memory.readU8(linear, privilege);
}

/** Writes the low 2, 4 or 8 bytes of an integer number or an address. */
export function writeLinearNumber(
  { memory }: Processor,
  linear: LinearAddress,
  sizeBytes: number,
  value: LinearAddress,
  privilege: Privilege,
): void {
  if (sizeBytes === 8) memory.writeLinearNumber64(linear, value, privilege);
  else if (sizeBytes === 4) memory.writeU32(linear, low32(value), privilege);
  else memory.writeU16(linear, low32(value) & 0xffff, privilege);
}

/** Writes the low 1, 2, 4 or 8 bytes of `value`. */
export function writeLinear(
  processor: Processor,
  linear: LinearAddress,
  sizeBytes: number,
  value: bigint,
  privilege: Privilege,
): void {
  const { memory } = processor;
  if (sizeBytes === 8) memory.writeU64(linear, BigInt.asUintN(64, value), privilege);
  else if (sizeBytes === 4) memory.writeU32(linear, Number(value & 0xffff_ffffn), privilege);
  else if (sizeBytes === 2) memory.writeU16(linear, Number(value & 0xffffn), privilege);
  else memory.writeU8(linear, Number(value & 0xffn), privilege);
}

/** Reads `sizeBytes` at `displacement` bytes into a memory operand, checks included. */
export function readOperandMemory(
  processor: Processor,
  operand: MemoryOperand,
  displacement: number,
  sizeBytes: number,
): bigint {
  const linear = checkSegment(processor, operand.segment, plus(operand.offset, displacement), sizeBytes, 'read');
  return readLinear(processor, linear, sizeBytes, Privilege.Current);
}
