/**
 * Emits the instructions of blocks for a region: registers in locals, operands as constants. What compiled code does not
 * do itself (devices, watched pages, exceptions, system instructions) it leaves to the interpreter, at the record of
 * the instruction, which has then changed nothing.
 */

import { DS, SS } from '../../cpu/state.ts';
import { fieldAddress, vectorAddress } from '../../cpu/state-layout.ts';
import { evaluate } from '../../expr/evaluate.ts';
import type { Expr } from '../../expr/expr.ts';
import type { DecodedInstruction, MemoryOperand, RegisterOperand } from '../../isa/decode.ts';
import { formOf, type InstructionForm } from '../../isa/form.ts';
import { type LinearAddress, low32, plus } from '../../isa/linear-address.ts';
import type { OperandWidth } from '../../isa/operand.ts';
import type { AddressRef, RegisterRef, Temp } from '../../isa/operation.ts';
import { RSP } from '../../isa/semantics-builder.ts';
import { I64, memoryOp, op } from '../../wasm/encoder.ts';
import type { Block } from '../block.ts';
import { handlerForm } from '../code-cache.ts';
import type { Exit } from '../exits.ts';
import { fixedSegmentAddress, halfOffset } from '../handler-emitter.ts';
import type { DefinedFunctionList } from '../module-parts.ts';
import { RECORD_BYTES } from '../record.ts';
import { operandAddress } from '../record-writer.ts';
import { loadValue, storeValue } from '../value-types.ts';
import { emitLowPart } from '../vector-emitter.ts';
import { type FlagLiveness, flagLiveness } from './flag-liveness.ts';
import {
  addLeaveFunctions,
  emitTakeBudget,
  type LeaveFunctions,
  passedOnLeaving,
  storeRegister,
} from './leave-functions.ts';
import { RegionMemoryEmitter } from './region-memory-emitter.ts';
import { addressOfRegister, isVectorHalf, regionRegister, typeOfRegister, widthOfRegister } from './region-register.ts';
import { registerUse } from './register-use.ts';

export interface Step {
  readonly instruction: DecodedInstruction;
  /** Undefined if the interpreter has to execute it. */
  readonly form: InstructionForm | undefined;
  readonly record: number;
}

export const stepsOf = (block: Block): Step[] =>
  block.instructions.map((instruction, index) => {
    const form = formOf(instruction, block.location.stackSize, block.location.extensions);
    const isCompiled = form?.operation.transfer?.kind !== 'repeat';
    return { instruction, form: isCompiled ? form : undefined, record: block.record + index * RECORD_BYTES };
  });

export abstract class BlockEmitter extends RegionMemoryEmitter {
  /** Locals of the registers that the region uses, by the number that region-register.ts gives them. */
  readonly #registers = new Map<number, number>();
  /** Numbers of those that it writes. */
  #written: readonly number[] = [];
  /** Those of them that the functions for leaving take; the others are stored before these are called. */
  #passed: readonly number[] = [];
  #leave: LeaveFunctions | undefined;
  /** What is left of the budget. */
  protected readonly budget = this.body.local(I64);
  #step: Step | undefined;
  #pageBase: LinearAddress = 0;

  /** To be called before anything is emitted. */
  protected prepare(steps: readonly Step[], parts: DefinedFunctionList): void {
    const { used, written } = registerUse(
      steps.flatMap(({ instruction, form }) => (form ? [{ instruction, operation: form.operation }] : [])),
    );
    for (const register of used) this.#registers.set(register, this.body.permanentLocal(typeOfRegister(register)));
    this.#written = [...written];
    this.#passed = passedOnLeaving(this.#written);
    this.#leave = addLeaveFunctions(parts, this.#passed);
  }

  /** Emits all steps but the transfer of the last one, whose locals are returned. */
  protected emitSteps(
    block: Block,
    steps: readonly Step[],
    { after }: FlagLiveness,
  ): { condition?: number | undefined; target?: number | undefined } {
    const { body } = this;
    this.#pageBase = plus(block.location.rip, -block.location.pageOffset);
    let transfer: ReturnType<typeof this.emitOperation> = { condition: undefined, target: undefined };
    let pinned = this.flagLocals();
    for (const [index, step] of steps.entries()) {
      if (!step.form) break;
      body.beginScope();
      this.#step = step;
      this.flagsAreLive = after[index] as boolean;
      this.startInstruction(handlerForm(step.instruction, step.form));
      transfer = this.emitOperation(step.form.operation);
      const kept = this.flagLocals();
      const outcome = [transfer.condition, transfer.target].filter((local) => local !== undefined);
      body.endScope(new Set([...kept, ...outcome]));
      pinned = this.#unpin(pinned, kept);
    }
    return transfer;
  }

  /** Locals that flags no longer need can be used again, but for those that the block did not make. */
  #unpin(pinned: readonly number[], kept: readonly number[]): number[] {
    for (const local of pinned) {
      if (!kept.includes(local) && !this.inherited.has(local)) this.body.release(this.body.typeOf(local), local);
    }
    return [...kept];
  }
  /** Locals of flags that blocks before this one made and other successors of these still need. */
  protected inherited: ReadonlySet<number> = new Set();

  #flagStep(step: Step) {
    const operation = step.form?.operation;
    this.#step = step;
    const condition = operation?.flags?.condition;
    return { operation, changesFlags: condition ? this.knownCondition(condition) : true };
  }

  protected flagLiveness(steps: readonly Step[]): FlagLiveness {
    return flagLiveness(steps.map((step) => this.#flagStep(step)));
  }

  protected override knownCondition(condition: Expr<1>): boolean | undefined {
    try {
      return evaluate(condition, (temp) => this.#immediateOf(temp as Temp)) === 1n;
    } catch (error) {
      if (error instanceof NotConstant) return undefined;
      throw error;
    }
  }
  #immediateOf({ source, width }: Temp): bigint {
    const value = source.kind === 'immediate' ? this.#current.instruction.operands[source.position]?.value : undefined;
    if (value === undefined) throw new NotConstant();
    return BigInt.asUintN(width, value);
  }
  get #current(): Step {
    if (!this.#step) throw new Error('no instruction is being compiled');
    return this.#step;
  }

  // ---- leaving -----------------------------------------------------------------------------------------------------

  /** Leaves the region with an exit for an RIP. */
  protected leave(exit: Exit, emitRip: () => void): void {
    this.#pushState();
    this.body.i32(exit);
    emitRip();
    this.body.returnCall((this.#leave as LeaveFunctions).elsewhere);
  }
  /** Leaves the instruction to the interpreter. */
  protected leaveToInterpreter({ record }: Step): void {
    this.#pushState();
    this.body
      .i32(record)
      .i64(BigInt(this.#pageBase))
      .returnCall((this.#leave as LeaveFunctions).toInterpreter);
  }
  #pushState(): void {
    for (const number of this.#written) {
      if (!this.#passed.includes(number)) storeRegister(this.body, number, this.#local(number));
    }
    for (const number of this.#passed) this.body.get(this.#local(number));
    this.pushFlags();
    this.body.get(this.budget);
  }

  /** Reads the state that regions keep in locals. */
  protected emitLoadState(): void {
    const { body, carried } = this;
    this.emitLoadMemoryState();
    emitTakeBudget(body, this.budget);
    body.i32(fieldAddress.flagsAux).memory(memoryOp.i64Load).set(carried.a);
    body.i32(fieldAddress.flagsResult).memory(memoryOp.i64Load).set(carried.b);
    for (const [register, local] of this.#registers) {
      loadValue(body.i32(addressOfRegister(register)), widthOfRegister(register)).set(local);
    }
  }

  // ---- registers ---------------------------------------------------------------------------------------------------

  #local(number: number): number {
    const local = this.#registers.get(number);
    if (local === undefined) throw new Error(`register ${number} was not seen to be used`);
    return local;
  }
  #registerOf(register: RegisterRef & { kind: 'gpr' | 'operand' }): Pick<RegisterOperand, 'kind' | 'number' | 'high'> {
    const operand =
      register.kind === 'operand' ? this.#current.instruction.operands[register.position]?.register : register;
    if (!operand) throw new Error(`${this.#current.instruction.codeName} names no register`);
    return operand;
  }

  /** The local of a register that is wholly in one: a half of a vector register. */
  #vectorLocal(register: RegisterRef): number | undefined {
    const number = regionRegister(register, this.#current.instruction);
    return number !== undefined && isVectorHalf(number) ? this.#registers.get(number) : undefined;
  }
  /** Address of a register that regions leave in the CPU state; undefined for one that they keep in a local. */
  #addressOf(register: RegisterRef): number | undefined {
    switch (register.kind) {
      case 'gpr':
        return undefined;
      case 'state':
        return fieldAddress[register.field];
      case 'vector':
        return vectorAddress(register.number) + halfOffset(register);
      case 'operand':
        if (register.file === undefined) return undefined;
        return operandAddress(this.#registerOf(register)) + halfOffset(register);
    }
  }

  protected override emitRegister(register: RegisterRef): void {
    const local = this.#vectorLocal(register);
    if (local !== undefined) return emitLowPart(this.body.get(local), register.width);
    const address = this.#addressOf(register);
    if (address !== undefined) loadValue(this.body.i32(address), register.width);
    else this.#emitLocal(register as RegisterRef & { kind: 'gpr' | 'operand' });
  }
  #emitLocal(register: RegisterRef & { kind: 'gpr' | 'operand' }): void {
    const { number, high } = this.#registerOf(register);
    const { body } = this;
    body.get(this.#local(number));
    if (register.width === 64) return;
    if (high) body.i64(8n).emit(op.i64ShrU);
    body.emit(op.i32WrapI64);
    if (register.width < 32) body.i32(2 ** register.width - 1).emit(op.i32And);
  }
  protected override beginCommit(register: RegisterRef): void {
    const address = this.#vectorLocal(register) === undefined ? this.#addressOf(register) : undefined;
    if (address !== undefined) this.body.i32(address);
  }
  protected override endCommit(register: RegisterRef): void {
    const local = this.#vectorLocal(register);
    if (local !== undefined) this.body.set(local);
    else if (this.#addressOf(register) !== undefined) storeValue(this.body, register.width);
    else this.#commitLocal(register as RegisterRef & { kind: 'gpr' | 'operand' });
  }
  #commitLocal(register: RegisterRef & { kind: 'gpr' | 'operand' }): void {
    const { number, high } = this.#registerOf(register);
    const { body } = this;
    const local = this.#local(number);
    if (register.width < 64) body.emit(op.i64ExtendI32U);
    if (register.width < 32) {
      const shift = high ? 8n : 0n;
      const mask = ((1n << BigInt(register.width)) - 1n) << shift;
      if (high) body.i64(shift).emit(op.i64Shl);
      body.get(local).i64(~mask).emit(op.i64And, op.i64Or);
    }
    body.set(local);
  }

  // ---- constants ---------------------------------------------------------------------------------------------------

  protected override emitImmediate(position: number, width: OperandWidth): void {
    const value = this.#current.instruction.operands[position]?.value ?? 0n;
    if (width === 64) this.body.i64(value);
    else this.body.i32(Number(BigInt.asIntN(32, value)));
  }
  protected override emitEffectiveAddress(): void {
    const { memory, codeName } = this.#current.instruction;
    const { body } = this;
    if (!memory) throw new Error(`${codeName} has no memory operand`);
    const { base, index, shift, displacement } = memory;
    if (this.form.addressSize === 32 && base !== 'ip') return this.#emitEffectiveAddress32(memory);
    if (base === 'ip') body.i64(displacement + BigInt(this.#nextIp()));
    else {
      body.i64(displacement);
      if (base !== undefined) body.get(this.#local(base)).emit(op.i64Add);
    }
    if (index !== undefined) {
      body.get(this.#local(index));
      if (shift > 0) body.i64(BigInt(shift)).emit(op.i64Shl);
      body.emit(op.i64Add);
    }
    if (this.form.addressSize < 64) body.i64((1n << BigInt(this.form.addressSize)) - 1n).emit(op.i64And);
  }
  #emitEffectiveAddress32({ base, index, shift, displacement }: MemoryOperand): void {
    const { body } = this;
    body.i32(Number(BigInt.asIntN(32, displacement)));
    if (typeof base === 'number') body.get(this.#local(base)).emit(op.i32WrapI64, op.i32Add);
    if (index !== undefined) {
      body.get(this.#local(index)).emit(op.i32WrapI64);
      if (shift > 0) body.i32(shift).emit(op.i32Shl);
      body.emit(op.i32Add);
    }
    body.emit(op.i64ExtendI32U);
  }
  protected override segmentIndex(address: AddressRef): number {
    const fixed = address.kind === 'computed' && address.segment.kind === 'fixed' ? address.segment.index : undefined;
    return fixed ?? this.#current.instruction.memory?.segment ?? DS;
  }
  #segmentAddress(address: AddressRef): number {
    return fixedSegmentAddress(this.segmentIndex(address), this.form);
  }

  protected override emitSegmentBase(address: AddressRef): void {
    const at = this.#segmentAddress(address);
    if (at === fieldAddress.zero) this.body.i64(0n);
    else this.body.i32(at).memory(memoryOp.i64Load);
  }
  protected override emitSegmentAddress(address: AddressRef): void {
    this.body.i32(this.#segmentAddress(address));
  }
  #nextIp(): LinearAddress {
    const { ip, lengthBytes, codeSize } = this.#current.instruction;
    const next = plus(ip, lengthBytes);
    return codeSize === 64 ? next : low32(next);
  }
  protected override emitNextIp(): void {
    this.body.i64(BigInt(this.#nextIp()));
  }
  protected override emitRecord(): void {
    this.body.i32(this.#current.record);
  }

  protected override isOnStack(address: AddressRef): boolean {
    if (address.kind === 'operand') return this.#current.instruction.memory?.base === RSP;
    return address.segment.kind === 'fixed' && address.segment.index === SS;
  }
  protected override leaveInstruction(): void {
    this.leaveToInterpreter(this.#current);
  }
  protected override emitFault(): void {
    this.leaveToInterpreter(this.#current);
  }
  /** What faults is left to the interpreter as it is. */
  protected override emitStoreFaults(): void {}
  protected override emitSlowSegmentCheck(): void {
    this.leaveToInterpreter(this.#current);
  }
  protected override emitEventExit(): void {
    throw new Error('compiled code leaves events to the interpreter');
  }
}

/** An expression depends on more than immediates. */
class NotConstant {}
