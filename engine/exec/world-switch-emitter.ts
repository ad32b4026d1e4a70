/**
 * VM entries and VM exits between 64-bit code on both sides, as WebAssembly, where nothing about them is out of the
 * ordinary. They do exactly what vmx/entry.ts and vmx/exit.ts do. An entry goes by the plan that the last one left which
 * was made there (vmx/world-switch-plan.ts): as long as the VMCS is as it was then, but for what a guest changes at every
 * turn, its checks pass and what is derived from it is known. Until a switch is sure to complete it has changed nothing.
 */
import { DR7_RESET } from '../cpu/debug-registers.ts';
import {
  EVENTS_ADDRESS,
  FAST_TLB_ADDRESS,
  FAST_TLB_SET_BYTES,
  FAST_TLB_SETS_OF_WORLD,
  ORDINARY_TRANSLATION_ADDRESS,
  PLANNED_VMCS_ADDRESS,
  RAM_ADDRESS,
  SET_ASIDE_ADDRESS,
  WATCHED,
  WORLD_REGISTERS_ADDRESS,
  WORLD_REGISTERS_BYTES,
  WRITABLE_VMCS_ADDRESS,
  worldRegister,
} from '../cpu/memory-map.ts';
import { CpuMode } from '../cpu/modes.ts';
import { type FieldName, fieldAddress } from '../cpu/state-layout.ts';
import type { World } from '../mmu/fast-tlb.ts';
import { exitLogPlace, type LogNumber, logNumbers, NUMBERS_OF_ROW, WORDS_OF_ROW } from '../vmx/exit-log-layout.ts';
import type { VmcsFieldName } from '../vmx/fields.ts';
import { CR0_KEPT, CR0_LOADED } from '../vmx/guest-state.ts';
import { offsetOf } from '../vmx/vmcs.ts';
import { worldSwitchPlace } from '../vmx/world-switch-layout.ts';
import { type FunctionBody, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { flatAddress, generationAddress, KEYS_OF_GENERATION } from './code-world.ts';
import { keyOfExtensions, keyOfSizes } from './jump-cache.ts';
import { type Push, TransitionEmitter } from './transition-emitter.ts';
import { emitWatched, WATCHED_OF_VMX } from './watched-emitter.ts';

/** From the index of a row in the exit log to the wasm address of its words, and of its numbers. */
export const addressOfWord = (f: FunctionBody): FunctionBody =>
  f
    .i32(4 * WORDS_OF_ROW)
    .emit(op.i32Mul)
    .i32(exitLogPlace.words)
    .emit(op.i32Add);
export const addressOfNumber = (f: FunctionBody): FunctionBody =>
  f
    .i32(8 * NUMBERS_OF_ROW)
    .emit(op.i32Mul)
    .i32(exitLogPlace.numbers)
    .emit(op.i32Add);

/** What both directions have in common. Conditions leave for the slow way, as in TransitionEmitter. */
export abstract class WorldSwitch extends TransitionEmitter {
  /** Local: wasm address of the VMCS region. */
  protected readonly region = this.f.local(I32);

  // ---- the VMCS ----------------------------------------------------------------------------------------------------

  protected vmcs(name: VmcsFieldName): FunctionBody {
    return this.f.get(this.region).memory(memoryOp.i32Load, offsetOf(name));
  }
  protected vmcs64(name: VmcsFieldName): FunctionBody {
    return this.f.get(this.region).memory(memoryOp.i64Load, offsetOf(name));
  }
  protected setVmcs(name: VmcsFieldName, value: Push): void {
    this.f.get(this.region);
    value();
    this.f.memory(memoryOp.i32Store, offsetOf(name));
  }
  protected setVmcs64(name: VmcsFieldName, value: Push): void {
    this.f.get(this.region);
    value();
    this.f.memory(memoryOp.i64Store, offsetOf(name));
  }
  // ---- conditions --------------------------------------------------------------------------------------------------

  protected word(address: number): FunctionBody {
    return this.f.i32(address).memory(memoryOp.i32Load);
  }
  protected isZero(...fields: readonly FieldName[]): void {
    this.when(() => {
      fields.forEach((name, index) => {
        this.field(name);
        if (index > 0) this.f.emit(op.i32Or);
      });
    });
  }
  protected is(address: number, value: Push): void {
    this.unless(() => {
      this.word(address);
      value();
      this.f.emit(op.i32Eq);
    });
  }

  /**
   * 64-bit code at an ordinary boundary, with the current VMCS that the plan is for, to be written to without ado. The
   * guest's ring is not 0 if `outerRing` pushes something else than 0: its switches change the ring, of which somebody may
   * want to be told.
   */
  protected checkBoundary(outerRing: Push): void {
    const { f } = this;
    this.when(() => emitWatched(f, WATCHED_OF_VMX));
    this.isZero('interruptibility', 'pendingDebug', 'monitorTrap', 'monitorArmed', 'debugctl', 'svmGuest');
    this.is(fieldAddress.mode, () => f.i32(CpuMode.long64));
    this.is(fieldAddress.dr7, () => f.i32(DR7_RESET));
    this.is(fieldAddress.xcr0, () => this.word(worldSwitchPlace.xcr0));
    const next = () => this.field('currentVmcs').i32(1).emit(op.i32Add);
    this.is(PLANNED_VMCS_ADDRESS, next);
    this.is(WRITABLE_VMCS_ADDRESS, next);
    this.unless(() => this.word(ORDINARY_TRANSLATION_ADDRESS));
    this.field('currentVmcs').i32(RAM_ADDRESS).emit(op.i32Add).set(this.region);
    this.when(() => {
      outerRing();
      f.i32(0);
      emitWatched(f, WATCHED.ringChanges).emit(op.select);
    });
  }

  /** Goes on only if fields of the VMCS are as they were when the plan was made. */
  protected isAsPlanned(offsets: readonly number[]): void {
    const { f } = this;
    const changed = f.local(I64);
    f.i64(0n).set(changed);
    const { image } = worldSwitchPlace;
    for (const offset of offsets) {
      f.get(this.region)
        .memory(memoryOp.i64Load, offset)
        .i32(0)
        .memory(memoryOp.i64Load, image + offset);
      f.emit(op.i64Xor).get(changed).emit(op.i64Or).set(changed);
    }
    this.unless(() => f.get(changed).emit(op.i64Eqz));
  }

  // ---- the world that is entered -----------------------------------------------------------------------------------

  /** CR0 after a load of the value that is on the stack. */
  protected mergedCr0(): FunctionBody {
    const { f } = this;
    f.i32(CR0_LOADED).emit(op.i32And);
    return this.field('cr0').i32(CR0_KEPT).emit(op.i32And, op.i32Or);
  }

  /** Goes on only if the registers that translations depend on are to be those with which the world was left. */
  protected isWorldAsLeft(world: World, registers: Readonly<Record<'cr0' | 'cr3' | 'cr4' | 'efer', Push>>): void {
    const { f } = this;
    const at = WORLD_REGISTERS_ADDRESS + WORLD_REGISTERS_BYTES * world;
    for (const name of ['cr0', 'cr4', 'efer'] as const) this.is(at + worldRegister[name], registers[name]);
    this.unless(() => {
      f.i32(at + worldRegister.cr3).memory(memoryOp.i64Load);
      registers.cr3();
      f.emit(op.i64Eq);
    });
    this.when(() => this.word(flatAddress(world)).emit(op.i32Eqz));
  }

  /** From now on the world's fast translations and code are in force; `extensions` is the place of a mask of EXTENSION. */
  protected commitWorld(world: World, extensions: number, cpl: number, flags: number): void {
    const { f } = this;
    f.i32(FAST_TLB_ADDRESS + world * FAST_TLB_SETS_OF_WORLD * FAST_TLB_SET_BYTES).set(this.supervisor);
    this.setField('nonRoot', () => f.i32(world));
    this.setField('jumpKey', () => {
      this.word(generationAddress(world)).i32(KEYS_OF_GENERATION).emit(op.i32Mul);
      this.word(extensions).i32(keyOfExtensions(1)).emit(op.i32Mul, op.i32Add);
      f.i32((world << 6) + keyOfSizes(64, 64)).emit(op.i32Add);
    });
    this.commitPrivilege(cpl, flags);
    this.setField('linkSite', () => f.i32(0));
    f.i32(worldSwitchPlace.switched).i32(1).memory(memoryOp.i32Store);
  }

  // ---- the exit log ------------------------------------------------------------------------------------------------

  protected number(address: number): FunctionBody {
    return this.f.i32(address).memory(memoryOp.f64Load);
  }
  /** Instructions of the run before one of whose block so many (local) have been taken from the budget. */
  protected instructions(taken: number): FunctionBody {
    const { f } = this;
    this.number(worldSwitchPlace.retired);
    this.number(worldSwitchPlace.limit).emit(op.f64Add);
    this.field64('budget').i32(SET_ASIDE_ADDRESS).memory(memoryOp.i64Load).emit(op.i64Add);
    this.word(EVENTS_ADDRESS).get(taken).emit(op.i32Add, op.i64ExtendI32U, op.i64Add, op.f64ConvertI64S);
    return f.emit(op.f64Sub);
  }
  /** Wasm address of the loaded vCPU's open exit. */
  protected openExit(): FunctionBody {
    return this.word(worldSwitchPlace.vcpu).i32(8).emit(op.i32Mul).i32(exitLogPlace.open).emit(op.i32Add);
  }
  /** Pushes a number of a row, given where its numbers are (local). */
  protected rowNumber(at: number, name: LogNumber): FunctionBody {
    return this.f.get(at).memory(memoryOp.f64Load, 8 * logNumbers.indexOf(name));
  }
  protected setRowNumber(at: number, name: LogNumber, value: Push): void {
    this.f.get(at);
    value();
    this.f.memory(memoryOp.f64Store, 8 * logNumbers.indexOf(name));
  }
  /** Adds to a sum of a reason (local). */
  protected addToSum(sum: number, reason: number, value: Push): void {
    const { f } = this;
    const at = f.local(I32);
    f.get(reason).i32(8).emit(op.i32Mul).tee(at).get(at).memory(memoryOp.f64Load, sum);
    value();
    f.emit(op.f64Add).memory(memoryOp.f64Store, sum);
    f.release(I32, at);
  }
}
