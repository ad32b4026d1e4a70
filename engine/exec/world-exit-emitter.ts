/** VM exits of ordinary guests, as WebAssembly: what vmx/exit.ts does, where the plan of the last entry still holds. */
import { DR7_RESET } from '../cpu/debug-registers.ts';
import { EVENTS_ADDRESS } from '../cpu/memory-map.ts';
import { ACCESS, CR4, EFER, RFLAGS } from '../cpu/register-bits.ts';
import { CS } from '../cpu/state.ts';
import { gprAddress } from '../cpu/state-layout.ts';
import { EXIT } from '../vmx/controls.ts';
import { INTERRUPTION_VALID } from '../vmx/exit.ts';
import { CHUNK_ROWS, exitLogPlace, PENDING } from '../vmx/exit-log-layout.ts';
import { codeRights } from '../vmx/host-segments.ts';
import { ResumeFlag } from '../vmx/planned-exit.ts';
import { emitLoadHost, emitSaveGuest } from '../vmx/state-copies.ts';
import { offsetOf } from '../vmx/vmcs.ts';
import { worldSwitchPlace } from '../vmx/world-switch-layout.ts';
import { fieldsOfExit, savedSegments } from '../vmx/world-switch-plan.ts';
import { F64, type FunctionBody, I32, memoryOp, op } from '../wasm/encoder.ts';
import { emitRipOf, emitTakingPlaceOf } from './event-delivery.ts';
import { MAX_EVENTS } from './exits.ts';
import { record } from './record.ts';
import { SharedFunction } from './shared-functions.ts';
import { addressOfNumber, addressOfWord, WorldSwitch } from './world-switch-emitter.ts';

/** Parameters of `leaveGuest`. */
const [
  REASON,
  QUALIFICATION,
  GUEST_LINEAR,
  GUEST_PHYSICAL,
  INFORMATION,
  LENGTH,
  INTERRUPTION,
  INTERRUPTION_CODE,
  RESUME,
] = [0, 1, 2, 3, 4, 5, 6, 7, 8] as const;

/**
 * (reason, qualification, guest-linear address, guest-physical address, instruction information, instruction length,
 * interruption information, interruption error code, ResumeFlag) → 1 if the VM exit was made, with `state.rip` that of the
 * guest; else nothing is changed. The words of its row in the log are written; `ExitLog.logged` does the rest.
 */
export const leaveGuestFunction = (): Uint8Array => new WorldExit().leave();

/** (record, reason) → 1 if the instruction made its VM exit, which tells nothing but the reason and the length. */
export const exitInstructionFunction = (): Uint8Array => new InstructionExit().emit();

const HOST_EFER_LONG = EFER.LMA | EFER.LME;

class WorldExit extends WorldSwitch {
  constructor() {
    super(9);
  }

  leave(): Uint8Array {
    const { f } = this;
    f.block();
    this.checkBoundary(() => this.field('cpl'));
    this.#checkGuest();
    this.#checkHost();
    this.#writeInformation();
    this.#save();
    this.#logWords();
    this.#loadHost();
    return f.i32(1).emit(op.return).end().i32(0).bytes();
  }

  #checkGuest(): void {
    const { f } = this;
    this.unless(() => this.field('nonRoot'));
    this.isZero('apicEvent', 'virtualInterrupt');
    this.unless(() => this.field64('preemptionDeadline').emit(op.i64Eqz));
    this.when(() => f.get(REASON).memory(memoryOp.i32Load8U, worldSwitchPlace.told));
    this.unless(() => this.word(exitLogPlace.rows).i32(CHUNK_ROWS).emit(op.i32LtU));
  }

  #checkHost(): void {
    this.isAsPlanned(fieldsOfExit);
    this.isWorldAsLeft(0, {
      cr0: () => this.#hostCr0(),
      cr3: () => this.vmcs64('Host CR3'),
      cr4: () => this.#hostCr4(),
      efer: () => this.#hostEfer(),
    });
  }
  #hostCr0(): void {
    this.vmcs('Host CR0');
    this.mergedCr0();
  }
  #hostCr4(): void {
    this.vmcs('Host CR4').i32(CR4.PAE).emit(op.i32Or);
  }
  #hostEfer(): void {
    const { f } = this;
    this.vmcs('Host IA32_EFER');
    this.field('efer');
    this.exitControl('Load IA32_EFER').emit(op.select);
    f.i32(HOST_EFER_LONG).emit(op.i32Or);
  }
  protected exitControl(name: keyof typeof EXIT): FunctionBody {
    return this.vmcs('Primary VM-exit controls').i32(EXIT[name]).emit(op.i32And);
  }

  #writeInformation(): void {
    const { f } = this;
    this.setVmcs('Exit reason', () => f.get(REASON));
    this.setVmcs64('Exit qualification', () => f.get(QUALIFICATION));
    this.setVmcs64('Guest-linear address', () => f.get(GUEST_LINEAR));
    this.setVmcs64('Guest-physical address', () => f.get(GUEST_PHYSICAL));
    this.setVmcs('VM-exit instruction information', () => f.get(INFORMATION));
    this.setVmcs('VM-exit interruption information', () => f.get(INTERRUPTION));
    this.setVmcs('VM-exit interruption error code', () => f.get(INTERRUPTION_CODE));
    this.setVmcs('IDT-vectoring information field', () => f.i32(0));
    this.setVmcs('IDT-vectoring error code', () => f.i32(0));
    this.setVmcs('VM-exit instruction length', () => f.get(LENGTH));
    this.setVmcs('VM-entry interruption-information field', () =>
      this.vmcs('VM-entry interruption-information field').i32(~INTERRUPTION_VALID).emit(op.i32And),
    );
  }

  #save(): void {
    const { f } = this;
    emitSaveGuest(f, this.region);
    // What the guest's own instructions load into segment registers passes the checks of the next entry.
    f.i32(worldSwitchPlace.image + savedSegments.from)
      .get(this.region)
      .i32(savedSegments.from)
      .emit(op.i32Add);
    f.i32(savedSegments.to - savedSegments.from).memoryCopy();
    this.setVmcs('Guest CR0', () => this.field('cr0'));
    this.setVmcs('Guest CR4', () => this.field('cr4'));
    this.setVmcs('Guest RFLAGS', () => {
      this.flags().i32(~RFLAGS.RF).i32(-1).get(RESUME).i32(ResumeFlag.cleared).emit(op.i32Eq, op.select, op.i32And);
      f.i32(RFLAGS.RF).i32(0).get(RESUME).i32(ResumeFlag.set).emit(op.i32Eq, op.select, op.i32Or);
    });
    this.setVmcs('Guest pending debug exceptions', () => f.i32(0));
    const saved = (control: keyof typeof EXIT, save: () => void) => this.either(() => this.exitControl(control), save);
    saved('Save debug controls', () => {
      this.setVmcs('Guest DR7', () => f.i32(DR7_RESET));
      this.setVmcs('Guest IA32_DEBUGCTL', () => f.i32(0));
    });
    saved('Save IA32_EFER', () => this.setVmcs('Guest IA32_EFER', () => this.field('efer')));
    saved('Save IA32_PAT', () => this.setVmcs64('Guest IA32_PAT', () => this.field64('pat')));
  }

  #loadHost(): void {
    const { f } = this;
    const [cpl, flags] = [f.local(I32), f.local(I32)];
    emitLoadHost(f, this.region, () => f.i32(codeRights(true)));
    this.setField('cr0', () => this.#hostCr0());
    this.setField('cr4', () => this.#hostCr4());
    this.setField('efer', () => this.#hostEfer());
    this.either(
      () => this.exitControl('Load IA32_PAT'),
      () => this.setField64('pat', () => this.vmcs64('Host IA32_PAT')),
    );
    f.i32(RFLAGS.FIXED).set(flags);
    this.setStatusFlags(flags);
    for (const name of ['activityState', 'repeating'] as const) this.setField(name, () => f.i32(0));
    f.i32(0).set(cpl);
    this.commitWorld(0, worldSwitchPlace.hostExtensions, cpl, flags);
  }

  /** The words of the row, in the order of `logWords`; and the exit is the vCPU's open one. */
  #logWords(): void {
    const { f } = this;
    const row = f.local(I32);
    addressOfWord(this.word(exitLogPlace.rows)).set(row);
    const fields = [
      () => f.get(REASON),
      () => this.vmcs('Guest RIP'),
      () => f.get(this.region).memory(memoryOp.i32Load, offsetOf('Guest RIP') + 4),
      () => {
        f.i32(0);
        this.vmcs('Guest CS base');
        this.segment(CS, 'attributes').i32(ACCESS.L).emit(op.i32And, op.select);
      },
      () => f.get(QUALIFICATION).emit(op.i32WrapI64),
      () => f.get(QUALIFICATION).i64(32n).emit(op.i64ShrU, op.i32WrapI64),
      () => f.get(GUEST_PHYSICAL).emit(op.i32WrapI64),
      () => f.get(GUEST_PHYSICAL).i64(32n).emit(op.i64ShrU, op.i32WrapI64),
      () => f.get(INTERRUPTION),
      () => this.field('currentVmcs'),
      () => this.word(worldSwitchPlace.vcpu),
      () => this.word(gprAddress(0)),
      () => this.word(gprAddress(0) + 4),
      () => this.word(gprAddress(1)),
      () => this.word(gprAddress(2)),
    ];
    fields.forEach((value, index) => {
      f.get(row);
      value();
      f.memory(memoryOp.i32Store, 4 * index);
    });
  }
}

/** The exit of an instruction of compiled code: the event in its place counts, the rest of its block has not been run. */
class InstructionExit extends WorldSwitch {
  constructor() {
    super(2);
  }

  emit(): Uint8Array {
    const { f } = this;
    const [REC, WHY] = [0, 1];
    const taken = f.local(I32);
    const instructions = f.local(F64);
    f.block();
    this.unless(() => this.field('nonRoot'));
    this.when(() => this.flagsOther(RFLAGS.TF));
    this.unless(() =>
      this.word(EVENTS_ADDRESS)
        .i32(MAX_EVENTS - 1)
        .emit(op.i32LtU),
    );
    f.get(REC).memory(memoryOp.i32Load16U, record.blockCount).set(taken);
    emitRipOf(f, REC);
    this.instructions(taken).set(instructions);
    this.unless(() => {
      f.get(WHY).i64(0n).i64(0n).i64(0n).i32(0).get(REC).memory(memoryOp.i32Load16U, record.length);
      f.i32(0).i32(0).i32(ResumeFlag.cleared).call(SharedFunction.leaveGuest);
    });
    emitTakingPlaceOf(f, REC);
    this.#logNumbers(instructions, WHY);
    return f.i32(1).emit(op.return).end().i32(0).bytes();
  }

  /** ExitLog.logged, given the instructions before this one (local). */
  #logNumbers(instructions: number, reason: number): void {
    const { f } = this;
    const number = f.local(I32);
    addressOfNumber(this.word(exitLogPlace.rows)).set(number);
    this.setRowNumber(number, 'instructions', () => f.get(instructions));
    this.setRowNumber(number, 'ownInstructions', () => {
      f.get(instructions);
      this.number(worldSwitchPlace.own).emit(op.f64Add);
    });
    this.setRowNumber(number, 'idleNs', () => this.number(worldSwitchPlace.idleNs));
    this.setRowNumber(number, 'units', () => {
      f.get(instructions);
      this.word(EVENTS_ADDRESS).emit(op.i64ExtendI32U, op.f64ConvertI64S, op.f64Add);
      this.number(worldSwitchPlace.units).emit(op.f64Add);
    });
    this.setRowNumber(number, 'roundTripInstructions', () => f.f64(PENDING));
    this.setRowNumber(number, 'roundTripIdleNs', () => f.f64(0));
    this.openExit();
    this.number(exitLogPlace.first);
    this.word(exitLogPlace.rows).emit(op.i64ExtendI32U, op.f64ConvertI64S, op.f64Add).memory(memoryOp.f64Store);
    f.i32(exitLogPlace.rows);
    this.word(exitLogPlace.rows).i32(1).emit(op.i32Add).memory(memoryOp.i32Store);
    this.addToSum(exitLogPlace.counts, reason, () => f.f64(1));
  }
}
