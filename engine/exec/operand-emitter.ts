/**
 * The leaves of expressions: where registers, immediates, flags and addresses come from is the subclass's business. The
 * interpreter's handlers take them from the decoded record and the CPU state, compiled blocks from locals and constants.
 */
import { fieldAddress } from '../cpu/state-layout.ts';
import type { Expr } from '../expr/expr.ts';
import type { OperandWidth } from '../isa/operand.ts';
import type { AddressRef, LoadStatement, RegisterRef, StatusFlag, Temp } from '../isa/operation.ts';
import { memoryOp, op } from '../wasm/encoder.ts';
import { ExpressionEmitter } from './expression-emitter.ts';

/** How the address of a memory operand is made; part of what distinguishes handlers. */
export interface AddressingForm {
  /** `long`: 64-bit code, no limit checks; `legacy`: base and limit of every segment count. */
  readonly segmentation: 'long' | 'legacy';
  readonly addressSize: 16 | 32 | 64;
  /** A direct branch of 64-bit code whose target is not canonical; `wide`: unless CR4.LA57 = 1. */
  readonly branchesAstray?: 'wide' | 'always';
}

export abstract class OperandEmitter extends ExpressionEmitter {
  protected abstract emitRegister(register: RegisterRef): void;
  /** Before the value is pushed: what the write needs below it on the stack (an address, or nothing). */
  protected abstract beginCommit(register: RegisterRef): void;
  /** Consumes what beginCommit and the value left on the stack. */
  protected abstract endCommit(register: RegisterRef): void;
  protected abstract emitImmediate(position: number, width: OperandWidth): void;
  /** Pushes the effective address of the memory operand (i64), cut to the address size. */
  protected abstract emitEffectiveAddress(position: number): void;
  /** Pushes the base of the segment (i64) of the memory operand or of a fixed segment. */
  protected abstract emitSegmentBase(address: AddressRef): void;
  /** Pushes the wasm address of the segment register. */
  protected abstract emitSegmentAddress(address: AddressRef): void;
  protected abstract emitNextIp(): void;
  protected abstract emitFlagsResult(): void;
  protected abstract emitFlagsAux(): void;
  /** Store the lazy flags: `emitValue` pushes the i64. Called with all register values already on the stack. */
  protected abstract storeFlagsResult(emitValue: () => void): void;
  protected abstract storeFlagsAux(emitValue: () => void): void;
  /** Pushes the record's address, which slow paths pass on. */
  protected abstract emitRecord(): void;
  /** Leaves because of the pending event; the instruction has changed nothing. */
  protected abstract emitEventExit(): void;

  /** Pushes the value of a load that was done. */
  protected abstract emitLoaded(statement: LoadStatement): void;

  protected override emitTemp(_expr: Expr, opaque: unknown): void {
    const { source, width } = opaque as Temp;
    switch (source.kind) {
      case 'register':
        return this.emitRegister(source.register);
      case 'immediate':
        return this.emitImmediate(source.position, width as OperandWidth);
      case 'flag':
        return this.emitFlag(source.flag);
      case 'other-flags':
        this.body.i32(fieldAddress.flagsOther).memory(memoryOp.i32Load);
        return;
      case 'effective-address':
        return this.emitEffectiveAddress(source.position);
      case 'next-ip':
        return this.emitNextIp();
      case 'load':
        return this.emitLoaded(source.statement);
    }
  }

  protected emitFlag(flag: StatusFlag): void {
    const { body } = this;
    switch (flag) {
      case 'CF':
        this.emitFlagsAux();
        body.i64(63n).emit(op.i64ShrU, op.i32WrapI64);
        return;
      case 'OF':
        this.emitFlagsAux();
        this.emitFlagsAux();
        body.i64(1n).emit(op.i64Shl, op.i64Xor).i64(63n).emit(op.i64ShrU, op.i32WrapI64);
        return;
      case 'AF':
        this.emitFlagsAux();
        body.emit(op.i32WrapI64).i32(3).emit(op.i32ShrU).i32(1).emit(op.i32And);
        return;
      case 'ZF':
        this.emitFlagsResult();
        body.emit(op.i64Eqz);
        return;
      case 'SF':
        this.emitFlagsResult();
        body.i64(63n).emit(op.i64ShrU);
        this.emitFlagsAux();
        body.emit(op.i64Xor, op.i32WrapI64).i32(1).emit(op.i32And);
        return;
      case 'PF':
        this.emitFlagsResult();
        body.emit(op.i32WrapI64);
        this.emitFlagsAux();
        body.emit(op.i32WrapI64).i32(8).emit(op.i32ShrU, op.i32Xor).i32(0xff);
        body.emit(op.i32And, op.i32Popcnt).i32(1).emit(op.i32And).i32(1).emit(op.i32Xor);
        return;
    }
  }
}
