import { appendConstant, type Fixup } from './encode.ts';
import { type EvaluationContext, evaluate } from './evaluate.ts';
import type { Expression } from './expression.ts';
import { encodeFloat } from './float.ts';
import { bytesOfString } from './literals.ts';
import { MAXIMUM_IMAGE_BYTES } from './section.ts';
import type { DataItem } from './syntax.ts';
import { type CutOff, isCutOff, isDistance, isRelocatable } from './value.ts';

export interface EncodedData {
  readonly bytes: number[];
  readonly fixups: Fixup[];
  /** The first one. */
  cutOff?: CutOff | undefined;
}

/** Bytes of `db`, `dw`, `dd`, `dq`, `dt`, `do` … with units of `unitBytes`. */
export function encodeData(unitBytes: number, items: readonly DataItem[], context: EvaluationContext): EncodedData {
  const data: EncodedData = { bytes: [], fixups: [] };
  for (const item of items) appendItem(data, unitBytes, item, context);
  return data;
}

function appendItem(data: EncodedData, unitBytes: number, item: DataItem, context: EvaluationContext): void {
  switch (item.kind) {
    case 'uninitialized':
      for (let index = 0; index < unitBytes; index++) data.bytes.push(0);
      break;
    case 'dup':
      appendRepeated(data, unitBytes, item, context);
      break;
    case 'value':
      appendValue(data, unitBytes, item.value, context);
      break;
  }
}

function appendRepeated(
  data: EncodedData,
  unitBytes: number,
  item: DataItem & { kind: 'dup' },
  context: EvaluationContext,
): void {
  const count = evaluate(item.count, context);
  if (count.unknown !== 0) return;
  const once = encodeData(unitBytes, item.items, context);
  data.cutOff ??= once.cutOff;
  if (
    count.terms.length > 0 ||
    count.constant < 0n ||
    count.constant * BigInt(once.bytes.length) > MAXIMUM_IMAGE_BYTES
  ) {
    context.error(
      item.count.range,
      `expected a count that gives at most ${MAXIMUM_IMAGE_BYTES} bytes, found ${count.constant}`,
    );
    return;
  }
  for (let index = 0; index < Number(count.constant); index++) {
    const base = data.bytes.length;
    for (const byte of once.bytes) data.bytes.push(byte);
    data.fixups.push(...once.fixups.map((fixup) => ({ ...fixup, offset: base + fixup.offset })));
  }
}

function appendValue(data: EncodedData, unitBytes: number, expression: Expression, context: EvaluationContext): void {
  if (expression.kind === 'string') {
    appendString(data, unitBytes, expression.text);
    return;
  }
  const float = floatOf(expression);
  if (float) {
    const encoded = encodeFloat(float.text, unitBytes, float.negative);
    if (encoded === undefined) {
      context.error(expression.range, `a floating-point constant of ${unitBytes} bytes does not exist`);
    }
    appendWide(data.bytes, encoded ?? 0n, unitBytes);
    return;
  }
  const value = evaluate(expression, context);
  if (!isRelocatable(value) && !isDistance(value)) {
    context.error(expression.range, 'expected a number or one address; a sum of addresses or a register is neither');
  } else if (value.terms.length > 0) {
    data.fixups.push({ offset: data.bytes.length, sizeBytes: Math.min(8, unitBytes), value, relative: false });
  } else if (isCutOff(value.constant, unitBytes * 8)) {
    data.cutOff ??= { constant: value.constant, bits: unitBytes * 8 };
  }
  appendConstant(data.bytes, value.constant, unitBytes);
}

function floatOf(expression: Expression): { text: string; negative: boolean } | undefined {
  if (expression.kind === 'float') return { text: expression.text, negative: false };
  if (expression.kind !== 'unary' || (expression.operator !== '-' && expression.operator !== '+')) return undefined;
  const inner = floatOf(expression.operand);
  return inner && { text: inner.text, negative: expression.operator === '-' ? !inner.negative : inner.negative };
}

function appendWide(bytes: number[], value: bigint, sizeBytes: number): void {
  for (let index = 0; index < sizeBytes; index++) bytes.push(Number((value >> BigInt(8 * index)) & 0xffn));
}

/** A string fills whole units. */
function appendString(data: EncodedData, unitBytes: number, text: string): void {
  const bytes = bytesOfString(text);
  for (const byte of bytes) data.bytes.push(byte);
  while (data.bytes.length % unitBytes !== 0) data.bytes.push(0);
}
