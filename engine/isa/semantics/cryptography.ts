/** AES-NI, PCLMULQDQ and the SHA extensions (SDM volume 1, "Intel AES New Instructions", "SHA Extensions"). */
import { call, constant, type Expr, vector } from '../../expr/expr.ts';
import { fromLanes, lanesOf } from '../../expr/lanes.ts';
import type { PureFunction } from '../../expr/pure-function.ts';
import type { Operand } from '../operand.ts';
import type { Semantics } from '../semantics-builder.ts';
import {
  combineHalves,
  highQword,
  lowQword,
  mapHalves,
  mapHalvesBy,
  readVector,
  shuffleLanes,
  type Vector,
  writeVector,
} from './vector-operands.ts';

// ---- AES ------------------------------------------------------------------------------------------------------------

/** Product in the field of FIPS 197, whose polynomial is 11BH. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 0, factor = a; bit < 8; bit++, factor = (factor << 1) ^ (factor & 0x80 ? 0x11b : 0)) {
    if ((b >> bit) & 1) product ^= factor;
  }
  return product;
}

const rotateByte = (byte: number, by: number): number => ((byte << by) | (byte >> (8 - by))) & 0xff;
const substitution = Uint8Array.from({ length: 256 }, (_, byte) => {
  // 254 = 2 + 4 + … + 128: the inverse, and 0 of 0.
  let [inverse, power] = [1, byte];
  for (let n = 1; n < 8; n++) {
    power = multiply(power, power);
    inverse = multiply(inverse, power);
  }
  return (
    inverse ^ rotateByte(inverse, 1) ^ rotateByte(inverse, 2) ^ rotateByte(inverse, 3) ^ rotateByte(inverse, 4) ^ 0x63
  );
});
const inverseSubstitution = new Uint8Array(256);
for (const [byte, substitute] of substitution.entries()) inverseSubstitution[substitute] = byte;

type Bytes = Uint8Array<ArrayBufferLike>;

/** Byte by byte through a table. */
const substitute = (table: Bytes) => (state: Bytes) => state.map((byte) => table[byte] as number);
/** Each column times a polynomial, whose coefficients are those of the first row. */
const mixColumns = (row: readonly number[]) => {
  const products = row.map((factor) => Uint8Array.from({ length: 256 }, (_, byte) => multiply(byte, factor)));
  return (state: Bytes) =>
    state.map((_, at) => {
      const column = at & ~3;
      let sum = 0;
      for (let i = 0; i < 4; i++) sum ^= products[(i - at + 4) & 3]?.[state[column + i] as number] as number;
      return sum;
    });
};
const encryptionColumns = mixColumns([2, 3, 1, 1]);
const decryptionColumns = mixColumns([14, 11, 13, 9]);

function onBytes(name: string, of: (state: Bytes) => Bytes): PureFunction {
  return {
    name,
    parameters: [128],
    results: [128],
    evaluate: ([state = 0n]) => [fromLanes(8, [...of(Uint8Array.from(lanesOf(8, state), Number))].map(BigInt))],
    execute: (view, args, results) => {
      const result = of(new Uint8Array(view.buffer, view.byteOffset + args, 16));
      new Uint8Array(view.buffer, view.byteOffset + results, 16).set(result);
    },
  };
}
const subBytes = onBytes('SubBytes', substitute(substitution));
const invSubBytes = onBytes('InvSubBytes', substitute(inverseSubstitution));
const invMix = onBytes('InvMixColumns', decryptionColumns);
const round = onBytes('MixColumnsOfSubBytes', (state) => encryptionColumns(substitute(substitution)(state)));
const invRound = onBytes('InvMixColumnsOfInvSubBytes', (state) =>
  decryptionColumns(substitute(inverseSubstitution)(state)),
);

const apply = (of: PureFunction, a: Vector): Vector => call(of, [a])[0] as Vector;

/** Row r of the state, bytes r, r + 4, … , rotated by r columns. */
const rotateRows = (a: Vector, direction: 1 | -1): Vector =>
  shuffleLanes(
    1,
    a,
    a,
    Array.from({ length: 16 }, (_, at) => (at + 4 * direction * (at & 3)) & 15),
  );
const shiftRows = (a: Vector): Vector => rotateRows(a, 1);
const invShiftRows = (a: Vector): Vector => rotateRows(a, -1);

/** AESENC, AESENCLAST, AESDEC, AESDECLAST — Perform One Round of an AES Flow: SRC2 is the round key. */
export const AESENC = combineHalves((state, key) => apply(round, shiftRows(state)).xor(key));
export const AESENCLAST = combineHalves((state, key) => apply(subBytes, shiftRows(state)).xor(key));
export const AESDEC = combineHalves((state, key) => apply(invRound, invShiftRows(state)).xor(key));
export const AESDECLAST = combineHalves((state, key) => apply(invSubBytes, invShiftRows(state)).xor(key));
/** AESIMC — Perform the AES InvMixColumn Transformation. */
export const AESIMC = mapHalves((a) => apply(invMix, a));
/** AESKEYGENASSIST — AES Round Key Generation Assist. */
export const AESKEYGENASSIST = mapHalvesBy((a, constantOfRound) => {
  const words = apply(subBytes, a);
  const places = [4, 5, 6, 7, 5, 6, 7, 4, 12, 13, 14, 15, 13, 14, 15, 12];
  const roundConstant = BigInt(constantOfRound);
  return shuffleLanes(1, words, words, places).xor(constant(128, (roundConstant << 32n) | (roundConstant << 96n)));
});

// ---- PCLMULQDQ ------------------------------------------------------------------------------------------------------

const carryLessProduct: PureFunction = {
  name: 'CarryLessProduct',
  parameters: [64, 64],
  results: [128],
  evaluate: ([a = 0n, b = 0n]) => {
    let product = 0n;
    for (let bit = 0n; bit < 64n; bit++) if ((b >> bit) & 1n) product ^= a << bit;
    return [product];
  },
};
/** PCLMULQDQ — Carry-Less Multiplication Quadword: bits 0 and 4 of the immediate choose the quadwords. */
export const PCLMULQDQ = combineHalves((a, b, { immediate }) => {
  const qword = (of: Vector, isHigh: number) => (isHigh ? highQword(of) : lowQword(of));
  return call(carryLessProduct, [qword(a, immediate & 1), qword(b, immediate & 0x10)])[0] as Vector;
});

// ---- SHA ------------------------------------------------------------------------------------------------------------

type Word = Expr<32>;

const lane = (of: Vector, index: number): Word => vector<32>('i32x4.extract_lane', [of], [index]);
const ofLanes = (lanes: readonly Word[]): Vector =>
  lanes.reduce((all, word, index) => vector('i32x4.replace_lane', [all, word], [index]), constant(128, 0));
const rotateLeft = (a: Word, by: number): Word => a.rotl(constant(32, by));
const rotateRight = (a: Word, by: number): Word => a.rotr(constant(32, by));
const shiftRight = (a: Word, by: number): Word => a.shr(constant(32, by));

const choose = (a: Word, b: Word, c: Word): Word => a.and(b).xor(a.not().and(c));
const parity = (a: Word, b: Word, c: Word): Word => a.xor(b).xor(c);
const majority = (a: Word, b: Word, c: Word): Word => a.and(b).xor(a.and(c)).xor(b.and(c));
const sha1Rounds = [
  { mixed: choose, constantOfRound: 0x5a82_7999 },
  { mixed: parity, constantOfRound: 0x6ed9_eba1 },
  { mixed: majority, constantOfRound: 0x8f1b_bcdc },
  { mixed: parity, constantOfRound: 0xca62_c1d6 },
] as const;

/** SHA1RNDS4 — Perform Four Rounds of SHA1 Operation: of SRC1 = A:B:C:D, with SRC2, in which E is added already. */
export const SHA1RNDS4 = combineHalves((state, words, { immediate }) => {
  const { mixed, constantOfRound } = sha1Rounds[immediate & 3] as (typeof sha1Rounds)[number];
  let [a, b, c, d] = [3, 2, 1, 0].map((index) => lane(state, index)) as [Word, Word, Word, Word];
  let e: Word = constant(32, 0);
  for (let index = 3; index >= 0; index--) {
    const sum = mixed(b, c, d).add(rotateLeft(a, 5)).add(lane(words, index)).add(e).add(constant(32, constantOfRound));
    [a, b, c, d, e] = [sum, a, rotateLeft(b, 30), c, d];
  }
  return ofLanes([d, c, b, a]);
});
/** SHA1NEXTE — Calculate SHA1 State Variable E After Four Rounds. */
export const SHA1NEXTE = combineHalves((state, words) => {
  const e = rotateLeft(lane(state, 3), 30);
  return vector('i32x4.replace_lane', [words, lane(words, 3).add(e)], [3]);
});
/** SHA1MSG1 — Perform an Intermediate Calculation for the Next Four SHA1 Message Dwords. */
export const SHA1MSG1 = combineHalves((a, b) => a.xor(shuffleLanes(4, a, b, [6, 7, 0, 1])));
/** SHA1MSG2 — Perform a Final Calculation for the Next Four SHA1 Message Dwords. */
export const SHA1MSG2 = combineHalves((a, b) => {
  const w16 = rotateLeft(lane(a, 3).xor(lane(b, 2)), 1);
  const w17 = rotateLeft(lane(a, 2).xor(lane(b, 1)), 1);
  const w18 = rotateLeft(lane(a, 1).xor(lane(b, 0)), 1);
  return ofLanes([rotateLeft(lane(a, 0).xor(w16), 1), w18, w17, w16]);
});

const bigSigma0 = (a: Word): Word => parity(rotateRight(a, 2), rotateRight(a, 13), rotateRight(a, 22));
const bigSigma1 = (a: Word): Word => parity(rotateRight(a, 6), rotateRight(a, 11), rotateRight(a, 25));
const smallSigma0 = (a: Word): Word => parity(rotateRight(a, 7), rotateRight(a, 18), shiftRight(a, 3));
const smallSigma1 = (a: Word): Word => parity(rotateRight(a, 17), rotateRight(a, 19), shiftRight(a, 10));

/** SHA256RNDS2 — Perform Two Rounds of SHA256 Operation: SRC1 = C:D:G:H, SRC2 = A:B:E:F, XMM0 the words with their constants. */
export function SHA256RNDS2(m: Semantics, dest: Operand, src: Operand): void {
  const [cdgh, abef] = [readVector(m, dest)[0] as Vector, readVector(m, src)[0] as Vector];
  const words = m.vectorRegister(0);
  let [a, b, e, f] = [3, 2, 1, 0].map((index) => lane(abef, index)) as [Word, Word, Word, Word];
  let [c, d, g, h] = [3, 2, 1, 0].map((index) => lane(cdgh, index)) as [Word, Word, Word, Word];
  for (const index of [0, 1]) {
    const t = choose(e, f, g).add(bigSigma1(e)).add(lane(words, index)).add(h);
    const sum = t.add(majority(a, b, c)).add(bigSigma0(a));
    [a, b, c, d, e, f, g, h] = [sum, a, b, c, t.add(d), e, f, g];
  }
  writeVector(m, dest, [ofLanes([f, e, b, a])]);
}
/** SHA256MSG1 — Perform an Intermediate Calculation for the Next Four SHA256 Message Dwords. */
export const SHA256MSG1 = combineHalves((a, b) => {
  const words = [lane(a, 0), lane(a, 1), lane(a, 2), lane(a, 3), lane(b, 0)] as const;
  return ofLanes([0, 1, 2, 3].map((index) => (words[index] as Word).add(smallSigma0(words[index + 1] as Word))));
});
/** SHA256MSG2 — Perform a Final Calculation for the Next Four SHA256 Message Dwords. */
export const SHA256MSG2 = combineHalves((a, b) => {
  const w16 = lane(a, 0).add(smallSigma1(lane(b, 2)));
  const w17 = lane(a, 1).add(smallSigma1(lane(b, 3)));
  const w18 = lane(a, 2).add(smallSigma1(w16));
  return ofLanes([w16, w17, w18, lane(a, 3).add(smallSigma1(w17))]);
});
