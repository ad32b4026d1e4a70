/**
 * Width-typed expressions: the values that an instruction computes, as a directed acyclic graph. The interpreter, the
 * compiler, the oracle and the printer are four readings of the same graph, so nothing here evaluates anything.
 *
 * An expression is a bit vector of its width. Shifts are those of mathematics (bits beyond the width are lost, `sar`
 * fills with the sign) for counts of 0 to 31 in widths up to 32, and of 0 to 63 in width 64; rotates take their count
 * modulo the width. Comparisons give width 1.
 *
 * Of vectors (width 128) there are AND, OR, XOR, NOT, comparisons for (in)equality, `ite`, extension and truncation, and the
 * lane operations of vector-operations.ts.
 */
import type { CallSite, PureFunction, Shortcut } from './pure-function.ts';
import { type VectorOp, vectorOperations } from './vector-operations.ts';

export type Width = 1 | 8 | 16 | 32 | 64 | 128;

export type UnaryOp = 'not' | 'neg' | 'clz' | 'ctz' | 'popcnt' | 'bswap' | 'parity' | 'zext' | 'sext' | 'trunc';
export type BinaryOp =
  | 'add'
  | 'sub'
  | 'mul'
  | 'and'
  | 'or'
  | 'xor'
  | 'shl'
  | 'shr'
  | 'sar'
  | 'rotl'
  | 'rotr'
  | 'divu'
  | 'remu'
  | 'mulhu'
  | 'mulhs';
export type CompareOp = 'eq' | 'ne' | 'ltu' | 'leu' | 'lts' | 'les';

/** What an expression is made of. `temp` is a value read from the machine; see isa/operation.ts for the sources. */
export type Node =
  | { readonly kind: 'const'; readonly value: bigint }
  | { readonly kind: 'temp'; readonly temp: unknown }
  | { readonly kind: 'unary'; readonly op: UnaryOp; readonly a: Expr }
  | { readonly kind: 'binary'; readonly op: BinaryOp; readonly a: Expr; readonly b: Expr }
  | { readonly kind: 'compare'; readonly op: CompareOp; readonly a: Expr; readonly b: Expr }
  | { readonly kind: 'ite'; readonly condition: Expr; readonly a: Expr; readonly b: Expr }
  /** Quotient of the 128-bit high:low by divisor, where high < divisor (unsigned). */
  | { readonly kind: 'divu128'; readonly high: Expr; readonly low: Expr; readonly divisor: Expr }
  | VectorNode
  /** One of the results of a function. */
  | { readonly kind: 'call'; readonly site: CallSite; readonly result: number };

/** An operation of vector-operations.ts. */
export interface VectorNode {
  readonly kind: 'vector';
  readonly op: VectorOp;
  readonly args: readonly Expr[];
  readonly immediates: readonly number[];
}

export class Expr<W extends Width = Width> {
  readonly width: W;
  readonly node: Node;

  constructor(width: W, node: Node) {
    this.width = width;
    this.node = node;
  }

  add(b: Expr<W>): Expr<W> {
    return this.#binary('add', b);
  }
  sub(b: Expr<W>): Expr<W> {
    return this.#binary('sub', b);
  }
  /** Low half of the product. */
  mul(b: Expr<W>): Expr<W> {
    return this.#binary('mul', b);
  }
  /** High half of the unsigned product. */
  mulHighUnsigned(b: Expr<W>): Expr<W> {
    return this.#binary('mulhu', b);
  }
  /** High half of the signed product. */
  mulHighSigned(b: Expr<W>): Expr<W> {
    return this.#binary('mulhs', b);
  }
  and(b: Expr<W>): Expr<W> {
    return this.#binary('and', b);
  }
  or(b: Expr<W>): Expr<W> {
    return this.#binary('or', b);
  }
  xor(b: Expr<W>): Expr<W> {
    return this.#binary('xor', b);
  }
  shl(count: Expr<W>): Expr<W> {
    return this.#binary('shl', count);
  }
  shr(count: Expr<W>): Expr<W> {
    return this.#binary('shr', count);
  }
  sar(count: Expr<W>): Expr<W> {
    return this.#binary('sar', count);
  }
  rotl(count: Expr<W>): Expr<W> {
    return this.#binary('rotl', count);
  }
  rotr(count: Expr<W>): Expr<W> {
    return this.#binary('rotr', count);
  }
  /** Unsigned quotient; the divisor must have been checked not to be 0. */
  divu(b: Expr<W>): Expr<W> {
    return this.#binary('divu', b);
  }
  /** Unsigned remainder; the divisor must have been checked not to be 0. */
  remu(b: Expr<W>): Expr<W> {
    return this.#binary('remu', b);
  }
  not(): Expr<W> {
    return this.#unary('not');
  }
  neg(): Expr<W> {
    return this.#unary('neg');
  }
  /** Number of zero bits above the highest one; the width if there is none. */
  clz(): Expr<W> {
    return this.#unary('clz');
  }
  /** Number of zero bits below the lowest one; the width if there is none. */
  ctz(): Expr<W> {
    return this.#unary('ctz');
  }
  popcnt(): Expr<W> {
    return this.#unary('popcnt');
  }
  bswap(): Expr<W> {
    return this.#unary('bswap');
  }

  eq(b: Expr<W>): Expr<1> {
    return this.#compare('eq', b);
  }
  ne(b: Expr<W>): Expr<1> {
    return this.#compare('ne', b);
  }
  ltu(b: Expr<W>): Expr<1> {
    return this.#compare('ltu', b);
  }
  leu(b: Expr<W>): Expr<1> {
    return this.#compare('leu', b);
  }
  lts(b: Expr<W>): Expr<1> {
    return this.#compare('lts', b);
  }
  les(b: Expr<W>): Expr<1> {
    return this.#compare('les', b);
  }
  isZero(): Expr<1> {
    return this.eq(constant(this.width, 0));
  }

  /** Even parity of the low byte: 1 if it has an even number of ones. */
  parityOfLowByte(): Expr<1> {
    return new Expr(1, { kind: 'unary', op: 'parity', a: this });
  }
  bit(index: number): Expr<1> {
    return this.shr(constant(this.width, index)).truncate(1);
  }
  msb(): Expr<1> {
    return this.bit(this.width - 1);
  }
  truncate<V extends Width>(width: V): Expr<V> {
    return this.#resize('trunc', width, this.width > width);
  }
  zeroExtend<V extends Width>(width: V): Expr<V> {
    return this.#resize('zext', width, this.width < width);
  }
  signExtend<V extends Width>(width: V): Expr<V> {
    return this.#resize('sext', width, this.width < width);
  }

  #unary(op: UnaryOp): Expr<W> {
    return new Expr(this.width, { kind: 'unary', op, a: this });
  }
  #binary(op: BinaryOp, b: Expr<W>): Expr<W> {
    checkSameWidth(op, this, b);
    return new Expr(this.width, { kind: 'binary', op, a: this, b });
  }
  #compare(op: CompareOp, b: Expr<W>): Expr<1> {
    checkSameWidth(op, this, b);
    return new Expr(1, { kind: 'compare', op, a: this, b });
  }
  #resize<V extends Width>(op: UnaryOp, width: V, changes: boolean): Expr<V> {
    if ((width as Width) === this.width) return this as unknown as Expr<V>;
    if (!changes) throw new Error(`${op} from width ${this.width} to ${width}`);
    return new Expr(width, { kind: 'unary', op, a: this });
  }
}

function checkSameWidth(op: string, a: Expr, b: Expr): void {
  if (a.width !== b.width) throw new Error(`${op} of widths ${a.width} and ${b.width}`);
}

const constants = new Map<string, Expr>();

/** A constant; the value is taken modulo 2^width. */
export function constant<W extends Width>(width: W, value: number | bigint): Expr<W> {
  const bits = BigInt.asUintN(width, BigInt(value));
  const key = `${width}:${bits}`;
  let found = constants.get(key);
  if (!found) constants.set(key, (found = new Expr<Width>(width, { kind: 'const', value: bits })));
  return found as Expr<W>;
}

export function ite<W extends Width>(condition: Expr<1>, a: Expr<W>, b: Expr<W>): Expr<W> {
  checkSameWidth('ite', a, b);
  return new Expr(a.width, { kind: 'ite', condition, a, b });
}

/** Quotient of the unsigned 128-bit number high:low by the divisor; high < divisor must have been checked. */
export function divideUnsigned128(high: Expr<64>, low: Expr<64>, divisor: Expr<64>): Expr<64> {
  return new Expr(64, { kind: 'divu128', high, low, divisor });
}

/** An operation on vectors; the type of the result is for the caller to state. */
export function vector<W extends Width = 128>(op: VectorOp, args: readonly Expr[], immediates: number[] = []): Expr<W> {
  const row = vectorOperations[op];
  const widths = args.map(({ width }) => width);
  if (widths.join() !== row.arguments.join()) throw new Error(`${op} of widths ${widths.join()}`);
  return new Expr(row.result as W, { kind: 'vector', op, args, immediates });
}

/** The vector of two halves. */
export function concatenate(low: Expr<64>, high: Expr<64>): Expr<128> {
  return vector('i64x2.replace_lane', [vector('i64x2.splat', [low]), high], [1]);
}

/** The results of a function, in its order. The same call gives the same nodes, so that it is made once. */
export function call(of: PureFunction, args: readonly Expr[], shortcut?: Shortcut): Expr[] {
  const widths = args.map(({ width }) => width);
  if (widths.join() !== of.parameters.join()) throw new Error(`${of.name} of widths ${widths.join()}`);
  if (shortcut && shortcut.values.map(({ width }) => width).join() !== of.results.join())
    throw new Error(`a shortcut of ${of.name} of widths ${shortcut.values.map(({ width }) => width).join()}`);
  const site: CallSite = { function: of, args, shortcut };
  return of.results.map((width, result) => new Expr(width, { kind: 'call', site, result }));
}

/** What an expression is made of directly, shortcuts of calls left out. */
export function children(expr: Expr): readonly Expr[] {
  const { node } = expr;
  switch (node.kind) {
    case 'const':
    case 'temp':
      return [];
    case 'unary':
      return [node.a];
    case 'binary':
    case 'compare':
      return [node.a, node.b];
    case 'ite':
      return [node.condition, node.a, node.b];
    case 'divu128':
      return [node.high, node.low, node.divisor];
    case 'vector':
      return node.args;
    case 'call':
      return node.site.args;
  }
}
