/** Conversions and roundings of SIMD floating-point numbers (SDM volume 1, "SSE Conversion Instructions" and their successors). */
import { type Expr, vector } from '../../expr/expr.ts';
import { convert, fromInteger, roundToIntegral, toInteger } from '../../float/convert.ts';
import { type FloatEnvironment, FloatException, RoundingMode, roundingMode } from '../../float/environment.ts';
import { binary16, binary32, binary64, type FloatFormat } from '../../float/format.ts';
import type { ConversionShortcut } from '../floating-point/conversion-shortcuts.ts';
import * as shortcuts from '../floating-point/conversion-shortcuts.ts';
import { floatFunction, type LaneOperation, type OperandBits } from '../floating-point/functions.ts';
import { halvesToSingles, singlesToHalves } from '../floating-point/half-shortcuts.ts';
import { type LaneShortcut, shortcutOf } from '../floating-point/shortcuts.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import {
  asVector,
  callFloat,
  callFloatOnce,
  double,
  type LaneArithmetic,
  type LaneType,
  packed,
  scalar,
  single,
  vectorBits,
} from './simd-float.ts';
import { replaceLow } from './vector-moves.ts';
import { lowQword, readLow, readVector, splitOperands, writeVector } from './vector-operands.ts';

type Rounding = 'current' | 'truncate';
const environmentFor = (environment: FloatEnvironment, rounding: Rounding): FloatEnvironment =>
  rounding === 'current' ? environment : { ...environment, rounding: RoundingMode.Zero };

const toSigned =
  (format: FloatFormat, width: 32 | 64, rounding: Rounding): LaneOperation =>
  (environment, [a = 0n]) =>
    toInteger(format, environmentFor(environment, rounding), a, { width, signed: true });

const fromSigned =
  (format: FloatFormat, width: 32 | 64): LaneOperation =>
  (environment, [a = 0n]) =>
    fromInteger(format, environment, BigInt.asIntN(width, a));

const betweenFormats =
  (from: FloatFormat, to: FloatFormat): LaneOperation =>
  (environment, [a = 0n]) =>
    convert(from, to, environment, a);

/** A function of one operand with lanes of one width, giving lanes of another. */
const conversion = (name: string, [fromLane, toLane]: readonly [number, number], operation: LaneOperation) => {
  const shape = (from: OperandBits, to: OperandBits) =>
    floatFunction(
      { name, operands: 1, from: { bits: from, lane: fromLane }, to: { bits: to, lane: toLane } },
      operation,
    );
  const made = new Map<string, ReturnType<typeof shape>>();
  return (from: OperandBits, to: OperandBits) => {
    const key = `${from}:${to}`;
    let of = made.get(key);
    if (!of) made.set(key, (of = shape(from, to)));
    return of;
  };
};
type Conversion = ReturnType<typeof conversion>;

// ---- packed ----------------------------------------------------------------------------------------------------------

/** As many lanes as the wider of the two operands has; what is above the result is zero. */
const packedConversion =
  (of: Conversion, shortcut: ConversionShortcut, reads: 'all lanes' | 'half the lanes' = 'all lanes') =>
  (m: Semantics, dest: Operand, src: Operand): void => {
    const args = reads === 'all lanes' ? readVector(m, src) : [readLow(m, src, dest.halves === 2 ? 128 : 64)];
    const from = args.length === 2 ? 256 : (args[0] as Expr<64 | 128>).width;
    const values = callFloatOnce(
      m,
      of(from, vectorBits(dest)),
      args,
      shortcutOf(shortcut(args.map(asVector), dest.halves ?? 1), 128, m.state('mxcsr')),
    );
    m.writeHalves(dest, values as Expr<128>[]);
  };

const singleToInteger = (rounding: Rounding) =>
  conversion(
    rounding === 'truncate' ? 'TruncateSingle' : 'RoundSingleToDword',
    [32, 32],
    toSigned(binary32, 32, rounding),
  );
const doubleToInteger = (rounding: Rounding) =>
  conversion(
    rounding === 'truncate' ? 'TruncateDouble' : 'RoundDoubleToDword',
    [64, 32],
    toSigned(binary64, 32, rounding),
  );
const singleToDouble = conversion('SingleToDouble', [32, 64], betweenFormats(binary32, binary64));
const doubleToSingle = conversion('DoubleToSingle', [64, 32], betweenFormats(binary64, binary32));
const dwordToSingle = conversion('DwordToSingle', [32, 32], fromSigned(binary32, 32));

/** CVTDQ2PS — Convert Packed Doubleword Integers to Packed Single Precision. */
export const CVTDQ2PS = packedConversion(dwordToSingle, shortcuts.dwordsToSingles);
/** CVTPS2DQ, CVTTPS2DQ — Convert (with Truncation) Packed Single Precision to Packed Doubleword Integers. */
export const CVTPS2DQ = packedConversion(singleToInteger('current'), shortcuts.singlesToDwords('current'));
export const CVTTPS2DQ = packedConversion(singleToInteger('truncate'), shortcuts.singlesToDwords('truncate'));
/** CVTPD2DQ, CVTTPD2DQ — Convert (with Truncation) Packed Double Precision to Packed Doubleword Integers. */
export const CVTPD2DQ = packedConversion(doubleToInteger('current'), shortcuts.doublesToDwords('current'));
export const CVTTPD2DQ = packedConversion(doubleToInteger('truncate'), shortcuts.doublesToDwords('truncate'));
/** CVTPS2PD — Convert Packed Single Precision to Packed Double Precision; CVTPD2PS — the other way round. */
export const CVTPS2PD = packedConversion(singleToDouble, shortcuts.singlesToDoubles, 'half the lanes');
export const CVTPD2PS = packedConversion(doubleToSingle, shortcuts.doublesToSingles);

/** CVTDQ2PD — Convert Packed Doubleword Integers to Packed Double Precision. It is always exact: MXCSR does not matter. */
export function CVTDQ2PD(m: Semantics, dest: Operand, src: Operand): void {
  const lanes = dest.halves === 2 ? readLow(m, src, 128) : readLow(m, src, 64).zeroExtend(128);
  const upper = vector<64>('i64x2.extract_lane', [lanes], [1]).zeroExtend(128);
  const halves = dest.halves === 2 ? [lanes, upper] : [lanes];
  m.writeHalves(
    dest,
    halves.map((half) => vector('f64x2.convert_low_i32x4_s', [half])),
  );
}

// ---- scalar ----------------------------------------------------------------------------------------------------------

/** Replaces the lowest lane of SRC1. */
function writeLane(m: Semantics, dest: Operand, first: Operand, lane: Expr): void {
  m.writeHalves(dest, [replaceLow(m.readHalf(first, 0), lane as Expr<32> | Expr<64>)]);
}

/** A register or memory of 32 or 64 bits, as a number in the lowest lane of DEST. */
const scalarFromInteger = (type: LaneType) => {
  const of = {
    32: conversion(`DwordTo${type.name}`, [32, type.bits], fromSigned(type.format, 32)),
    64: conversion(`QwordTo${type.name}`, [64, type.bits], fromSigned(type.format, 64)),
  };
  return (m: Semantics, ...operands: Operand[]): void => {
    const [dest, first, src] = splitOperands(m, operands) as [Operand, Operand, Operand];
    const value = m.read(src) as Expr<32> | Expr<64>;
    // Doubles have all integers of 32 bits.
    if (type.bits === 64 && value.width === 32) {
      const exact = vector('f64x2.convert_low_i32x4_s', [value.zeroExtend(128)]);
      return writeLane(m, dest, first, lowQword(exact));
    }
    const shortcut = integerShortcut(type, value);
    const [lane] = callFloatOnce(
      m,
      of[value.width](value.width, type.bits),
      [value],
      shortcut && shortcutOf([shortcut], type.bits, m.state('mxcsr')),
    );
    writeLane(m, dest, first, lane as Expr);
  };
};
function integerShortcut(type: LaneType, value: Expr<32> | Expr<64>): LaneShortcut | undefined {
  if (value.width === 32) return shortcuts.dwordsToSingles([value.zeroExtend(128)], 1)[0];
  return type.bits === 64 ? shortcuts.qwordToDouble(value) : undefined;
}
/** CVTSI2SS, CVTSI2SD — Convert Integer to Scalar. */
export const CVTSI2SS = scalarFromInteger(single);
export const CVTSI2SD = scalarFromInteger(double);

const scalarToInteger = (type: LaneType, rounding: Rounding) => {
  const verb = rounding === 'truncate' ? 'Truncate' : 'Round';
  const of = {
    32: conversion(`${verb}${type.name}ToDword`, [type.bits, 32], toSigned(type.format, 32, rounding)),
    64: conversion(`${verb}${type.name}ToQword`, [type.bits, 64], toSigned(type.format, 64, rounding)),
  };
  const toDwords = type.bits === 32 ? shortcuts.singlesToDwords(rounding) : shortcuts.doublesToDwords(rounding);
  return (m: Semantics, dest: Operand, src: Operand): void => {
    const width = dest.width as 32 | 64;
    const lane = readLow(m, src, type.bits);
    const dwords = shortcutOf(toDwords([lane.zeroExtend(128)], 1), 32, m.state('mxcsr'));
    const [dword, mxcsr] = dwords.values as [Expr<32>, Expr<32>];
    const values = [width === 64 ? dword.signExtend(64) : dword, mxcsr];
    const [value] = callFloatOnce(m, of[width](type.bits, width), [lane], { ...dwords, values });
    m.write(dest, value as Expr<32> | Expr<64>);
  };
};
/** CVTSS2SI, CVTSD2SI, CVTTSS2SI, CVTTSD2SI — Convert Scalar to Integer (with Truncation). */
export const CVTSS2SI = scalarToInteger(single, 'current');
export const CVTSD2SI = scalarToInteger(double, 'current');
export const CVTTSS2SI = scalarToInteger(single, 'truncate');
export const CVTTSD2SI = scalarToInteger(double, 'truncate');

const scalarBetween =
  (from: LaneType, to: LaneType, of: Conversion, shortcut: ConversionShortcut) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const [dest, first, src] = splitOperands(m, operands) as [Operand, Operand, Operand];
    const lane = readLow(m, src, from.bits);
    const ordinary = shortcutOf(shortcut([lane.zeroExtend(128)], 1), to.bits, m.state('mxcsr'));
    const [value] = callFloatOnce(m, of(from.bits, to.bits), [lane], ordinary);
    writeLane(m, dest, first, value as Expr);
  };
/** CVTSS2SD, CVTSD2SS — Convert Scalar. */
export const CVTSS2SD = scalarBetween(single, double, singleToDouble, shortcuts.singlesToDoubles);
export const CVTSD2SS = scalarBetween(double, single, doubleToSingle, shortcuts.doublesToSingles);

// ---- MMX registers -------------------------------------------------------------------------------------------------------

/** CVTPI2PS — Convert Packed Doubleword Integers to Packed Single Precision, in the lower half of DEST. */
export function CVTPI2PS(m: Semantics, dest: Operand, src: Operand): void {
  const dwords = readLow(m, src, 64);
  const shortcut = shortcutOf(shortcuts.dwordsToSingles([dwords.zeroExtend(128)], 1), 64, m.state('mxcsr'));
  const [singles] = callFloatOnce(m, dwordToSingle(64, 64), [dwords], shortcut);
  writeLane(m, dest, dest, singles as Expr<64>);
}

/** CVTPI2PD — Convert Packed Doubleword Integers to Packed Double Precision. Always exact. */
export function CVTPI2PD(m: Semantics, dest: Operand, src: Operand): void {
  m.writeHalves(dest, [vector('f64x2.convert_low_i32x4_s', [readLow(m, src, 64).zeroExtend(128)])]);
}

/** Two lanes, as doublewords in an MMX register. */
const toMmx =
  (of: Conversion, shortcut: ConversionShortcut, bits: 64 | 128) =>
  (m: Semantics, dest: Operand, src: Operand): void => {
    const source = bits === 128 ? (readVector(m, src)[0] as Expr<128>) : readLow(m, src, 64);
    const ordinary = shortcutOf(shortcut([asVector(source)], 1), bits, m.state('mxcsr'), 64);
    const { values, mxcsr } = callFloat(m, of(bits, 64), [source], m.state('mxcsr'), ordinary);
    writeVector(m, dest, [(values[0] as Expr<64>).zeroExtend(128)]);
    m.setState('mxcsr', mxcsr);
  };
/** CVTPS2PI, CVTTPS2PI, CVTPD2PI, CVTTPD2PI — Convert (with Truncation) to Packed Doubleword Integers. */
export const CVTPS2PI = toMmx(singleToInteger('current'), shortcuts.singlesToDwords('current'), 64);
export const CVTTPS2PI = toMmx(singleToInteger('truncate'), shortcuts.singlesToDwords('truncate'), 64);
export const CVTPD2PI = toMmx(doubleToInteger('current'), shortcuts.doublesToDwords('current'), 128);
export const CVTTPD2PI = toMmx(doubleToInteger('truncate'), shortcuts.doublesToDwords('truncate'), 128);

// ---- half precision ----------------------------------------------------------------------------------------------------

/** The rounding mode an immediate asks for: bit 2 that of MXCSR, else bits 1:0. */
const immediateRounding = (immediate: number, environment: FloatEnvironment): RoundingMode =>
  immediate & 4 ? environment.rounding : roundingMode(immediate);

/** DAZ and the denormal exception do not concern half precision. */
const fromHalf = conversion('HalfToSingle', [16, 32], (environment, [a = 0n]) => {
  const result = convert(binary16, binary32, { ...environment, denormalsAreZero: false }, a);
  return { bits: result.bits, exceptions: result.exceptions & ~FloatException.Denormal };
});
/** VCVTPH2PS — Convert Half Precision to Single Precision. */
export const VCVTPH2PS = packedConversion(fromHalf, halvesToSingles, 'half the lanes');

/** FTZ does not concern half precision. */
const toHalf = Array.from({ length: 8 }, (_, immediate) =>
  conversion(`SingleToHalf${immediate}`, [32, 16], (environment, [a = 0n]) => {
    const rounding = immediateRounding(immediate, environment);
    return convert(binary32, binary16, { ...environment, flushToZero: false, rounding }, a);
  }),
);
/** VCVTPS2PH — Convert Single Precision to Half Precision, rounding as the immediate says. */
export function VCVTPS2PH(m: Semantics, dest: Operand, src: Operand, immediate: Operand): void {
  const control = (immediate.constant ?? 0) & 7;
  const of = (toHalf[control] as Conversion)(vectorBits(src), src.halves === 2 ? 128 : 64);
  const read = readVector(m, src);
  const ordinary = singlesToHalves(read, control & 4 ? undefined : roundingMode(control));
  const initial = m.state('mxcsr');
  const shortcut = ordinary && shortcutOf([ordinary], 128, initial, src.halves === 2 ? 128 : 64);
  const { values, mxcsr } = callFloat(m, of, read, initial, shortcut);
  const lanes = values[0] as Expr<64> | Expr<128>;
  if (dest.kind === 'memory') m.write({ ...dest, width: lanes.width }, lanes);
  else m.writeHalves(dest, [lanes.width === 64 ? lanes.zeroExtend(128) : (lanes as Expr<128>)]);
  m.setState('mxcsr', mxcsr);
}

// ---- rounding ----------------------------------------------------------------------------------------------------------

/** Bit 3 of the immediate keeps the precision exception from being reported. Denormals are not reported. */
const rounding = (immediate: number): LaneArithmetic => ({
  name: `RoundToIntegral${immediate}`,
  operands: 1,
  shortcut: shortcuts.rounding(immediate & 4 ? undefined : roundingMode(immediate), (immediate & 8) === 0),
  of:
    (format) =>
    (environment, [a = 0n]) => {
      const mode = immediateRounding(immediate, environment);
      const { bits, exceptions } = roundToIntegral(format, { ...environment, rounding: mode }, a);
      const unreported = FloatException.Denormal | (immediate & 8 ? FloatException.Inexact : 0);
      return { bits, exceptions: exceptions & ~unreported };
    },
});
const withRounding =
  (form: typeof packed, type: LaneType) =>
  (m: Semantics, ...operands: Operand[]): void => {
    const immediate = (operands[operands.length - 1]?.constant ?? 0) & 15;
    form(type, rounding(immediate))(m, ...operands.slice(0, -1));
  };
/** ROUNDPS, ROUNDPD, ROUNDSS, ROUNDSD — Round to Integral Values. */
export const ROUNDPS = withRounding(packed, single);
export const ROUNDPD = withRounding(packed, double);
export const ROUNDSS = withRounding(scalar, single);
export const ROUNDSD = withRounding(scalar, double);
