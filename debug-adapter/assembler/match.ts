import type { AddressParts, Bits } from './address.ts';
import { type BoundOperand, type Decoration, type ExplicitPrefixes, PLAIN } from './encode.ts';
import { PREFIX_COST } from './form-order.ts';
import { type Code, EncodingKind, type Form, Kind, MemorySize, type OperandSpec } from './forms.ts';
import type { Operand } from './syntax.ts';
import type { Value } from './value.ts';

/** An operand with what it evaluates to in this pass. */
export interface EvaluatedOperand {
  readonly operand: Operand;
  readonly value?: Value;
  readonly segment?: Value;
  readonly parts?: AddressParts;
}

export interface MatchRequest {
  readonly operands: readonly EvaluatedOperand[];
  readonly bits: Bits;
  readonly prefixes: ExplicitPrefixes;
  readonly decoration: Decoration;
  /** Whether a short branch gets to the target. */
  reachesShort(): boolean;
  /** The branch target is not defined yet in this first pass: NASM hopes for the short form. */
  readonly branchUnknown: boolean;
  /** A form that NASM does not consider for these operands. */
  readonly excluded?: Code;
}

/** The best form for the operands, or why there is none. */
export type MatchResult =
  | { readonly kind: 'match'; readonly form: Form }
  | { readonly kind: 'none' }
  | { readonly kind: 'other-mode' }
  | { readonly kind: 'ambiguous-size'; readonly sizes: readonly number[] };

/** Chooses the form that NASM would. */
export function matchForm(forms: readonly Form[], request: MatchRequest): MatchResult {
  const available: Form[] = [];
  let otherMode = false;
  for (const form of forms) {
    if (form.operands.length !== request.operands.length || !fitsForm(form, request)) continue;
    if (form.modes[request.bits]) available.push(form);
    else otherMode = true;
  }
  const [first] = available;
  if (!first) return { kind: otherMode ? 'other-mode' : 'none' };
  if (available.length === 1) return { kind: 'match', form: first };
  const sizes = ambiguousSizes(available, request);
  if (sizes.length > 1) return { kind: 'ambiguous-size', sizes };
  let best = first;
  let bestRank = rankOf(first, request);
  for (const form of available) {
    const rank = rankOf(form, request);
    if (rank < bestRank) [best, bestRank] = [form, rank];
  }
  return { kind: 'match', form: best };
}

/** The operands bound to the places of the form that was chosen for them. */
export function bindOperands(form: Form, operands: readonly EvaluatedOperand[]): BoundOperand[] {
  return form.operands.flatMap((spec, index): BoundOperand[] => {
    const evaluated = operands[index];
    if (!evaluated) return [];
    const { operand, value, parts, segment } = evaluated;
    if (operand.kind === 'register') return [{ kind: 'register', spec, register: operand.register }];
    if (operand.kind === 'memory' && parts) return [{ kind: 'memory', spec, operand, parts }];
    if (operand.kind === 'far' && value && segment) return [{ kind: 'far', spec, segment, offset: value }];
    return value ? [{ kind: 'value', spec, value }] : [];
  });
}

function fitsForm(form: Form, request: MatchRequest): boolean {
  if (form.code === request.excluded || !fitsDecoration(form, request)) return false;
  for (let index = 0; index < form.operands.length; index++) {
    const spec = form.operands[index];
    const evaluated = request.operands[index];
    if (!spec || !evaluated || !fitsOperand(spec, evaluated, form, request)) return false;
  }
  return true;
}

function fitsDecoration(form: Form, { decoration, operands }: MatchRequest): boolean {
  if (decoration === PLAIN) return !form.mustMask;
  const { mask, zeroing, broadcast, rounding, wide } = decoration;
  if (form.encoding === EncodingKind.VEX) return mask === 0 && !zeroing && !broadcast && !rounding && wide !== 'evex';
  if (form.encoding !== EncodingKind.EVEX) return mask === 0 && !zeroing && !broadcast && !rounding && wide === 'none';
  if (wide === 'vex2' || wide === 'vex3') return false;
  const registersOnly = operands.every(({ operand }) => operand.kind !== 'memory');
  return (
    (mask === 0 ? !form.mustMask : form.canMask) &&
    (!zeroing || form.canZero) &&
    (!broadcast || form.broadcastBits > 0) &&
    (rounding === undefined || (registersOnly && (rounding === 'sae' ? form.canSuppress : form.canRound)))
  );
}

function fitsOperand(spec: OperandSpec, evaluated: EvaluatedOperand, form: Form, request: MatchRequest): boolean {
  const { operand } = evaluated;
  switch (operand.kind) {
    case 'register':
      return (
        spec.registerClass === operand.register.class &&
        (spec.registerNumber ?? operand.register.number) === operand.register.number &&
        (operand.register.number < 16 || form.encoding === EncodingKind.EVEX)
      );
    case 'memory':
      return spec.allowsMemory && fitsMemory(spec, evaluated, form, request);
    case 'far':
      return spec.role === 'far' && (operand.sizeBits ?? spec.encodedBits) === spec.encodedBits;
    case 'immediate':
      return fitsImmediate(spec, evaluated, form, request);
    case 'rounding':
      return false;
  }
}

const FAR_SIZES: ReadonlySet<MemorySize> = new Set([MemorySize.SegPtr16, MemorySize.SegPtr32, MemorySize.SegPtr64]);

function fitsMemory(
  spec: OperandSpec,
  { operand, parts }: EvaluatedOperand,
  form: Form,
  request: MatchRequest,
): boolean {
  if (operand.kind !== 'memory' || !parts) return false;
  if (spec.role === 'moffs') {
    const bare = !parts.base && !parts.index && !parts.ripRelative;
    if (!bare || (request.bits === 64 && parts.addressBits === 64 && operand.displacementBits !== 64)) return false;
  }
  if ((spec.vsib ?? indexClass(parts)) !== indexClass(parts)) return false;
  const far = FAR_SIZES.has(form.memorySize) && form.operands.length === 1;
  if (far !== (operand.distance === 'far')) return false;
  if (request.decoration.broadcast) return fitsBroadcast(operand, form);
  return operand.sizeBits === undefined || form.memoryBits === 0 || fitsSize(operand.sizeBits, form);
}

function indexClass(parts: AddressParts): string | undefined {
  const kind = parts.index?.class;
  return kind === 'xmm' || kind === 'ymm' || kind === 'zmm' ? kind : undefined;
}

function fitsBroadcast(operand: Operand, form: Form): boolean {
  const element = form.broadcastBits;
  const count = operand.decorators.broadcast ?? 0;
  return form.memoryBits === 0 || element === 0 || form.memoryBits / element === count || count === 0;
}

/** Sizes for which NASM has no keyword, such as FXSAVE's 512 bytes, are accepted with any. */
const NAMED_SIZES: ReadonlySet<number> = new Set([8, 16, 32, 64, 80, 128, 256, 512]);

function fitsSize(sizeBits: number, form: Form): boolean {
  return form.memoryBits === sizeBits || !NAMED_SIZES.has(form.memoryBits);
}

function fitsImmediate(spec: OperandSpec, evaluated: EvaluatedOperand, form: Form, request: MatchRequest): boolean {
  const { operand, value } = evaluated;
  if (operand.kind !== 'immediate' || !value) return false;
  if (spec.role === 'relative') return fitsBranch(spec, operand, form, request);
  if (spec.role === 'one') return isExact(value) && value.constant === 1n && (operand.sizeBits ?? 8) === 8;
  if (spec.role !== 'immediate') return false;
  if (spec.encodedBits === 8 && spec.effectiveBits > 8) return fitsSignedByte(spec, operand, value);
  if (operand.sizeBits === undefined) return true;
  return operand.sizeBits === spec.encodedBits || operand.sizeBits === spec.effectiveBits;
}

function isExact(value: Value): boolean {
  return value.terms.length === 0 && !value.forward;
}

function fitsSignedByte(spec: OperandSpec, operand: Operand, value: Value): boolean {
  if (operand.sizeBits === 8) return true;
  if (operand.strict || !isExact(value)) return false;
  const { sizeBits } = operand;
  const sizeFits =
    sizeBits === undefined || sizeBits === spec.effectiveBits || (sizeBits === 32 && spec.effectiveBits === 64);
  // NASM compares in 32 bits even for 64-bit operands.
  const width = spec.effectiveBits === 16 ? 16 : 32;
  return sizeFits && BigInt.asUintN(width, value.constant + 128n) <= 255n;
}

function fitsBranch(spec: OperandSpec, operand: Operand, form: Form, request: MatchRequest): boolean {
  if (operand.distance === 'far') return false;
  if (spec.encodedBits !== 8) {
    return operand.distance !== 'short' && (operand.sizeBits ?? spec.encodedBits) === spec.encodedBits;
  }
  if (operand.distance === 'short' || isShortOnly(form)) return true;
  if (operand.distance === 'near' || operand.strict || operand.sizeBits !== undefined) return false;
  if (request.branchUnknown) return true;
  return request.reachesShort();
}

/** LOOP and JCXZ have no near form. */
function isShortOnly(form: Form): boolean {
  return form.opcode >= 0xe0 && form.opcode <= 0xe3 && form.opcodeLength === 1;
}

/** The memory sizes between which nothing decides, smallest first. */
function ambiguousSizes(forms: readonly Form[], request: MatchRequest): number[] {
  const memory = request.operands.findIndex(({ operand }) => operand.kind === 'memory');
  const operand = request.operands[memory]?.operand;
  if (!operand || operand.sizeBits !== undefined || request.decoration.broadcast) return [];
  const encoding = Math.min(...forms.map((form) => form.encoding));
  const sizes = forms
    .filter((form) => form.encoding === encoding && !isSizedByMode(form) && decidesNothing(form, memory))
    .map((form) => form.memoryBits)
    .filter((size) => size > 0);
  const distinct = [...new Set(sizes)].sort((a, b) => a - b);
  // Of VCVTPD2DQ and its like NASM takes the one for XMM.
  return distinct[0] === 128 && encoding === EncodingKind.VEX ? [] : distinct;
}

/** Near and far branches and the like take the size of the mode when none is written. */
function isSizedByMode(form: Form): boolean {
  const kind = form.operands[0]?.kind;
  // CVTSI2SS and CVTSI2SD read a doubleword unless told otherwise.
  if (form.table === 1 && form.opcode === 0x2a) return true;
  const branch = form.table === 0 && form.opcode === 0xff && form.group >= 2 && form.group <= 5;
  return branch || (kind === Kind.mem && form.operandSize !== 0);
}

/** Whether no register operand of the same instruction settles the size of the memory operand. */
function decidesNothing(form: Form, memory: number): boolean {
  return form.operands.every((spec, index) => index === memory || spec.kind !== form.operands[memory]?.kind);
}

/** NASM's preference among forms that fit; the smallest number wins, and the first of equals. */
function rankOf(form: Form, request: MatchRequest): number {
  return form.order + prefixCost(form, request) * PREFIX_COST;
}

function prefixCost(form: Form, { bits, prefixes }: MatchRequest): number {
  let cost = 0;
  const wanted = prefixes.operandSize;
  if (form.operandSize !== 0) {
    const native = isNativeSize(form, bits);
    if (wanted === undefined ? !native : form.operandSize !== wanted) cost += 2;
  }
  if (form.addressSize !== 0 && form.addressSize !== (prefixes.addressSize ?? bits)) cost += 3;
  return cost;
}

/** Whether the form needs no operand size prefix; far pointers in memory are 64 bits in 64-bit code for NASM. */
function isNativeSize(form: Form, bits: Bits): boolean {
  if (bits !== 64) return form.operandSize === bits;
  const far = FAR_SIZES.has(form.memorySize) && form.operands.length === 1;
  return form.operandSize === 64 ? form.noRexW || far : form.operandSize === 32 && !far;
}
