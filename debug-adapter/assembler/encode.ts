import { type AddressParts, type Bits, type EncodedAddress, encodeAddress } from './address.ts';
import { EncodingKind, type Form, mandatoryByte, type OperandSpec, TupleType } from './forms.ts';
import type { RegisterInfo } from './registers.ts';
import type { MemoryOperand, RoundingOperand } from './syntax.ts';
import { type CutOff, isCutOff, type Value } from './value.ts';

/** A field of the output whose value depends on where sections are put. */
export interface Fixup {
  /** Bytes from the start of the instruction or datum. */
  readonly offset: number;
  readonly sizeBytes: number;
  readonly value: Value;
  /** The field holds the distance from the end of the instruction. */
  readonly relative: boolean;
}

/** An operand in the place its form gives it. */
export type BoundOperand =
  | { readonly kind: 'register'; readonly spec: OperandSpec; readonly register: RegisterInfo }
  | {
      readonly kind: 'memory';
      readonly spec: OperandSpec;
      readonly operand: MemoryOperand;
      readonly parts: AddressParts;
    }
  | { readonly kind: 'value'; readonly spec: OperandSpec; readonly value: Value }
  | { readonly kind: 'far'; readonly spec: OperandSpec; readonly segment: Value; readonly offset: Value };

/** Everything that is encoded besides the operands. */
export interface Decoration {
  readonly mask: number;
  readonly zeroing: boolean;
  readonly broadcast: boolean;
  readonly rounding?: RoundingOperand['mode'];
  readonly wide: 'none' | 'vex2' | 'vex3' | 'evex';
}

/** What most instructions have. */
export const PLAIN: Decoration = { mask: 0, zeroing: false, broadcast: false, wide: 'none' };

/** Prefixes as written; sizes are added where the form needs them. */
export interface ExplicitPrefixes {
  /** Bytes that go in front of everything, in NASM's order: WAIT, REP, LOCK, segment. */
  readonly leading: readonly number[];
  readonly operandSize?: Bits;
  readonly addressSize?: Bits;
}

export interface Encoding {
  readonly bytes: number[];
  readonly fixups: readonly Fixup[];
  readonly cutOff?: CutOff | undefined;
}

interface Fields {
  readonly reg: number;
  readonly rm: number;
  readonly vvvv: number;
  readonly opcodeRegister: number;
  readonly is4: number;
  readonly address: EncodedAddress | undefined;
  readonly hasModRm: boolean;
  readonly needsRex: boolean;
  readonly high: boolean;
}

/** Encodes one instruction; a string says why it cannot be. */
export function encodeForm(
  form: Form,
  operands: readonly BoundOperand[],
  prefixes: ExplicitPrefixes,
  decoration: Decoration,
  bits: Bits,
): Encoding | string {
  const fields = collectFields(form, operands, decoration, bits);
  if (typeof fields === 'string') return fields;
  const bytes: number[] = form.fwait ? [0x9b, ...prefixes.leading] : [...prefixes.leading];
  const rexW = needsRexW(form, prefixes, bits);
  if (needsOperandPrefix(form, prefixes, bits)) bytes.push(0x66);
  if (needsAddressPrefix(form, operands, prefixes, bits)) bytes.push(0x67);
  const problem = appendOpcode(bytes, form, fields, decoration, rexW, bits);
  if (problem !== undefined) return problem;
  return appendOperands(bytes, form, fields, operands, bits);
}

function needsOperandPrefix(form: Form, prefixes: ExplicitPrefixes, bits: Bits): boolean {
  if (form.encoding !== EncodingKind.Legacy) return false;
  const size = prefixes.operandSize ?? form.operandSize;
  if (size === 16) return bits !== 16;
  return size === 32 && bits === 16;
}

function needsRexW(form: Form, prefixes: ExplicitPrefixes, bits: Bits): boolean {
  if (bits !== 64) return false;
  if (prefixes.operandSize === 64) return !form.noRexW || form.operandSize !== 64;
  return form.operandSize === 64 && !form.noRexW;
}

function needsAddressPrefix(
  form: Form,
  operands: readonly BoundOperand[],
  prefixes: ExplicitPrefixes,
  bits: Bits,
): boolean {
  const memory = operands.find((operand) => operand.kind === 'memory');
  const size = memory?.parts.addressBits ?? prefixes.addressSize ?? (form.addressSize || bits);
  return size !== bits;
}

function collectFields(
  form: Form,
  operands: readonly BoundOperand[],
  decoration: Decoration,
  bits: Bits,
): Fields | string {
  const fields = { reg: Math.max(0, form.group), rm: 0, vvvv: 0, opcodeRegister: 0, is4: 0 };
  let address: EncodedAddress | undefined;
  let hasModRm = form.group >= 0 || form.rmGroup >= 0;
  let [needsRex, high] = [false, false];
  if (form.rmGroup >= 0) fields.rm = form.rmGroup;
  for (const operand of operands) {
    const { role } = operand.spec;
    if (operand.kind === 'memory' && role === 'rm') {
      const factor = compressionOf(form, decoration.broadcast);
      const encoded = encodeAddress(operand.operand, operand.parts, bits, factor, operand.spec);
      if (typeof encoded === 'string') return encoded;
      address = encoded;
    }
    if (role === 'rm' || role === 'reg') hasModRm = true;
    if (operand.kind !== 'register' || role === 'implicit') continue;
    const { number } = operand.register;
    if (role === 'reg') fields.reg = number;
    else if (role === 'rm') fields.rm = number;
    else if (role === 'vvvv') fields.vvvv = number;
    else if (role === 'is4') fields.is4 = number;
    else fields.opcodeRegister = number;
    needsRex ||= operand.register.needsRex;
    high ||= operand.register.high;
  }
  const { reg, rm, vvvv, opcodeRegister, is4 } = fields;
  return { reg, rm, vvvv, opcodeRegister, is4, address, hasModRm, needsRex, high };
}

const TUPLE_BYTES = /^N(\d+)(?:b(\d+))?$/u;

function compressionOf(form: Form, broadcast: boolean): number {
  if (form.encoding !== EncodingKind.EVEX) return 1;
  const match = TUPLE_BYTES.exec(TupleType[form.tupleType] ?? '');
  return Number((broadcast ? match?.[2] : match?.[1]) ?? 1);
}

const LEGACY_ESCAPES: Readonly<Record<number, readonly number[]>> = {
  0: [],
  1: [0x0f],
  2: [0x0f, 0x38],
  3: [0x0f, 0x3a],
};

function appendOpcode(
  bytes: number[],
  form: Form,
  fields: Fields,
  decoration: Decoration,
  rexW: boolean,
  bits: Bits,
): string | undefined {
  const r = (fields.reg & 8) !== 0;
  const x = fields.address?.rexX ?? (fields.rm & 16) !== 0;
  const b = fields.address?.rexB ?? ((fields.rm | fields.opcodeRegister) & 8) !== 0;
  if (bits !== 64 && (r || b || fields.needsRex || ((fields.reg | fields.rm | fields.vvvv) & 24) !== 0)) {
    return `registers beyond the first eight need 64-bit code, but this is ${bits}-bit code`;
  }
  switch (form.encoding) {
    case EncodingKind.VEX:
    case EncodingKind.XOP:
      if (((fields.reg | fields.rm | fields.vvvv) & 16) !== 0) return 'vector registers 16..31 need an EVEX form';
      appendVex(bytes, form, fields, decoration, { r, x, b });
      return undefined;
    case EncodingKind.EVEX:
      appendEvex(bytes, form, fields, decoration, { r, x, b });
      return undefined;
    default:
      return appendLegacy(bytes, form, fields, rexW, { r, x: fields.address?.rexX ?? false, b });
  }
}

interface RexBits {
  readonly r: boolean;
  readonly x: boolean;
  readonly b: boolean;
}

function appendLegacy(bytes: number[], form: Form, fields: Fields, rexW: boolean, rex: RexBits): string | undefined {
  const mandatory = mandatoryByte(form.prefix);
  if (mandatory !== undefined) bytes.push(mandatory);
  const value = (rexW ? 8 : 0) | (rex.r ? 4 : 0) | (rex.x ? 2 : 0) | (rex.b ? 1 : 0);
  if (value !== 0 || fields.needsRex) {
    if (fields.high) return 'AH, BH, CH and DH cannot be used in an instruction that needs a REX prefix';
    bytes.push(0x40 | value);
  }
  bytes.push(...(LEGACY_ESCAPES[form.table] ?? []));
  if (form.encoding === EncodingKind.D3NOW) {
    bytes.push(0x0f);
    return undefined;
  }
  appendOpcodeBytes(bytes, form, fields);
  return undefined;
}

function appendOpcodeBytes(bytes: number[], form: Form, fields: Fields): void {
  if (form.opcodeLength === 2) bytes.push(form.opcode >> 8);
  bytes.push((form.opcode & 0xff) + (fields.opcodeRegister & 7));
}

function prefixBits(form: Form): number {
  const mandatory = mandatoryByte(form.prefix);
  return mandatory === 0x66 ? 1 : mandatory === 0xf3 ? 2 : mandatory === 0xf2 ? 3 : 0;
}

function appendVex(bytes: number[], form: Form, fields: Fields, decoration: Decoration, rex: RexBits): void {
  const inverted = (~fields.vvvv & 15) << 3;
  const tail = inverted | (form.l << 2) | prefixBits(form);
  const x = fields.address?.rexX ?? false;
  const short = form.encoding === EncodingKind.VEX && form.table === 1 && !x && !rex.b && form.w === 0;
  if (short && decoration.wide !== 'vex3') bytes.push(0xc5, (rex.r ? 0 : 0x80) | tail);
  else {
    const first = (rex.r ? 0 : 0x80) | (x ? 0 : 0x40) | (rex.b ? 0 : 0x20);
    bytes.push(form.encoding === EncodingKind.XOP ? 0x8f : 0xc4, first | mapOf(form), (form.w << 7) | tail);
  }
  appendOpcodeBytes(bytes, form, fields);
}

/** The map field: tables are numbered 1, 2, 3, then MAP5, MAP6, and XOP's 8, 9, 10. */
function mapOf(form: Form): number {
  return form.table <= 3 ? form.table : form.table <= 5 ? form.table + 1 : form.table + 2;
}

const ROUNDING: Readonly<Record<string, number>> = { 'rn-sae': 0, 'rd-sae': 1, 'ru-sae': 2, 'rz-sae': 3 };

function appendEvex(bytes: number[], form: Form, fields: Fields, decoration: Decoration, rex: RexBits): void {
  const { rounding, broadcast, mask, zeroing } = decoration;
  const extendedReg = (fields.reg & 16) !== 0;
  const extendedV = (fields.vvvv & 16) !== 0 || (fields.address?.evexV ?? false);
  const p0 = (rex.r ? 0 : 0x80) | (rex.x ? 0 : 0x40) | (rex.b ? 0 : 0x20) | (extendedReg ? 0 : 0x10) | mapOf(form);
  const p1 = (form.w << 7) | ((~fields.vvvv & 15) << 3) | 4 | prefixBits(form);
  // With {sae} alone NASM leaves the length bits zero; the processor ignores them.
  const length = rounding === undefined ? form.l : (ROUNDING[rounding] ?? 0);
  const b = broadcast || rounding !== undefined;
  const p2 = (zeroing ? 0x80 : 0) | (length << 5) | (b ? 0x10 : 0) | (extendedV ? 0 : 8) | mask;
  bytes.push(0x62, p0, p1, p2);
  appendOpcodeBytes(bytes, form, fields);
}

function appendOperands(
  bytes: number[],
  form: Form,
  fields: Fields,
  operands: readonly BoundOperand[],
  bits: Bits,
): Encoding | string {
  const fixups: Fixup[] = [];
  const put = (value: Value, sizeBytes: number, relative = false): void => {
    if (relative || value.terms.length > 0) fixups.push({ offset: bytes.length, sizeBytes, value, relative });
    appendConstant(bytes, value.constant, sizeBytes);
  };
  if (fields.hasModRm && !isSecondByteModRm(form)) {
    const { address } = fields;
    const rm = address ? (address.mod << 6) | address.rm : 0xc0 | (fields.rm & 7);
    bytes.push(rm | ((fields.reg & 7) << 3));
    if (address?.sib !== undefined) bytes.push(address.sib);
    if (address && address.displacementBytes > 0) {
      put(address.displacement, address.displacementBytes, address.ripRelative);
    }
  }
  if (form.encoding === EncodingKind.D3NOW) bytes.push(form.opcode);
  if (operands.some((operand) => operand.spec.role === 'is4')) bytes.push(is4Byte(fields, operands));
  for (const operand of operands) appendImmediate(operand, put, bits);
  return { bytes, fixups, cutOff: operands.map(cutOffOf).find((found) => found !== undefined) };
}

/** An immediate that is a number, but not one of the operand's size. Addresses are known when sections are placed. */
function cutOffOf(operand: BoundOperand): CutOff | undefined {
  if (operand.kind !== 'value' || operand.spec.role !== 'immediate' || operand.value.terms.length > 0) return undefined;
  const { constant } = operand.value;
  const bits = operand.spec.effectiveBits;
  return isCutOff(constant, bits) ? { constant, bits } : undefined;
}

/** Two-byte opcodes such as 0F 01 C8 contain their ModRM byte. */
function isSecondByteModRm(form: Form): boolean {
  return form.opcodeLength === 2;
}

function is4Byte(fields: Fields, operands: readonly BoundOperand[]): number {
  const low = operands.find((operand) => operand.kind === 'value' && operand.spec.encodedBits === 4);
  return (fields.is4 << 4) | (low?.kind === 'value' ? Number(low.value.constant & 15n) : 0);
}

function appendImmediate(
  operand: BoundOperand,
  put: (value: Value, sizeBytes: number, relative?: boolean) => void,
  bits: Bits,
): void {
  const { role, encodedBits } = operand.spec;
  if (operand.kind === 'memory' && role === 'moffs')
    put(operand.parts.displacement, moffsBytes(operand.parts, operand.operand, bits));
  if (operand.kind === 'far') {
    put(operand.offset, encodedBits / 8);
    put(operand.segment, 2);
  }
  if (operand.kind !== 'value') return;
  if (role === 'relative') put(operand.value, encodedBits / 8, true);
  else if (role === 'immediate' && encodedBits >= 8) put(operand.value, encodedBits / 8);
}

function moffsBytes(parts: AddressParts, operand: MemoryOperand, bits: Bits): number {
  if (bits === 64 && operand.displacementBits === 64) return 8;
  return parts.addressBits / 8;
}

/** Appends the low bytes of the value, least significant first. */
export function appendConstant(bytes: number[], value: bigint, sizeBytes: number): void {
  const low = Number(BigInt.asUintN(32, value));
  for (let index = 0; index < Math.min(4, sizeBytes); index++) bytes.push((low >>> (8 * index)) & 0xff);
  if (sizeBytes <= 4) return;
  const fill = sizeBytes > 8 ? BigInt.asIntN(64, value) : value;
  for (let index = 4; index < sizeBytes; index++) bytes.push(Number(BigInt.asUintN(8, fill >> BigInt(8 * index))));
}
