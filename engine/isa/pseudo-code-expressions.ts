/** Prints the expressions, places and addresses of an Operation. */
import {
  type BinaryOp,
  type CompareOp,
  children,
  constant,
  type Expr,
  type UnaryOp,
  type VectorNode,
} from '../expr/expr.ts';
import { vectorOperations } from '../expr/vector-operations.ts';
import type { AddressRef, Operation, RegisterRef, SegmentRef, Temp } from './operation.ts';

const binaryText: Readonly<Record<BinaryOp, string>> = {
  add: '+',
  sub: '-',
  mul: '*',
  and: 'AND',
  or: 'OR',
  xor: 'XOR',
  shl: '<<',
  shr: '>>',
  sar: '>> (signed)',
  rotl: 'rotated left by',
  rotr: 'rotated right by',
  divu: '/',
  remu: 'MOD',
  mulhu: '* (high half)',
  mulhs: '* (signed, high half)',
};

const compareText: Readonly<Record<CompareOp, readonly [holds: string, fails: string]>> = {
  eq: ['=', '≠'],
  ne: ['≠', '='],
  ltu: ['<', '≥'],
  leu: ['≤', '>'],
  lts: ['< (signed)', '≥ (signed)'],
  les: ['≤ (signed)', '> (signed)'],
};

const functionText: Readonly<Record<Exclude<UnaryOp, 'zext' | 'sext' | 'trunc' | 'not' | 'neg'>, string>> = {
  clz: 'LeadingZeros',
  ctz: 'TrailingZeros',
  popcnt: 'Ones',
  bswap: 'BytesReversed',
  parity: 'EvenParity',
};

const segmentNames = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];
const byteNames = ['AL', 'CL', 'DL', 'BL', 'SPL', 'BPL', 'SIL', 'DIL'];
const highNames = ['AH', 'CH', 'DH', 'BH'];
const wordNames = ['AX', 'CX', 'DX', 'BX', 'SP', 'BP', 'SI', 'DI'];
const prefixes: Readonly<Record<number, string>> = { 16: '', 32: 'E', 64: 'R' };
const UPPER_HALF = '[255:128]';
const upperHalf = constant(64, 16);
/** Of the results of a function. */
const RESULT_NAMES = ['', 'flags'];
const DIRECTION_FLAG_BIT = 10n;
/** With 0 on the right, these give their left side. */
const neutralZero: ReadonlySet<BinaryOp> = new Set(['add', 'sub', 'shl', 'shr']);

/** Values used more than once get a name: its definition is added to `lines` before the text that uses it is returned. */
export class ExpressionPrinter {
  readonly #operand: (position: number) => string;
  readonly #lines: string[];
  readonly #uses: Map<Expr, number>;
  readonly #names = new Map<Expr, string>();
  #named = 0;

  constructor(operation: Operation, operand: (position: number) => string, lines: string[]) {
    this.#operand = operand;
    this.#lines = lines;
    this.#uses = countUses(operation);
  }

  expression(expr: Expr): string {
    const known = this.#names.get(expr);
    if (known !== undefined) return known;
    const text = this.#print(expr);
    if ((this.#uses.get(expr) ?? 0) < 2 || isSimple(expr)) return text;
    const name = this.name(text);
    this.#names.set(expr, name);
    return name;
  }

  /** A name for a value. */
  name(text: string): string {
    this.#named++;
    const name = this.#named === 1 ? 'temp' : `temp${this.#named}`;
    this.#lines.push(`${name} := ${text}`);
    return name;
  }

  /** The expression as an operand of an operator. */
  part(expr: Expr): string {
    const text = this.expression(expr);
    return this.#isAtom(expr) ? text : `(${text})`;
  }

  /** What stands between IF and THEN. */
  condition(expr: Expr): string {
    const text = this.expression(expr);
    return text.startsWith('IF ') ? `(${text})` : text;
  }

  /** The opposite of a condition. */
  negated(condition: Expr): string {
    const { node } = condition;
    if (this.#names.has(condition)) return `NOT ${this.expression(condition)}`;
    if (node.kind === 'unary' && node.op === 'not') return this.expression(node.a);
    if (node.kind === 'compare') return `${this.part(node.a)} ${compareText[node.op][1]} ${this.part(node.b)}`;
    return `NOT ${this.part(condition)}`;
  }

  register(ref: RegisterRef): string {
    if (ref.kind === 'state') return ref.field.toUpperCase();
    if (ref.kind === 'vector') return `${ref.half === 0 ? 'X' : 'Y'}MM${ref.number}${ref.half === 0 ? '' : UPPER_HALF}`;
    if (ref.kind === 'operand') return this.#operand(ref.position) + (ref.half === 1 ? UPPER_HALF : '');
    const { number, high, width } = ref;
    if (high) return highNames[number] ?? '';
    return width === 8 ? (byteNames[number] ?? '') : `${prefixes[width]}${wordNames[number]}`;
  }

  address(ref: AddressRef): string {
    if (ref.kind === 'computed') return `${segmentName(ref.segment)}:[${this.expression(ref.offset)}]`;
    const text = this.#operand(ref.position);
    if (ref.plus === upperHalf) return text + UPPER_HALF;
    return ref.plus ? `[EffectiveAddress(${text}) + ${this.expression(ref.plus)}]` : text;
  }

  #isAtom(expr: Expr): boolean {
    const { node } = expr;
    if (this.#names.has(expr) || node.kind === 'const' || node.kind === 'temp') return true;
    if (node.kind !== 'unary' || node.op === 'not') return false;
    if (node.op === 'neg') return isSimple(node.a);
    return node.op === 'zext' || (node.op === 'trunc' && expr.width > 1) ? this.#isAtom(node.a) : true;
  }

  #print(expr: Expr): string {
    const { node } = expr;
    switch (node.kind) {
      case 'const':
        return numberText(node.value, expr.width);
      case 'temp':
        return this.#temp(node.temp as Temp);
      case 'unary':
        return this.#unary(node.op, node.a, expr.width);
      case 'binary':
        if (isZero(node.b) && neutralZero.has(node.op)) return this.expression(node.a);
        return `${this.part(node.a)} ${binaryText[node.op]} ${this.part(node.b)}`;
      case 'compare':
        return `${this.part(node.a)} ${compareText[node.op][0]} ${this.part(node.b)}`;
      case 'ite':
        return `IF ${this.condition(node.condition)} THEN ${this.part(node.a)} ELSE ${this.part(node.b)}`;
      case 'divu128':
        return `${this.part(node.high)}:${this.part(node.low)} / ${this.part(node.divisor)}`;
      case 'vector':
        return this.#vector(node);
      case 'call': {
        const { function: called, args } = node.site;
        const result = (called.resultNames ?? RESULT_NAMES)[node.result];
        return `${called.name}(${args.map((arg) => this.expression(arg)).join(', ')})${result && `.${result}`}`;
      }
    }
  }

  #vector({ op, args, immediates }: VectorNode): string {
    const texts = args.map((arg) => this.expression(arg));
    const { text } = vectorOperations[op];
    if (op.includes('extract_lane')) return `${text}(${texts[0]}, ${immediates[0]})`;
    return `${text}(${[...texts, ...(immediates.length > 1 ? [`[${immediates.join(' ')}]`] : immediates)].join(', ')})`;
  }

  #unary(op: UnaryOp, a: Expr, width: number): string {
    switch (op) {
      case 'not':
        return width === 1 ? this.negated(a) : `NOT ${this.part(a)}`;
      case 'neg':
        return `-${this.part(a)}`;
      case 'zext':
        return this.expression(a);
      case 'sext':
        return `SignExtend${width}(${this.expression(a)})`;
      case 'trunc':
        return this.#truncated(a, width);
      default:
        return `${functionText[op]}(${this.expression(a)})`;
    }
  }

  #truncated(a: Expr, width: number): string {
    const { node } = a;
    if (width > 1) return this.expression(a);
    const shift = node.kind === 'binary' && node.op === 'shr' && !this.#names.has(a) ? node : undefined;
    if (!shift) return `Bit(${this.expression(a)}, 0)`;
    const index = shift.b.node.kind === 'const' ? shift.b.node.value : undefined;
    if (index === DIRECTION_FLAG_BIT && isOtherFlags(shift.a)) return 'DF';
    return `Bit(${this.expression(shift.a)}, ${index ?? this.expression(shift.b)})`;
  }

  #temp({ source }: Temp): string {
    switch (source.kind) {
      case 'register':
        return this.register(source.register);
      case 'immediate':
        return this.#operand(source.position);
      case 'flag':
        return source.flag;
      case 'other-flags':
        return 'EFLAGS';
      case 'effective-address':
        return `EffectiveAddress(${this.#operand(source.position)})`;
      case 'next-ip':
        return 'NextRIP';
      case 'load':
        return this.address(source.statement.address);
    }
  }
}

const segmentName = (ref: SegmentRef): string => (ref.kind === 'operand' ? 'DS' : (segmentNames[ref.index] ?? ''));
const isZero = ({ node }: Expr): boolean => node.kind === 'const' && node.value === 0n;
const isOtherFlags = ({ node }: Expr): boolean =>
  node.kind === 'temp' && (node.temp as Temp).source.kind === 'other-flags';

/** Small numbers are decimal, others hexadecimal as the manual writes them. */
function numberText(value: bigint, width: number): string {
  if (width > 1 && value === BigInt.asUintN(width, -1n)) return '-1';
  if (value < 10n) return String(value);
  const digits = value.toString(16).toUpperCase();
  return `${/^[A-F]/.test(digits) ? '0' : ''}${digits}H`;
}

/** Without an operator: as short as a name. */
function isSimple(expr: Expr): boolean {
  const { node } = expr;
  if (node.kind === 'unary') return isSimple(node.a);
  return node.kind === 'const' || node.kind === 'temp';
}

function countUses(operation: Operation): Map<Expr, number> {
  const uses = new Map<Expr, number>();
  const visit = (expr: Expr): void => {
    const before = uses.get(expr) ?? 0;
    uses.set(expr, before + 1);
    if (before === 0) for (const child of children(expr)) visit(child);
  };
  for (const root of printedRoots(operation)) visit(root);
  return uses;
}

/** Everything of an Operation that is printed; of the flags of an addition, only its result. */
function printedRoots(operation: Operation): Expr[] {
  const { guard, reads, stores, commits, flags, directionFlag, transfer } = operation;
  const addresses = [...reads.filter((r) => r.kind !== 'raise'), ...stores].map((s) =>
    s.address.kind === 'operand' ? s.address.plus : s.address.offset,
  );
  const flagValues = flags?.partOf ? [flags.partOf.result] : Object.values(flags?.values ?? {});
  return [
    guard,
    ...reads.map((r) => (r.kind === 'raise' ? r.condition : undefined)),
    ...addresses,
    ...stores.map((s) => s.value),
    ...commits.map((c) => c.value),
    flags?.condition,
    ...flagValues.map((value) => ('undefined' in value ? undefined : value)),
    directionFlag,
    transfer?.kind === 'indirect' ? transfer.target : transfer?.condition,
  ].filter((root) => root !== undefined);
}
