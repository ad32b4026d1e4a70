/** The oracle: evaluates an expression with BigInt, by the definition of each operator and nothing else. */
import type { BinaryOp, CompareOp, Expr, UnaryOp, Width } from './expr.ts';
import { vectorOperations } from './vector-operations.ts';

/** Gives the value of a `temp`, as an unsigned bigint. */
export type TempValue = (temp: unknown) => bigint;

export function evaluate(expr: Expr, tempValue: TempValue, memo: Map<Expr, bigint> = new Map()): bigint {
  const known = memo.get(expr);
  if (known !== undefined) return known;
  const value = BigInt.asUintN(
    expr.width,
    compute(expr, (e) => evaluate(e, tempValue, memo), tempValue),
  );
  memo.set(expr, value);
  return value;
}

function compute(expr: Expr, value: (e: Expr) => bigint, tempValue: TempValue): bigint {
  const { node, width } = expr;
  switch (node.kind) {
    case 'const':
      return node.value;
    case 'temp':
      return tempValue(node.temp);
    case 'unary':
      return unary(node.op, value(node.a), node.a.width, width);
    case 'binary':
      return binary(node.op, value(node.a), value(node.b), width);
    case 'compare':
      return compare(node.op, value(node.a), value(node.b), node.a.width) ? 1n : 0n;
    case 'ite':
      return value(node.condition) ? value(node.a) : value(node.b);
    case 'divu128':
      return ((value(node.high) << 64n) | value(node.low)) / value(node.divisor);
    case 'vector':
      return vectorOperations[node.op].evaluate(node.args.map(value), node.immediates);
    case 'call':
      return node.site.function.evaluate(node.site.args.map(value))[node.result] ?? 0n;
  }
}

function unary(op: UnaryOp, a: bigint, from: Width, to: Width): bigint {
  switch (op) {
    case 'not':
      return ~a;
    case 'neg':
      return -a;
    case 'clz':
      return BigInt(from - a.toString(2).length + (a === 0n ? 1 : 0));
    case 'ctz': {
      let count = 0;
      while (count < from && !((a >> BigInt(count)) & 1n)) count++;
      return BigInt(count);
    }
    case 'popcnt':
      return BigInt(ones(a));
    case 'bswap': {
      let result = 0n;
      for (let i = 0; i < to; i += 8) result = (result << 8n) | ((a >> BigInt(i)) & 0xffn);
      return result;
    }
    case 'parity':
      return ones(a & 0xffn) % 2 === 0 ? 1n : 0n;
    case 'sext':
      return BigInt.asIntN(from, a);
    case 'zext':
    case 'trunc':
      return a;
  }
}

const ones = (a: bigint): number => [...a.toString(2)].filter((digit) => digit === '1').length;

function binary(op: BinaryOp, a: bigint, b: bigint, width: Width): bigint {
  const bits = BigInt(width);
  switch (op) {
    case 'add':
      return a + b;
    case 'sub':
      return a - b;
    case 'mul':
      return a * b;
    case 'and':
      return a & b;
    case 'or':
      return a | b;
    case 'xor':
      return a ^ b;
    case 'shl':
      return a << b;
    case 'shr':
      return a >> b;
    case 'sar':
      return BigInt.asIntN(width, a) >> b;
    case 'rotl':
      return (a << (b % bits)) | (a >> (bits - (b % bits)));
    case 'rotr':
      return (a >> (b % bits)) | (a << (bits - (b % bits)));
    case 'divu':
      return a / b;
    case 'remu':
      return a % b;
    case 'mulhu':
      return (a * b) >> bits;
    case 'mulhs':
      return (BigInt.asIntN(width, a) * BigInt.asIntN(width, b)) >> bits;
  }
}

function compare(op: CompareOp, a: bigint, b: bigint, width: Width): boolean {
  const signed = (x: bigint) => BigInt.asIntN(width, x);
  switch (op) {
    case 'eq':
      return a === b;
    case 'ne':
      return a !== b;
    case 'ltu':
      return a < b;
    case 'leu':
      return a <= b;
    case 'lts':
      return signed(a) < signed(b);
    case 'les':
      return signed(a) <= signed(b);
  }
}
