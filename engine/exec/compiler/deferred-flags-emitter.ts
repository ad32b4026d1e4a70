/** Emits flags of compiled code: sets them by remembering operands, and answers conditions from these. */
import type { Expr } from '../../expr/expr.ts';
import type { OperandWidth } from '../../isa/operand.ts';
import type { FlagsCommit, StatusFlag } from '../../isa/operation.ts';
import { I32, I64, op } from '../../wasm/encoder.ts';
import { definiteValues } from '../flags-emitter.ts';
import { OperationEmitter } from '../operation-emitter.ts';
import { SharedFunction } from '../shared-functions.ts';
import { valueType } from '../value-types.ts';
import { deferrable, kindNumber, WORDS_KIND } from './deferred-flags.ts';
import { CARRIED, DEAD, type Deferred, type FlagState, localsOf, type Relation, relationOf } from './flag-state.ts';

interface Words {
  readonly aux: number;
  readonly result: number;
}

export abstract class DeferredFlagsEmitter extends OperationEmitter {
  protected flags: FlagState = CARRIED;
  /** Whether anybody may look at the flags that the instruction under way leaves. */
  protected flagsAreLive = true;
  /** What flags travel in across blocks. */
  protected readonly carried = { kind: this.body.local(I32), a: this.body.local(I64), b: this.body.local(I64) };
  /** Where the words that are being computed go. */
  #target: Words | undefined;

  /** The condition under which flags change, if that is known already: the count of a shift is often a constant. */
  protected abstract knownCondition(condition: Expr<1>): boolean | undefined;

  // ---- setting -----------------------------------------------------------------------------------------------------

  protected override commitFlags(flags: FlagsCommit): void {
    const known = flags.condition && this.knownCondition(flags.condition);
    if (known === false) return;
    if (!this.flagsAreLive) {
      this.flags = DEAD;
      return;
    }
    const condition = known ? undefined : flags.condition;
    const source = !condition && flags.arithmetic ? deferrable(flags.arithmetic) : undefined;
    if (source) this.#defer(source);
    else this.#compute({ ...flags, condition });
  }

  #defer({ kind, a, b }: NonNullable<ReturnType<typeof deferrable>>): void {
    const state: Deferred = { kind, width: a.width as OperandWidth, a: this.#captured(a), b: this.#captured(b) };
    this.flags = state;
  }
  /** A local of its own: where the expression is a register, that may change. */
  #captured(expr: Expr): number {
    const local = this.body.local(valueType(expr.width));
    this.emit(expr);
    this.body.set(local);
    return local;
  }

  #compute(flags: FlagsCommit): void {
    const { SF, ZF, PF } = definiteValues(flags);
    const keepsResult = flags.condition !== undefined || !(SF || ZF || PF);
    const old = keepsResult ? this.#words() : undefined;
    const target = { aux: this.body.local(I64), result: this.body.local(I64) };
    if (old) {
      this.body.get(old.aux).set(target.aux);
      this.body.get(old.result).set(target.result);
      this.flags = { kind: 'words', ...target };
    }
    this.#target = target;
    super.commitFlags(flags);
    this.#target = undefined;
    this.flags = { kind: 'words', ...target };
  }

  protected override storeFlagsResult(emitValue: () => void): void {
    emitValue();
    this.body.set((this.#target as Words).result);
  }
  protected override storeFlagsAux(emitValue: () => void): void {
    emitValue();
    this.body.set((this.#target as Words).aux);
  }

  // ---- reading -----------------------------------------------------------------------------------------------------

  protected override emitFlagsResult(): void {
    this.body.get(this.#words().result);
  }
  protected override emitFlagsAux(): void {
    this.body.get(this.#words().aux);
  }

  /** The two words, in locals from here on. */
  #words(): Words {
    const { body, flags: state } = this;
    if (state.kind === 'words') return state;
    const words = { aux: body.local(I64), result: body.local(I64) };
    for (const [call, local] of [
      [SharedFunction.deferredAux, words.aux],
      [SharedFunction.deferredResult, words.result],
    ] as const) {
      this.#pushCarried(state);
      body.call(call).set(local);
    }
    this.flags = { kind: 'words', ...words };
    return words;
  }

  /** Pushes kind, a and b. */
  #pushCarried(state: FlagState): void {
    const { body, carried } = this;
    if (state.kind === 'dead') throw new Error('flags are used that nobody was to look at');
    if (state.kind === 'carried') {
      body.get(carried.kind).get(carried.a).get(carried.b);
      return;
    }
    const [kind, a, b] =
      state.kind === 'words'
        ? [WORDS_KIND, state.aux, state.result]
        : [kindNumber(state.kind, state.width), state.a, state.b];
    body.i32(kind);
    for (const local of [a, b]) {
      body.get(local);
      if (body.typeOf(local) === I32) body.emit(op.i64ExtendI32U);
    }
  }

  /** Pushes what the flags are made of: kind, a and b. What is dead need not be right, but must be something. */
  protected pushFlags(): void {
    if (this.flags.kind === 'dead') this.body.i32(WORDS_KIND).i64(0n).i64(0n);
    else this.#pushCarried(this.flags);
  }

  /** Puts flags where they travel across blocks. */
  protected carryFlags(): void {
    const { body, carried, flags } = this;
    if (flags.kind === 'carried') return;
    // What is dead need not be right, but must be something.
    if (flags.kind === 'dead') return;
    this.#pushCarried(flags);
    body.set(carried.b).set(carried.a).set(carried.kind);
  }

  protected override emitFlag(flag: StatusFlag): void {
    const { flags } = this;
    if (flags.kind === 'subtraction') this.#subtractionFlag(flags, flag);
    else if (flags.kind === 'addition') this.#additionFlag(flags, flag);
    else if (flags.kind === 'logic') this.#logicFlag(flags, flag);
    else super.emitFlag(flag);
  }

  override emit(expr: Expr): void {
    const relation = this.isDeferred(this.flags) ? relationOf(expr) : undefined;
    if (relation) this.#emitRelation(this.flags as Deferred, relation);
    else super.emit(expr);
  }

  protected isDeferred(state: FlagState): state is Deferred {
    return state.kind === 'subtraction' || state.kind === 'logic';
  }

  #emitRelation(state: Deferred, relation: Relation): void {
    const { body } = this;
    const signed = relation !== 'belowOrEqual';
    this.#operand(state.a, state.width, signed);
    if (state.kind === 'subtraction') this.#operand(state.b, state.width, signed);
    else if (state.width === 64) body.i64(0n);
    else body.i32(0);
    body.emit(relationOpcode[relation][state.width === 64 ? 0 : 1]);
  }

  #operand(local: number, width: OperandWidth, signed: boolean): void {
    const { body } = this;
    body.get(local);
    if (signed && width === 8) body.emit(op.i32Extend8S);
    else if (signed && width === 16) body.emit(op.i32Extend16S);
  }

  #subtractionFlag({ width, a, b }: Deferred, flag: StatusFlag): void {
    const { body } = this;
    const code = opcodes(width);
    const difference = (): void => this.#masked(width, () => body.get(a).get(b).emit(code.sub));
    if (flag === 'ZF') body.get(a).get(b).emit(code.eq);
    else if (flag === 'CF') body.get(a).get(b).emit(code.ltU);
    else if (flag === 'SF') this.#bit(width, difference, width - 1);
    else if (flag === 'PF') this.#parity(width, difference);
    else if (flag === 'AF') this.#auxiliary(width, a, b, difference);
    else {
      const signs = () => {
        body.get(a).get(b).emit(code.xor).get(a);
        difference();
        body.emit(code.xor, code.and);
      };
      this.#bit(width, signs, width - 1);
    }
  }

  #additionFlag({ width, a, b }: Deferred, flag: StatusFlag): void {
    const { body } = this;
    const code = opcodes(width);
    const sum = (): void => this.#masked(width, () => body.get(a).get(b).emit(code.add));
    if (flag === 'SF') this.#bit(width, sum, width - 1);
    else if (flag === 'PF') this.#parity(width, sum);
    else if (flag === 'AF') this.#auxiliary(width, a, b, sum);
    else if (flag === 'ZF') {
      sum();
      body.emit(code.eqz);
    } else if (flag === 'CF') {
      // a + b is beyond the width; b is often a constant, and the sum not at hand yet.
      this.#masked(width, () => this.#inverted(b));
      body.get(a).emit(code.ltU);
    } else {
      const signs = () => {
        body.get(a);
        sum();
        body.emit(code.xor).get(b);
        sum();
        body.emit(code.xor, code.and);
      };
      this.#bit(width, signs, width - 1);
    }
  }

  #inverted(local: number): void {
    const body = this.body.get(local);
    if (body.typeOf(local) === I64) body.i64(-1n).emit(op.i64Xor);
    else body.i32(-1).emit(op.i32Xor);
  }

  #logicFlag({ width, a }: Deferred, flag: StatusFlag): void {
    const { body } = this;
    const result = () => void body.get(a);
    if (flag === 'ZF') body.get(a).emit(opcodes(width).eqz);
    else if (flag === 'SF') this.#bit(width, result, width - 1);
    else if (flag === 'PF') this.#parity(width, result);
    else body.i32(0);
  }

  #masked(width: OperandWidth, emitValue: () => void): void {
    emitValue();
    if (width < 32) this.body.i32(2 ** width - 1).emit(op.i32And);
  }
  /** Pushes a bit of what is pushed, which has no other bits above. */
  #bit(width: OperandWidth, emitValue: () => void, index: number): void {
    const { body } = this;
    emitValue();
    if (width === 64) body.i64(BigInt(index)).emit(op.i64ShrU, op.i32WrapI64);
    else body.i32(index).emit(op.i32ShrU);
    body.i32(1).emit(op.i32And);
  }
  #parity(width: OperandWidth, emitValue: () => void): void {
    emitValue();
    const { body } = this;
    if (width === 64) body.emit(op.i32WrapI64);
    body.i32(0xff).emit(op.i32And, op.i32Popcnt).i32(1).emit(op.i32And).i32(1).emit(op.i32Xor);
  }
  /** The carry into bit 4 is the one out of bit 3. */
  #auxiliary(width: OperandWidth, a: number, b: number, emitResult: () => void): void {
    const { body } = this;
    const code = opcodes(width);
    const carries = () => {
      body.get(a).get(b).emit(code.xor);
      emitResult();
      body.emit(code.xor);
    };
    this.#bit(width, carries, 4);
  }

  /** Locals that the state of the flags needs. */
  protected flagLocals(): number[] {
    return localsOf(this.flags);
  }
}

const narrow = {
  add: op.i32Add,
  sub: op.i32Sub,
  and: op.i32And,
  xor: op.i32Xor,
  eq: op.i32Eq,
  eqz: op.i32Eqz,
  ltU: op.i32LtU,
};
const wide = {
  add: op.i64Add,
  sub: op.i64Sub,
  and: op.i64And,
  xor: op.i64Xor,
  eq: op.i64Eq,
  eqz: op.i64Eqz,
  ltU: op.i64LtU,
};
const opcodes = (width: OperandWidth) => (width === 64 ? wide : narrow);

const relationOpcode: Readonly<Record<Relation, readonly [number, number]>> = {
  less: [op.i64LtS, op.i32LtS],
  lessOrEqual: [op.i64LeS, op.i32LeS],
  belowOrEqual: [op.i64LeU, op.i32LeU],
};
