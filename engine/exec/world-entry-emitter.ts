/** VMRESUME of an ordinary guest, as WebAssembly: what vmx/entry.ts does, where the plan of the last entry still holds. */
import { WRITABLE_FLAGS } from '../cpu/flags.ts';
import { ACCESS, RFLAGS } from '../cpu/register-bits.ts';
import { SS } from '../cpu/state.ts';
import { ENTRY } from '../vmx/controls.ts';
import { INTERRUPTION_VALID } from '../vmx/exit.ts';
import { exitLogPlace, PENDING } from '../vmx/exit-log-layout.ts';
import { emitLoadGuest } from '../vmx/state-copies.ts';
import { LAUNCH_STATE_OFFSET, LaunchState, REVISION_OFFSET, VMCS_REVISION } from '../vmx/vmcs.ts';
import { worldSwitchPlace } from '../vmx/world-switch-layout.ts';
import { fixedFields } from '../vmx/world-switch-plan.ts';
import { F64, I32, I64, memoryOp, op } from '../wasm/encoder.ts';
import { withoutStatus } from './ring-transitions.ts';
import { addressOfNumber, addressOfWord, WorldSwitch } from './world-switch-emitter.ts';

/** Parameter: instructions that have been taken from the budget, this one and those behind it in its block. */
const TAKEN = 0;

/** (instructions taken from the budget for this one and those behind it) → 1 if the guest was entered; else nothing is changed. */
export const enterGuestFunction = (): Uint8Array => new WorldEntry().emit();

class WorldEntry extends WorldSwitch {
  readonly #flags = this.f.local(I32);
  /** The vCPU's last exit, in the log: its number, and its row if there is such an exit. */
  readonly #open = this.f.local(F64);
  readonly #row = this.f.local(I32);

  constructor() {
    super(1);
  }

  emit(): Uint8Array {
    const { f } = this;
    f.block();
    this.checkBoundary(() => this.vmcs('Guest SS access rights').i32(ACCESS.DPL).emit(op.i32And));
    this.#checkHost();
    this.#checkVmcs();
    this.#findRow();
    this.#load();
    this.#log();
    return f.i32(1).emit(op.return).end().i32(0).bytes();
  }

  #checkHost(): void {
    this.isZero('nonRoot', 'cpl');
    this.when(() => this.flagsOther(RFLAGS.TF | RFLAGS.RF));
    this.unless(() => this.field('vmxOperation'));
    this.unless(() => this.field('currentVmcsValid'));
    this.when(() => this.word(worldSwitchPlace.toldOfEntries));
    this.is(worldSwitchPlace.hostEfer, () => this.field('efer'));
  }

  /** What the checks of VM entry look at. */
  #checkVmcs(): void {
    const { f } = this;
    const header = (offset: number, value: number) =>
      this.unless(() => f.get(this.region).memory(memoryOp.i32Load, offset).i32(value).emit(op.i32Eq));
    header(REVISION_OFFSET, VMCS_REVISION);
    header(LAUNCH_STATE_OFFSET, LaunchState.launched);
    this.isAsPlanned(fixedFields);
    this.when(() => this.vmcs('VM-entry interruption-information field').i32(INTERRUPTION_VALID).emit(op.i32And));
    const address = f.local(I64);
    for (const name of ['Guest RIP', 'Guest FS base', 'Guest GS base'] as const) {
      this.vmcs64(name).set(address);
      this.canonical(address);
    }
    const flags = f.local(I64);
    this.vmcs64('Guest RFLAGS').tee(flags).emit(op.i32WrapI64).set(this.#flags);
    const other = BigInt.asUintN(64, BigInt(~WRITABLE_FLAGS | RFLAGS.TF | RFLAGS.VM));
    this.unless(() =>
      f.get(flags).i64(BigInt.asIntN(64, other)).emit(op.i64And).i64(BigInt(RFLAGS.FIXED)).emit(op.i64Eq),
    );
    this.isWorldAsLeft(1, {
      cr0: () => {
        this.vmcs('Guest CR0');
        this.mergedCr0();
      },
      cr3: () => this.vmcs64('Guest CR3'),
      cr4: () => this.vmcs('Guest CR4'),
      efer: () => this.word(worldSwitchPlace.guestEfer),
    });
  }

  /** The exit whose round trip ends, if there is one, has to be among the newest. */
  #findRow(): void {
    const { f } = this;
    this.openExit().memory(memoryOp.f64Load).set(this.#open);
    this.either(
      () => this.#hasOpen(),
      () => {
        this.unless(() => {
          f.get(this.#open);
          this.number(exitLogPlace.first).emit(op.f64Ge);
        });
        f.get(this.#open);
        this.number(exitLogPlace.first).emit(op.f64Sub, op.i64TruncF64S, op.i32WrapI64).set(this.#row);
      },
    );
  }
  #hasOpen(): void {
    this.f.get(this.#open).f64(PENDING).emit(op.f64Ne);
  }

  #load(): void {
    const { f } = this;
    const cpl = f.local(I32);
    emitLoadGuest(f, this.region);
    this.setField('cr0', () => {
      this.vmcs('Guest CR0');
      this.mergedCr0();
    });
    this.setField('cr4', () => this.vmcs('Guest CR4'));
    this.setField('efer', () => this.word(worldSwitchPlace.guestEfer));
    this.either(
      () => this.vmcs('VM-entry controls').i32(ENTRY['Load IA32_PAT']).emit(op.i32And),
      () => this.setField64('pat', () => this.vmcs64('Guest IA32_PAT')),
    );
    for (const name of ['pauseLoopStart', 'preemptionDeadline'] as const) this.setField64(name, () => f.i64(0n));
    this.setStatusFlags(this.#flags);
    withoutStatus(f.get(this.#flags)).set(this.#flags);
    this.segment(SS, 'attributes').i32(ACCESS.DPL).emit(op.i32And).i32(5).emit(op.i32ShrU).set(cpl);
    this.commitWorld(1, worldSwitchPlace.guestExtensions, cpl, this.#flags);
  }

  /** ExitLog.entered. */
  #log(): void {
    const { f } = this;
    this.either(
      () => this.#hasOpen(),
      () => {
        const number = f.local(I32);
        const length = f.local(F64);
        const reason = f.local(I32);
        addressOfNumber(f.get(this.#row)).set(number);
        this.instructions(TAKEN);
        this.number(worldSwitchPlace.own).emit(op.f64Add);
        this.rowNumber(number, 'ownInstructions').emit(op.f64Sub).set(length);
        this.setRowNumber(number, 'roundTripInstructions', () => f.get(length));
        this.setRowNumber(number, 'roundTripIdleNs', () => {
          this.number(worldSwitchPlace.idleNs);
          this.rowNumber(number, 'idleNs').emit(op.f64Sub);
        });
        addressOfWord(f.get(this.#row)).memory(memoryOp.i32Load16U).set(reason);
        this.addToSum(exitLogPlace.roundTrips, reason, () => f.f64(1));
        this.addToSum(exitLogPlace.roundTripInstructions, reason, () => f.get(length));
        this.openExit().f64(PENDING).memory(memoryOp.f64Store);
      },
    );
  }
}
