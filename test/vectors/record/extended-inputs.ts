/** Inputs for instructions with vector or x87 operands: registers by lanes, control and status words. */
import { MemorySize, MemorySizeExt, type OpAccess, OpKind, type Register, RegisterExt } from 'iced-x86';
import { type ExtendedState, topOfStack } from '../extended-state.ts';
import type { Lane } from './feature-groups.ts';
import { type InputBuilder, infoFactory, READS } from './inputs.ts';
import { interestingFloat } from './interesting-floats.ts';
import type { Random } from './random.ts';

const INTEGER_64: Lane = { kind: 'integer', bits: 64 };
const OTHER_LANES: Lane[] = [8, 16, 32, 64].map((bits) => ({ kind: 'integer', bits }));
const FLOAT_BITS: Partial<Record<MemorySize, number>> = {
  [MemorySize.Float16]: 16,
  [MemorySize.Float32]: 32,
  [MemorySize.Float64]: 64,
  [MemorySize.Float80]: 80,
};

/** What the elements of a memory operand of this size are. */
export function laneOf(memorySize: MemorySize): Lane {
  const element = MemorySizeExt.elementType(memorySize);
  const floatBits = FLOAT_BITS[element];
  if (floatBits !== undefined) return { kind: 'float', bits: floatBits };
  if (element === MemorySize.Bcd) return { kind: 'bcd', bits: 80 };
  const bits = 8 * MemorySizeExt.size(element);
  return bits >= 8 && bits <= 64 ? { kind: 'integer', bits } : INTEGER_64;
}

function laneValue(random: Random, { kind, bits }: Lane): bigint {
  if (kind === 'float') return interestingFloat(random, bits);
  return kind === 'bcd' ? packedDecimal(random) : random.interesting(bits);
}

/** Eighteen decimal digits and a sign byte, whose other bits do not count. */
function packedDecimal(random: Random): bigint {
  let value = BigInt(random.pick([0, 0x80, 0x7f, 0xff]));
  const digits = random.pick([0, 1, 5, 17, 18]);
  for (let digit = 17; digit >= 0; digit--) value = (value << 4n) | BigInt(digit < digits ? random.below(10) : 0);
  return value;
}

/** `width` bits of lanes. */
export function lanes(random: Random, width: number, lane: Lane): bigint {
  if (lane.bits >= width) return BigInt.asUintN(width, laneValue(random, lane));
  const repeated = random.oneIn(8) ? laneValue(random, lane) : undefined;
  let value = 0n;
  for (let at = 0; at < width; at += lane.bits) value |= (repeated ?? laneValue(random, lane)) << BigInt(at);
  return value;
}

/** Give the registers that the instruction reads values, and the control and status words. */
export function extendedInputs(builder: InputBuilder): void {
  const { form } = builder.encoding;
  if (!form.lane) return;
  const isX87 = /^FPU|^MMX/.test(form.features) || usesMm(builder);
  if (isX87) setX87State(builder);
  setRegisters(builder, form.lane);
  if (/^(SSE|AVX|FMA|F16C)/.test(form.features) && (form.lane.kind === 'float' || /cvt/i.test(form.mnemonic)))
    setMxcsr(builder);
}

const usesMm = ({ instruction }: InputBuilder): boolean =>
  Array.from({ length: instruction.opCount }, (_, n) => n).some(
    (n) => instruction.opKind(n) === OpKind.Register && RegisterExt.isMM(instruction.opRegister(n)),
  );

function setRegisters(builder: InputBuilder, formLane: Lane): void {
  const { random, instruction, state } = builder;
  const info = infoFactory.info(instruction);
  let previous = 0n;
  for (const { register, access } of info.usedRegisters() as { register: Register; access: OpAccess }[]) {
    if (!READS.has(access)) continue;
    const lane = formLane.kind !== 'integer' && random.oneIn(6) ? random.pick(OTHER_LANES) : formLane;
    if (RegisterExt.isST(register)) {
      setX87Register(builder, topOfStack(state.extended) + RegisterExt.number(register));
    } else if (isVector(register) && !isIndex(builder, register)) {
      const value = random.oneIn(6) ? previous : lanes(random, 8 * RegisterExt.size(register), lane);
      setVectorRegister(state.extended, register, value);
      previous = value;
    }
  }
  info.free();
}

const isVector = (register: Register): boolean =>
  RegisterExt.isXMM(register) || RegisterExt.isYMM(register) || RegisterExt.isMM(register);
const isIndex = ({ instruction }: InputBuilder, register: Register): boolean =>
  RegisterExt.isVectorRegister(instruction.memoryIndex) &&
  RegisterExt.number(instruction.memoryIndex) === RegisterExt.number(register);

/** An XMM register is the lower half of its YMM register, an MM register the significand of its x87 register. */
export function setVectorRegister(extended: ExtendedState, register: Register, value: bigint): void {
  const n = RegisterExt.number(register);
  if (RegisterExt.isMM(register)) {
    extended.fpr[n] = ((extended.fpr[n] ?? 0n) & ~0xffff_ffff_ffff_ffffn) | BigInt.asUintN(64, value);
    return;
  }
  extended.xmm[n] = BigInt.asUintN(128, value);
  if (RegisterExt.isYMM(register)) extended.ymmHigh[n] = value >> 128n;
}

const MASKED = 0x3f;
const ROUNDINGS = [0, 1, 2, 3];

/** Rounding and exception masks in all ways, but masked exceptions and rounding to nearest most often. */
function setMxcsr({ random, state }: InputBuilder): void {
  const rounding = random.oneIn(2) ? random.pick(ROUNDINGS) : 0;
  const masks = random.oneIn(6) ? random.below(64) : MASKED;
  const sticky = random.oneIn(4) ? random.below(64) : 0;
  const zeros = random.oneIn(5) ? random.pick([0x40, 0x8000, 0x8040]) : 0;
  state.extended.mxcsr = (masks << 7) | (rounding << 13) | zeros | sticky;
}

/** Precision control: 24 bits, 53 bits, 64 bits; 1 is reserved. */
const PRECISIONS = [3, 3, 3, 0, 2];

function setX87State({ random, state }: InputBuilder): void {
  const { extended } = state;
  const masks = random.oneIn(5) ? random.below(64) : MASKED;
  const rounding = random.oneIn(2) ? random.pick(ROUNDINGS) : 0;
  extended.fcw = 0x40 | masks | (random.pick(PRECISIONS) << 8) | (rounding << 10);
  const sticky = random.oneIn(12) ? random.below(128) : 0;
  const conditions = (random.below(8) << 8) | (random.below(2) << 14);
  extended.fsw = conditions | (random.below(8) << 11) | sticky;
  // ES and B say that an exception is pending which is not masked.
  if (sticky & ~masks & MASKED) extended.fsw |= 0x8080;
  if (masks !== MASKED) setPointers(extended, random);
  extended.ftw = random.oneIn(10) ? 0xff : random.oneIn(4) ? random.below(256) : 0;
}

/** The pointers of an earlier instruction, which an exception of this one shows or replaces. */
export function setPointers(extended: ExtendedState, random: Random): void {
  extended.fop = random.below(0x800);
  extended.fip = random.bits(48) >> 1n;
  extended.fdp = random.bits(48) >> 1n;
}

/** R`n`, mostly not empty. */
function setX87Register({ random, state: { extended } }: InputBuilder, n: number): void {
  extended.fpr[n & 7] = interestingFloat(random, 80);
  if (!random.oneIn(16)) extended.ftw |= 1 << (n & 7);
}

/** Indices of a gather that stay in the data region, and its base. Returns the address of the middle. */
export function vectorIndices(builder: InputBuilder, wanted: bigint): bigint {
  const { instruction, random, state, encoding } = builder;
  const { memoryIndex: index, memoryBase: base, memoryDisplacementU64: displacement } = instruction;
  const bits = /Vp?gatherd/.test(encoding.form.name) ? 32 : 64;
  let value = 0n;
  for (let at = 0; at < 8 * RegisterExt.size(index); at += bits) {
    value |= BigInt.asUintN(bits, BigInt(random.below(121) - 60)) << BigInt(at);
  }
  setVectorRegister(state.extended, index, value);
  builder.set(base, BigInt.asUintN(builder.mode === 64 ? 64 : 32, wanted - displacement));
  return wanted;
}
