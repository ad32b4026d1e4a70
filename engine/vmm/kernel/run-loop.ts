/**
 * The run loop of the kernel half: from a VM exit by its handler to the next VM entry, as stages that the call stack shows, or
 * until something ends the wait of a virtual processor that does not run.
 */

import { ACTIVITY } from '../../cpu/register-bits.ts';
import { exitReason } from '../../vmx/exit-reasons.ts';
import type { Vmx } from '../../vmx/vmx.ts';
import { type Handling, kernelStage, type Stage } from '../stages.ts';
import { exitHandlers } from './exit-handlers.ts';
import { block, canWake, prepareInjection } from './interrupts.ts';
import { enteredL2, failEntryOfL2 } from './nested/nested-exit.ts';
import { nestedHandler } from './nested/routing.ts';
import type { KernelParts, VirtualCpu } from './virtual-cpu.ts';

/** Stages by exit reason, made once. */
const exitStages = new Map<number, { readonly exit: Stage; readonly handler: Stage }>();

function stagesOf(reason: number): { readonly exit: Stage; readonly handler: Stage } {
  let stages = exitStages.get(reason);
  if (!stages) {
    const { name, doc, handler } = exitReason(reason) ?? { name: `exit reason ${reason}`, doc: '', handler: '' };
    const exit = `${doc} The processor has saved the guest's state in the VMCS and loaded the host's.`;
    stages = {
      exit: kernelStage(`VM exit: ${name}`, exit),
      handler: kernelStage(`handle ${name}`, handler),
    };
    exitStages.set(reason, stages);
  }
  return stages;
}

const ENTRY_STAGE = kernelStage(
  'VM entry',
  'What waits for the guest is injected; VMLAUNCH or VMRESUME checks the VMCS and loads the guest’s state from it.',
);
const WAIT_FOR_SIPI_STAGE = kernelStage(
  'wait for SIPI',
  'The virtual processor waits until another one starts it; it has not been entered yet.',
);
const HALTED_STAGE = kernelStage(
  'halted',
  'The guest executed HLT. Its virtual processor leaves the host’s processor until an interrupt is pending for it.',
);

export class RunLoop {
  readonly #kernel: KernelParts;
  readonly #vmx: Vmx;

  constructor(kernel: KernelParts, vmx: Vmx) {
    this.#kernel = kernel;
    this.#vmx = vmx;
  }

  /** A VM exit, from the exit to the entry that follows it. */
  *handle(vcpu: VirtualCpu): Handling {
    const { guest } = vcpu;
    const reason = guest.exitReason;
    const stages = stagesOf(reason);
    vcpu.stages.clear();
    vcpu.stages.enter(stages.exit);
    yield;
    vcpu.stages.enter(stages.handler);
    yield;
    guest.reinjectInterruptedEvent();
    const handler = (vcpu.nested.isL2 ? nestedHandler(vcpu) : undefined) ?? exitHandlers.get(reason);
    if (!handler) this.#kernel.unimplemented(`handler for VM exit: ${exitReason(reason)?.name ?? reason}`);
    const handling = handler?.(vcpu);
    if (handling) yield* handling;
    vcpu.stages.leave();
    yield* this.enter(vcpu);
  }

  /** For good: guests have no local APIC, which could start one. */
  *waitForSipi(vcpu: VirtualCpu): Handling {
    vcpu.stages.enter(WAIT_FOR_SIPI_STAGE);
    this.#kernel.state.activityState = ACTIVITY.WAIT_FOR_SIPI;
    vcpu.isBlocked = true;
    yield;
    yield* this.enter(vcpu);
  }

  /** Until an interrupt ends its HLT. */
  *#waitForInterrupt(vcpu: VirtualCpu): Handling {
    vcpu.stages.enter(HALTED_STAGE);
    block(vcpu);
    yield;
    vcpu.stages.leave();
    yield* this.#entry(vcpu);
  }

  /** For good. */
  *#stayDead(vcpu: VirtualCpu): Handling {
    this.#kernel.state.activityState = ACTIVITY.SHUTDOWN;
    vcpu.isBlocked = true;
    yield;
  }

  /** To the guest: at once, or when an interrupt ends its HLT. */
  *enter(vcpu: VirtualCpu): Handling {
    if (vcpu.isDead) yield* this.#stayDead(vcpu);
    if (vcpu.isHalted && !canWake(vcpu)) yield* this.#waitForInterrupt(vcpu);
    else yield* this.#entry(vcpu);
  }

  *#entry(vcpu: VirtualCpu): Handling {
    vcpu.isHalted = false;
    vcpu.stages.enter(ENTRY_STAGE);
    yield;
    prepareInjection(vcpu);
    this.#launch(vcpu);
  }

  #launch(vcpu: VirtualCpu): void {
    const { state } = this.#kernel;
    const done = vcpu.operation.enter(vcpu.hasLaunched);
    if (state.nonRoot) {
      this.#entered(vcpu);
      vcpu.stages.clear();
    } else if (done && !vcpu.guest.entryFailed) {
      // The delivery of an injected event exited at once.
      this.#entered(vcpu);
      vcpu.handling = this.handle(vcpu);
      vcpu.handling.next();
    } else if (done && vcpu.nested.isL2) {
      // What the CPU found wrong with the state of L2 is for L1 to see.
      failEntryOfL2(vcpu, vcpu.guest.exitReason, BigInt(vcpu.guest.qualification));
      vcpu.handling = this.enter(vcpu);
      vcpu.handling.next();
    } else {
      this.#kernel.stop(`The hypervisor's VM entry failed: ${this.#violations()}`);
      vcpu.entryFailed = true;
      vcpu.handling = this.enter(vcpu);
      vcpu.handling.next();
    }
  }

  #entered(vcpu: VirtualCpu): void {
    vcpu.hasLaunched = true;
    if (vcpu.nested.isL2) enteredL2(vcpu);
  }

  #violations(): string {
    const rules = this.#vmx.violatedRules();
    return rules.map(({ text }) => text).join(' ') || 'see the VM-instruction error and the exit reason in the VMCS.';
  }

  /** What a virtual processor that is blocked waits for. */
  blocked(vcpu: VirtualCpu): Handling {
    if (vcpu.isDead) return this.#stayDead(vcpu);
    return vcpu.isHalted ? this.#waitForInterrupt(vcpu) : this.waitForSipi(vcpu);
  }
}
