/** Memory through segments: limit, type and canonicality checks, then access at the CPL. */
import { GP, SS_ } from './events.ts';
import type { MemoryOperand } from './instruction.ts';
import { is64Bit, usesRealSelectors } from './modes.ts';
import { Privilege, type Processor } from './processor.ts';
import { ACCESS } from './register-bits.ts';
import { FS, type SegmentRegister, SS } from './state.ts';

export type AccessKind = 'read' | 'write';

const CANONICAL_END = 2 ** 47;

/** Whether a 64-bit address (signed number) is sign-extended from bit 47. */
export const isCanonical = (linear: number): boolean => linear >= -CANONICAL_END && linear < CANONICAL_END;

/**
 * The slow check of a memory access: limit and type of the segment, or canonicality in 64-bit mode. Returns the
 * linear address of the first byte; throws SS(0) for the stack segment, else GP(0).
 */
export function checkSegment(
  processor: Processor,
  index: number,
  offset: number,
  sizeBytes: number,
  access: AccessKind,
): number {
  const { state } = processor;
  const segment = state.segment(index);
  if (is64Bit(state)) {
    const linear = index >= FS ? wrap64(segment.base + offset) : offset;
    if (isCanonical(linear) && isCanonical(linear + sizeBytes - 1)) return linear;
  } else if (
    (usesRealSelectors(state) || allows(segment.attributes, access)) &&
    withinLimit(segment, offset, sizeBytes)
  ) {
    return (segment.base + offset) >>> 0;
  }
  throw index === SS ? SS_(0) : GP(0);
}

const TWO_64 = 2 ** 64;
const TWO_63 = 2 ** 63;

/** Sums of addresses wrap at 2^64; what comes out near the wrap is not canonical or small, so doubles carry it. */
function wrap64(sum: number): number {
  if (sum >= TWO_63) return sum - TWO_64;
  return sum < -TWO_63 ? sum + TWO_64 : sum;
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
export function readLinear(processor: Processor, linear: number, sizeBytes: number, privilege: Privilege): bigint {
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

/** Reads 1, 2 or 4 bytes, unsigned, or 8 bytes as a signed number, exact for canonical addresses. */
export function readLinearNumber(
  { memory }: Processor,
  linear: number,
  sizeBytes: number,
  privilege: Privilege,
): number {
  if (sizeBytes === 8) return memory.readLinearNumber64(linear, privilege);
  if (sizeBytes === 4) return memory.readU32(linear, privilege);
  return sizeBytes === 2 ? memory.readU16(linear, privilege) : memory.readU8(linear, privilege);
}

/** Writes the low 2, 4 or 8 bytes of an integer number. */
export function writeLinearNumber(
  { memory }: Processor,
  linear: number,
  sizeBytes: number,
  value: number,
  privilege: Privilege,
): void {
  if (sizeBytes === 8) memory.writeLinearNumber64(linear, value, privilege);
  else if (sizeBytes === 4) memory.writeU32(linear, value >>> 0, privilege);
  else memory.writeU16(linear, value & 0xffff, privilege);
}

/** Writes the low 1, 2, 4 or 8 bytes of `value`. */
export function writeLinear(
  processor: Processor,
  linear: number,
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
  const linear = checkSegment(processor, operand.segment, operand.offset + displacement, sizeBytes, 'read');
  return readLinear(processor, linear, sizeBytes, Privilege.Current);
}
