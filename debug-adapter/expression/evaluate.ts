import { UserError } from '../errors.ts';
import type { EvaluationContext, Place, Result } from './context.ts';
import { readInteger, writeInteger } from './memory-value.ts';
import { resolveName, uint64, unsignedType } from './names.ts';
import type { Expression, IntegerType } from './syntax.ts';

/**
 * Evaluates an expression. Arithmetic is of 64 bits, or signed where an operand is; nothing but an assignment writes.
 *
 * @throws UserError for an unknown name, unmapped memory, a division by zero, or what cannot be assigned to
 */
export function evaluate(expression: Expression, context: EvaluationContext): Result {
  switch (expression.kind) {
    case 'number':
      return { value: BigInt.asUintN(64, expression.value), type: uint64 };
    case 'string':
      return { value: 0n, type: uint64, text: expression.text };
    case 'name':
      return resolveName(expression.name, expression.start, context);
    case 'memory':
      return readMemory(expression, context);
    case 'address':
      return { value: integerOf(evaluate(expression.address, context)), type: uint64, space: expression.space };
    case 'cast':
      return typed(integerOf(evaluate(expression.operand, context)), expression.type);
    case 'unary':
      return unary(expression.operator, evaluate(expression.operand, context));
    case 'binary':
      return binary(expression, context);
    case 'conditional':
      return evaluate(
        isTrue(evaluate(expression.condition, context)) ? expression.whenTrue : expression.whenFalse,
        context,
      );
    case 'assignment':
      return assign(evaluate(expression.target, context), evaluate(expression.value, context), context);
  }
}

export function isTrue(result: Result): boolean {
  return result.text !== undefined ? result.text !== '' : result.value !== 0n;
}

/** The number, by the sign of its type. */
export function signedValue({ value, type }: Pick<Result, 'value' | 'type'>): bigint {
  return type.signed ? BigInt.asIntN(type.bits, value) : value;
}

function typed(value: bigint, type: IntegerType): Result {
  return { value: BigInt.asUintN(type.bits, value), type };
}

function integerOf(result: Result): bigint {
  if (result.text !== undefined) {
    throw new UserError('The expression needs a number', { expected: 'a number', found: `"${result.text}"` });
  }
  return signedValue(result);
}

function readMemory(expression: Expression & { kind: 'memory' }, context: EvaluationContext): Result {
  const { space, segment } = expression;
  const base = segment === undefined ? 0n : (context.vcpu.readRegister(`${segment}.base`) ?? 0n);
  const inner = evaluate(expression.address, context);
  const address = BigInt.asUintN(64, integerOf(inner) + base);
  const type = expression.type ?? unsignedType(context.vcpu.mode().codeSize);
  const lengthBytes = (type.bits / 8) as 1 | 2 | 4 | 8;
  const value = readInteger(context.vcpu, space, address, lengthBytes);
  return { value, type, place: { kind: 'memory', space, address, lengthBytes }, isRaw: true };
}

function unary(operator: string, operand: Result): Result {
  if (operator === '!') {
    return truth(!isTrue(operand));
  }
  const value = integerOf(operand);
  const type: IntegerType = operator === '-' ? { name: 'i64', bits: 64, signed: true } : operand.type;
  return typed(operator === '-' ? -value : operator === '~' ? ~value : value, type);
}

function truth(value: boolean): Result {
  return { value: value ? 1n : 0n, type: uint64 };
}

function binary(expression: Expression & { kind: 'binary' }, context: EvaluationContext): Result {
  const { operator } = expression;
  const left = evaluate(expression.left, context);
  if (operator === '&&' || operator === '||') {
    const decided = isTrue(left) === (operator === '||');
    return truth(decided ? operator === '||' : isTrue(evaluate(expression.right, context)));
  }
  const right = evaluate(expression.right, context);
  if (left.text !== undefined || right.text !== undefined) {
    return compareTexts(operator, left, right);
  }
  const comparison = COMPARISONS[operator];
  if (comparison !== undefined) {
    return truth(comparison(...alike(left, right)));
  }
  const signed = left.type.signed || right.type.signed;
  const type: IntegerType = signed ? { name: 'i64', bits: 64, signed } : uint64;
  const isAddress = (operator === '+' || operator === '-') && left.space !== undefined;
  const result = typed(arithmetic(operator, signedValue(left), signedValue(right)), type);
  return isAddress && left.space !== undefined ? { ...result, space: left.space } : result;
}

/** Equal words are equal: -1 equals 0xffffffffffffffff, as a register may show either. */
function alike(left: Result, right: Result): [bigint, bigint] {
  const signed = left.type.signed || right.type.signed;
  const values = [signedValue(left), signedValue(right)] as const;
  const cut = (value: bigint) => (signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value));
  return [cut(values[0]), cut(values[1])];
}

const COMPARISONS: Readonly<Record<string, (a: bigint, b: bigint) => boolean>> = {
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};

function compareTexts(operator: string, left: Result, right: Result): Result {
  const shown = ({ text, value }: Result) => (text ?? String(value)).toLowerCase();
  if (operator !== '==' && operator !== '!=') {
    throw new UserError('The operator is not for text', { expected: '== or !=', found: operator });
  }
  return truth((shown(left) === shown(right)) === (operator === '=='));
}

function arithmetic(operator: string, a: bigint, b: bigint): bigint {
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
    case '%':
      if (b === 0n) {
        throw new UserError('The expression divides by zero', { expected: 'a divisor other than 0' });
      }
      return operator === '/' ? a / b : a % b;
    case '&':
      return a & b;
    case '|':
      return a | b;
    case '^':
      return a ^ b;
    case '<<':
      return b < 0n || b > 63n ? 0n : a << b;
    case '>>':
      return b < 0n || b > 63n ? 0n : a >> b;
    default:
      throw new Error(`operator ${operator} without a meaning`);
  }
}

function assign(target: Result, value: Result, context: EvaluationContext): Result {
  if (target.place === undefined) {
    throw new UserError('The value cannot be changed', {
      expected: 'a register, memory in brackets or vmcs.FIELD on the left of =',
      found: target.symbol === undefined ? 'a value' : `the address of ${target.symbol}`,
      ...(target.symbol === undefined ? {} : { whatToDo: `write dword [${target.symbol}] for the memory there` }),
    });
  }
  const number = BigInt.asUintN(target.type.bits, integerOf(value));
  writePlace(target.place, number, context);
  return { ...target, value: number };
}

/** Writes a register, memory or a VMCS field. */
function writePlace(place: Place, value: bigint, context: EvaluationContext): void {
  const { vcpu } = context;
  if (place.kind === 'memory') {
    writeInteger(vcpu, place.space, place.address, place.lengthBytes, value);
    return;
  }
  const problem =
    place.kind === 'register' ? vcpu.writeRegister(place.name, value) : vcpu.writeVmcs(place.field, value);
  if (problem !== undefined) {
    throw new UserError(`${place.kind === 'register' ? place.name : place.field} cannot be set`, { found: problem });
  }
}
