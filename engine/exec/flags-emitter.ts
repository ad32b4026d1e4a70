/** Emits the setting of flags, in their lazy form where they are those of an addition or of one result. */
import { constant, type Expr } from '../expr/expr.ts';
import type { FlagsCommit, StatusFlag } from '../isa/operation.ts';
import { I32, I64, op } from '../wasm/encoder.ts';
import { OperandEmitter } from './operand-emitter.ts';

export abstract class FlagsEmitter extends OperandEmitter {
  protected commitFlags(flags: FlagsCommit): void {
    if (!flags.condition) return this.#flagValues(flags);
    this.emit(flags.condition);
    this.body.if();
    this.scoped(() => this.#flagValues(flags));
    this.body.end();
  }

  #flagValues(flags: FlagsCommit): void {
    if (flags.arithmetic) return this.#arithmeticFlags(flags.arithmetic.result, flags.arithmetic.carries);
    const values = definiteValues(flags);
    const shared = sharedResult(values);
    if (shared) return this.#flagsOfResult(shared, values);
    if (values.SF || values.ZF || values.PF) return this.#allFlags(values);
    this.#carryFlags(values);
  }

  #arithmeticFlags(result: Expr, carries: Expr): void {
    const { body } = this;
    this.storeFlagsResult(() => this.#emitExtended(result));
    this.storeFlagsAux(() => {
      if (carries.width === 64) {
        this.emit(carries);
        body.i64(0xffff_ffff_0000_0008n).emit(op.i64And);
        return;
      }
      const vector = this.emitToLocal(carries);
      body
        .get(vector)
        .emit(op.i64ExtendI32U)
        .i64(BigInt(64 - carries.width))
        .emit(op.i64Shl);
      body.get(vector).i32(8).emit(op.i32And, op.i64ExtendI32U, op.i64Or);
    });
  }

  #emitExtended(value: Expr): void {
    this.emit(value.width === 64 ? value : value.signExtend(64));
  }

  /** SF, ZF and PF are those of one result; the others are given or keep their value. */
  #flagsOfResult(result: Expr, values: Values): void {
    const aux = this.body.local(I64);
    this.#emitAux(values);
    this.body.set(aux);
    this.storeFlagsResult(() => this.#emitExtended(result));
    this.storeFlagsAux(() => this.body.get(aux));
    this.body.release(I64, aux);
  }

  /** CF, OF and AF change; SF, ZF and PF and their corrections stay. */
  #carryFlags(values: Values): void {
    const { body } = this;
    const aux = body.local(I64);
    this.#emitAux(values);
    this.emitFlagsAux();
    body.i64(0xff01n).emit(op.i64And, op.i64Or).set(aux);
    this.storeFlagsAux(() => body.get(aux));
    body.release(I64, aux);
  }

  /** Any combination: the result becomes ZF's witness, SF and PF go to the corrections. */
  #allFlags(values: Values): void {
    const { body } = this;
    const [zf, aux] = [body.local(I32), body.local(I64)];
    this.#emitFlagOr(values.ZF, 'ZF');
    body.set(zf);
    this.#emitAux(values);
    this.#emitFlagOr(values.SF, 'SF');
    body.emit(op.i64ExtendI32U, op.i64Or);
    this.#emitFlagOr(values.PF, 'PF');
    body.get(zf).emit(op.i32Xor, op.i64ExtendI32U).i64(8n).emit(op.i64Shl, op.i64Or).set(aux);
    this.storeFlagsResult(() => body.get(zf).i32(1).emit(op.i32Xor, op.i64ExtendI32U));
    this.storeFlagsAux(() => body.get(aux));
    body.release(I32, zf);
    body.release(I64, aux);
  }

  /** Pushes CF<<63 | (CF^OF)<<62 | AF<<3. */
  #emitAux(values: Values): void {
    const { body } = this;
    const cf = body.local(I64);
    this.#emitFlagOr(values.CF, 'CF');
    body.emit(op.i64ExtendI32U).tee(cf).i64(63n).emit(op.i64Shl);
    this.#emitFlagOr(values.OF, 'OF');
    body.emit(op.i64ExtendI32U).get(cf).emit(op.i64Xor).i64(62n).emit(op.i64Shl, op.i64Or);
    this.#emitFlagOr(values.AF, 'AF');
    body.emit(op.i64ExtendI32U).i64(3n).emit(op.i64Shl, op.i64Or);
    body.release(I64, cf);
  }

  #emitFlagOr(value: Expr<1> | undefined, flag: StatusFlag): void {
    if (value) this.emit(value);
    else this.emitFlag(flag);
  }
}

type Values = { readonly [F in StatusFlag]?: Expr<1> };

/** The values to store: undefined flags get the value chosen for them. */
export function definiteValues(flags: FlagsCommit): Values {
  const values: { [F in StatusFlag]?: Expr<1> } = {};
  for (const [flag, value] of Object.entries(flags.values)) {
    if (!('undefined' in value)) values[flag as StatusFlag] = value;
    else if (value.value !== 'unchanged') values[flag as StatusFlag] = value.value;
  }
  return values;
}

/** The expression whose sign, zeroness and parity the three flags are, if they are of one. */
function sharedResult({ SF, ZF, PF }: Values): Expr | undefined {
  const result = PF?.node.kind === 'unary' && PF.node.op === 'parity' ? PF.node.a : undefined;
  if (!result || !SF || !ZF) return undefined;
  const isZero = ZF.node.kind === 'compare' && ZF.node.op === 'eq' && ZF.node.a === result;
  const shifted = SF.node.kind === 'unary' && SF.node.op === 'trunc' ? SF.node.a.node : undefined;
  const isSign =
    shifted?.kind === 'binary' &&
    shifted.op === 'shr' &&
    shifted.a === result &&
    shifted.b === constant(result.width, result.width - 1);
  return isZero && ZF.node.kind === 'compare' && ZF.node.b === constant(result.width, 0) && isSign ? result : undefined;
}
