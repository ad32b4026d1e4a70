/**
 * Emits WebAssembly for an Operation, in its fixed order: reads and checks, stores, register commits and flags, then
 * the transfer. Where registers, immediates and flags live is the subclass's business: the interpreter's handlers
 * take them from the decoded record and the CPU state, compiled blocks from locals and constants.
 */

import { Vector } from '../cpu/events.ts';
import { CS } from '../cpu/state.ts';
import { fieldAddress, segmentAddress, segmentLayout } from '../cpu/state-layout.ts';
import type { Expr } from '../expr/expr.ts';
import type { AddressRef, Commit, Operation } from '../isa/operation.ts';
import { I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { emitHas57Bits, emitUnlessCanonical } from './canonical-emitter.ts';
import { MemoryEmitter } from './memory-emitter.ts';

export abstract class OperationEmitter extends MemoryEmitter {
  /** Everything but the transfer. `transferLocals` are evaluated before anything changes. */
  protected emitOperation(operation: Operation): { condition: number | undefined; target: number | undefined } {
    const transfer = operation.transfer;
    const condition = transfer && transfer.kind !== 'indirect' ? transfer.condition : undefined;
    const target = transfer?.kind === 'indirect' ? transfer.target : undefined;
    this.#countAll(operation);
    const locals = {
      condition: condition && this.body.local(I32),
      target: target && this.body.local(I64),
    };
    const emitAll = (): void => {
      for (const statement of operation.reads) this.emitRead(statement);
      if (condition && locals.condition !== undefined) this.#evaluateInto(condition, locals.condition);
      if (target && locals.target !== undefined) {
        this.#evaluateInto(target, locals.target);
        this.#checkTarget(locals.target, operation);
      }
      if (transfer?.kind === 'direct') this.checkBranch(locals.condition, operation);
      for (const store of operation.stores) this.emitStore(store);
      this.#commit(operation);
    };
    if (operation.guard) this.#guarded(operation.guard, emitAll);
    else emitAll();
    return locals;
  }

  /** #GP(0) for an indirect transfer beyond the code segment's limit, or to an address that is not canonical. */
  #checkTarget(target: number, operation: Operation): void {
    const { body } = this;
    const faultAfterStores = () => {
      this.#tryStores(operation);
      this.emitFault(Vector.GP, 0);
    };
    if (this.form.segmentation === 'long') return emitUnlessCanonical(body, target, faultAfterStores);
    body.get(target);
    this.emitIsBeyondLimit();
    body.if();
    this.emitFault(Vector.GP, 0);
    body.end();
  }
  /** Makes of an i64 in CS's segment whether it is beyond its limit. */
  protected emitIsBeyondLimit(): void {
    this.body.i32(segmentAddress(CS)).memory(memoryOp.i64Load32U, segmentLayout.limit).emit(op.i64GtU);
  }

  /** #GP(0) for a direct branch that is taken to an address that is not canonical: at the branch, as on silicon. */
  protected checkBranch(condition: number | undefined, operation: Operation): void {
    const { branchesAstray } = this.form;
    if (!branchesAstray) return;
    const { body } = this;
    if (condition === undefined) body.i32(1);
    else body.get(condition);
    if (branchesAstray === 'wide') emitHas57Bits(body).emit(op.i32Eqz, op.i32And);
    body.if();
    this.#tryStores(operation);
    this.emitFault(Vector.GP, 0);
    body.end();
  }

  /** In 64-bit mode, CALL checks its stack before its target (SDM volume 2, "CALL", Operation). */
  #tryStores({ stores }: Operation): void {
    if (stores.length > 0) this.scoped(() => this.emitStoreFaults(stores));
  }

  #guarded(guard: Expr<1>, emitAll: () => void): void {
    this.emit(guard);
    this.body.if();
    this.scoped(emitAll);
    this.body.end();
  }

  #evaluateInto(expr: Expr, local: number): void {
    this.emit(expr);
    this.body.set(local);
    this.bind(expr, local);
  }

  #countAll(operation: Operation): void {
    const addressParts = (address: AddressRef): void => {
      this.countUses(address.kind === 'operand' ? address.plus : address.offset);
    };
    this.countUses(operation.guard);
    for (const statement of operation.reads) {
      if (statement.kind === 'raise') {
        const { condition, leaves = [], instead } = statement;
        for (const expr of [condition, ...leaves.map(({ value }) => value), instead?.condition]) this.countUses(expr);
      } else addressParts(statement.address);
    }
    for (const store of operation.stores) {
      addressParts(store.address);
      this.countUses(store.value);
    }
    for (const commit of operation.commits) this.countUses(commit.value);
    this.#countFlags(operation);
    const transfer = operation.transfer;
    if (transfer) this.countUses(transfer.kind === 'indirect' ? transfer.target : transfer.condition);
  }

  #countFlags(operation: Operation): void {
    this.countUses(operation.directionFlag);
    const { flags } = operation;
    if (!flags) return;
    this.countUses(flags.condition);
    if (flags.arithmetic) {
      this.countUses(flags.arithmetic.result);
      this.countUses(flags.arithmetic.carries);
      return;
    }
    for (const value of Object.values(flags.values)) {
      if (!('undefined' in value)) this.countUses(value);
      else if (value.value !== 'unchanged') this.countUses(value.value);
    }
  }

  // ---- commits -----------------------------------------------------------------------------------------------------

  /** All values are computed before any register changes: pushed first, stored last, in reverse order. */
  #commit(operation: Operation): void {
    for (const { register, value } of operation.commits) {
      this.beginCommit(register);
      this.emit(value);
    }
    if (operation.flags) this.commitFlags(operation.flags);
    if (operation.directionFlag) this.#directionFlag(operation.directionFlag);
    for (const commit of [...operation.commits].reverse() as Commit[]) this.endCommit(commit.register);
  }

  #directionFlag(value: Expr<1>): void {
    const { body } = this;
    body.i32(fieldAddress.flagsOther).i32(fieldAddress.flagsOther).memory(memoryOp.i32Load);
    body.i32(~0x400).emit(op.i32And);
    this.emit(value);
    body.i32(10).emit(op.i32Shl, op.i32Or).memory(memoryOp.i32Store);
  }
}
