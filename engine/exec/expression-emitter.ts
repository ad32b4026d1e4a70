/**
 * Emits WebAssembly for expressions. Values of width 1 to 32 are i32, zero-extended; values of width 64 are i64, vectors v128.
 * A node that is used more than once is evaluated once and kept in a local. Leaves come from the subclass.
 */
import { type BinaryOp, type CompareOp, children, type Expr, type UnaryOp, type Width } from '../expr/expr.ts';
import type { CallSite, Shortcut } from '../expr/pure-function.ts';
import { type FunctionBody, I32, I64, op } from '../wasm/encoder.ts';
import { SharedFunction } from './shared-functions.ts';
import { valueType } from './value-types.ts';
import { emitCall, emitVector, emitVectorBinary, emitVectorCompare, emitVectorUnary } from './vector-emitter.ts';

export abstract class ExpressionEmitter {
  readonly body: FunctionBody;
  readonly #uses = new Map<Expr, number>();
  #locals = new Map<Expr, number>();
  #callResults = new Map<CallSite, readonly number[]>();
  readonly #emit = (expr: Expr): void => this.emit(expr);

  constructor(body: FunctionBody) {
    this.body = body;
  }

  /** Pushes the value of a temp. */
  protected abstract emitTemp(expr: Expr, temp: unknown): void;

  /** Counts the uses of a root about to be emitted: those used more than once get a local. */
  protected countUses(root: Expr | undefined): void {
    if (!root) return;
    const uses = (this.#uses.get(root) ?? 0) + 1;
    this.#uses.set(root, uses);
    if (uses > 1) return;
    for (const child of children(root)) this.countUses(child);
    const shortcut = root.node.kind === 'call' ? root.node.site.shortcut : undefined;
    for (const expr of shortcut ? [shortcut.condition, ...shortcut.values] : []) this.countUses(expr);
  }

  /** The expression's value is in this local from here on. */
  protected bind(expr: Expr, local: number): void {
    this.#locals.set(expr, local);
  }
  /** Values first evaluated inside are not remembered outside: the code may not have run. */
  protected scoped(emit: () => void): void {
    const outer = { locals: this.#locals, callResults: this.#callResults };
    this.#locals = new Map(outer.locals);
    this.#callResults = new Map(outer.callResults);
    emit();
    this.#locals = outer.locals;
    this.#callResults = outer.callResults;
  }
  /** Forgets all values kept in locals. */
  protected forgetValues(): void {
    this.#locals.clear();
    this.#callResults.clear();
    this.#uses.clear();
  }

  /** Pushes the value of an expression. */
  emit(expr: Expr): void {
    const known = this.#locals.get(expr);
    if (known !== undefined) {
      this.body.get(known);
      return;
    }
    this.#compute(expr);
    if ((this.#uses.get(expr) ?? 0) > 1 && expr.node.kind !== 'const') {
      const local = this.body.local(valueType(expr.width));
      this.body.tee(local);
      this.#locals.set(expr, local);
    }
  }

  /** Evaluates into a local and returns it. */
  emitToLocal(expr: Expr): number {
    const known = this.#locals.get(expr);
    if (known !== undefined) return known;
    this.emit(expr);
    const local = this.body.local(valueType(expr.width));
    this.body.set(local);
    this.#locals.set(expr, local);
    return local;
  }

  #compute(expr: Expr): void {
    const { node, width, body } = { node: expr.node, width: expr.width, body: this.body };
    switch (node.kind) {
      case 'const':
        if (width === 128) body.v128(node.value);
        else if (width === 64) body.i64(node.value);
        else body.i32(Number(node.value));
        return;
      case 'temp':
        this.emitTemp(expr, node.temp);
        return;
      case 'unary':
        this.#unary(node.op, node.a, width);
        return;
      case 'binary':
        this.#binary(node.op, node.a, node.b, width);
        return;
      case 'compare':
        this.#compare(node.op, node.a, node.b);
        return;
      case 'ite':
        this.#ite(node.condition, node.a, node.b);
        return;
      case 'divu128':
        this.emit(node.high);
        this.emit(node.low);
        this.emit(node.divisor);
        body.call(SharedFunction.divideUnsigned128);
        return;
      case 'vector':
        emitVector(body, node, this.#emit);
        return;
      case 'call':
        body.get(this.#results(node.site)[node.result] as number);
        return;
    }
  }

  /** Both values are computed and one is selected, unless one needs a call, which is made only if its value is wanted. */
  #ite(condition: Expr, a: Expr, b: Expr): void {
    const { body } = this;
    if (needsCall(a) || needsCall(b)) {
      this.emit(condition);
      body.if(valueType(a.width));
      this.scoped(() => this.emit(a));
      body.else();
      this.scoped(() => this.emit(b));
      body.end();
      return;
    }
    this.emit(a);
    this.emit(b);
    this.emit(condition);
    body.emit(op.select);
  }

  /** Locals with the results of a call, which is made the first time. */
  #results(site: CallSite): readonly number[] {
    let locals = this.#callResults.get(site);
    if (!locals) {
      locals = site.shortcut ? this.#callOrShortcut(site, site.shortcut) : emitCall(this.body, site, this.#emit);
      this.#callResults.set(site, locals);
    }
    return locals;
  }
  #callOrShortcut(site: CallSite, { condition, values }: Shortcut): readonly number[] {
    const { body } = this;
    // Needed either way; first evaluated in a branch they would be evaluated again in the other.
    for (const arg of site.args) this.emitToLocal(arg);
    this.emit(condition);
    const locals = values.map(({ width }) => body.local(valueType(width)));
    body.if();
    this.scoped(() => {
      for (const value of values) this.emit(value);
    });
    for (const local of [...locals].reverse()) body.set(local);
    body.else();
    this.scoped(() => {
      for (const result of emitCall(body, site, this.#emit)) body.get(result);
    });
    for (const local of [...locals].reverse()) body.set(local);
    body.end();
    return locals;
  }

  /** Cuts an i32 on the stack to the width. */
  #mask(width: Width): void {
    if (width < 32) this.body.i32(2 ** width - 1).emit(op.i32And);
  }
  /** Pushes a value of width 8, 16 or 32 sign-extended to i32. */
  #emitSigned(expr: Expr): void {
    this.emit(expr);
    if (expr.width === 8) this.body.emit(op.i32Extend8S);
    else if (expr.width === 16) this.body.emit(op.i32Extend16S);
    else if (expr.width === 1) this.body.i32(31).emit(op.i32Shl).i32(31).emit(op.i32ShrS);
  }

  #unary(operator: UnaryOp, a: Expr, width: Width): void {
    const { body } = this;
    if (width === 128 || a.width === 128) return emitVectorUnary(body, operator, a, width, this.#emit);
    switch (operator) {
      case 'not':
        this.emit(a);
        if (width === 64) body.i64(-1n).emit(op.i64Xor);
        else if (width === 1) body.emit(op.i32Eqz);
        else body.i32(width === 32 ? -1 : 2 ** width - 1).emit(op.i32Xor);
        return;
      case 'neg':
        if (width === 64) body.i64(0n);
        else body.i32(0);
        this.emit(a);
        body.emit(width === 64 ? op.i64Sub : op.i32Sub);
        this.#mask(width);
        return;
      case 'clz':
        this.emit(a);
        body.emit(width === 64 ? op.i64Clz : op.i32Clz);
        if (width < 32) body.i32(32 - width).emit(op.i32Sub);
        return;
      case 'ctz':
        this.emit(a);
        if (width < 32) body.i32(2 ** width).emit(op.i32Or);
        body.emit(width === 64 ? op.i64Ctz : op.i32Ctz);
        return;
      case 'popcnt':
        this.emit(a);
        body.emit(width === 64 ? op.i64Popcnt : op.i32Popcnt);
        return;
      case 'bswap':
        this.#byteSwap(a, width);
        return;
      case 'parity':
        this.emit(a);
        if (a.width === 64) body.emit(op.i32WrapI64);
        body.i32(0xff).emit(op.i32And, op.i32Popcnt).i32(1).emit(op.i32And).i32(1).emit(op.i32Xor);
        return;
      case 'zext':
        this.emit(a);
        if (width === 64) body.emit(op.i64ExtendI32U);
        return;
      case 'sext':
        this.#emitSigned(a);
        if (width === 64) body.emit(op.i64ExtendI32S);
        else this.#mask(width);
        return;
      case 'trunc':
        this.emit(a);
        if (a.width === 64) body.emit(op.i32WrapI64);
        this.#mask(width);
        return;
    }
  }

  #byteSwap(a: Expr, width: Width): void {
    const { body } = this;
    const local = this.emitToLocal(a);
    if (width === 64) {
      // Swap neighbouring bytes, then neighbouring 16-bit pieces, then the halves.
      const swap = (shift: bigint, mask: bigint, value: number): void => {
        body.get(value).i64(shift).emit(op.i64ShrU).i64(mask).emit(op.i64And);
        body.get(value).i64(mask).emit(op.i64And).i64(shift).emit(op.i64Shl, op.i64Or);
      };
      const temporary = body.local(I64);
      swap(8n, 0x00ff00ff00ff00ffn, local);
      body.set(temporary);
      swap(16n, 0x0000ffff0000ffffn, temporary);
      body.i64(32n).emit(op.i64Rotl);
      return;
    }
    body.get(local).i32(8).emit(op.i32Rotl).i32(0x00ff00ff).emit(op.i32And);
    body.get(local).i32(8).emit(op.i32Rotr).i32(0xff00ff00).emit(op.i32And, op.i32Or);
    if (width === 16) body.i32(16).emit(op.i32ShrU);
  }

  #binary(operator: BinaryOp, a: Expr, b: Expr, width: Width): void {
    const { body } = this;
    if (width === 128) return emitVectorBinary(body, operator, a, b, this.#emit);
    const pair = (): void => {
      this.emit(a);
      this.emit(b);
    };
    const simple = (wide: number, narrow: number, mask: boolean): void => {
      pair();
      body.emit(width === 64 ? wide : narrow);
      if (mask) this.#mask(width);
    };
    switch (operator) {
      case 'add':
      case 'sub': {
        const [wide, narrow] = operator === 'add' ? [op.i64Add, op.i32Add] : [op.i64Sub, op.i32Sub];
        const carry = carryOf(b);
        if (carry) return this.#withCarry(a, carry, width === 64 ? wide : narrow, width);
        return simple(wide, narrow, true);
      }
      case 'mul':
        return simple(op.i64Mul, op.i32Mul, true);
      case 'and':
        return simple(op.i64And, op.i32And, false);
      case 'or':
        return simple(op.i64Or, op.i32Or, false);
      case 'xor':
        return simple(op.i64Xor, op.i32Xor, false);
      case 'shl':
        return simple(op.i64Shl, op.i32Shl, true);
      case 'shr':
        return simple(op.i64ShrU, op.i32ShrU, false);
      case 'sar':
        if (width === 64) this.emit(a);
        else this.#emitSigned(a);
        this.emit(b);
        body.emit(width === 64 ? op.i64ShrS : op.i32ShrS);
        this.#mask(width);
        return;
      case 'rotl':
      case 'rotr':
        this.#rotate(operator, a, b, width);
        return;
      case 'divu':
        return simple(op.i64DivU, op.i32DivU, false);
      case 'remu':
        return simple(op.i64RemU, op.i32RemU, false);
      case 'mulhu':
      case 'mulhs':
        this.#multiplyHigh(operator, a, b, width);
        return;
    }
  }

  /** One more or one less, if there is a carry: a choice of two values takes less time than a flag as a number of the width. */
  #withCarry(a: Expr, carry: Expr<1>, code: number, width: Width): void {
    const { body } = this;
    const local = this.emitToLocal(a);
    body.get(local);
    if (width === 64) body.i64(1n);
    else body.i32(1);
    body.emit(code).get(local);
    this.emit(carry);
    body.emit(op.select);
    this.#mask(width);
  }

  #rotate(operator: 'rotl' | 'rotr', a: Expr, b: Expr, width: Width): void {
    const { body } = this;
    if (width >= 32) {
      this.emit(a);
      this.emit(b);
      const [wide, narrow] = operator === 'rotl' ? [op.i64Rotl, op.i32Rotl] : [op.i64Rotr, op.i32Rotr];
      body.emit(width === 64 ? wide : narrow);
      return;
    }
    const [towards, away] = operator === 'rotl' ? [op.i32Shl, op.i32ShrU] : [op.i32ShrU, op.i32Shl];
    const value = this.emitToLocal(a);
    const count = body.local(I32);
    this.emit(b);
    body
      .i32(width - 1)
      .emit(op.i32And)
      .set(count);
    body.get(value).get(count).emit(towards);
    body.get(value).i32(width).get(count).emit(op.i32Sub, away, op.i32Or);
    this.#mask(width);
  }

  #multiplyHigh(operator: 'mulhu' | 'mulhs', a: Expr, b: Expr, width: Width): void {
    const { body } = this;
    const signed = operator === 'mulhs';
    if (width === 64) {
      this.emit(a);
      this.emit(b);
      body.call(signed ? SharedFunction.multiplyHighSigned : SharedFunction.multiplyHighUnsigned);
      return;
    }
    for (const factor of [a, b]) {
      if (signed) this.#emitSigned(factor);
      else this.emit(factor);
      body.emit(signed ? op.i64ExtendI32S : op.i64ExtendI32U);
    }
    body.emit(op.i64Mul).i64(BigInt(width)).emit(op.i64ShrU, op.i32WrapI64);
    this.#mask(width);
  }

  #compare(operator: CompareOp, a: Expr, b: Expr): void {
    const { body } = this;
    if (a.width === 128) return emitVectorCompare(body, operator, a, b, this.#emit);
    const wide = a.width === 64;
    if (operator === 'eq' && b.node.kind === 'const' && b.node.value === 0n) {
      this.emit(a);
      body.emit(wide ? op.i64Eqz : op.i32Eqz);
      return;
    }
    const signed = operator === 'lts' || operator === 'les';
    for (const side of [a, b]) {
      if (signed && !wide) this.#emitSigned(side);
      else this.emit(side);
    }
    body.emit(compareOpcodes[operator][wide ? 0 : 1]);
  }
}

/** The bit that an expression is, zero-extended. */
function carryOf({ node }: Expr): Expr<1> | undefined {
  return node.kind === 'unary' && node.op === 'zext' && node.a.width === 1 ? (node.a as Expr<1>) : undefined;
}

const withCall = new WeakMap<Expr, boolean>();
function needsCall(expr: Expr): boolean {
  let known = withCall.get(expr);
  if (known === undefined) {
    known = expr.node.kind === 'call' || children(expr).some(needsCall);
    withCall.set(expr, known);
  }
  return known;
}

const compareOpcodes: Readonly<Record<CompareOp, readonly [number, number]>> = {
  eq: [op.i64Eq, op.i32Eq],
  ne: [op.i64Ne, op.i32Ne],
  ltu: [op.i64LtU, op.i32LtU],
  leu: [op.i64LeU, op.i32LeU],
  lts: [op.i64LtS, op.i32LtS],
  les: [op.i64LeS, op.i32LeS],
};
