/**
 * INIT, start-up IPIs and NMIs on their way to the vCPUs, and what they do there. A signal takes effect at the instruction
 * boundary after the one that sent it (SDM volume 3, "Multiple-Processor (MP) Initialization" and "Handling Multiple
 * NMIs").
 */
import { ACTIVITY } from '../cpu/register-bits.ts';
import { init, startUp } from '../cpu/reset.ts';
import type { Host } from './host.ts';

interface Pending {
  init: boolean;
  /** Vector of a start-up IPI. */
  startUp: number | undefined;
  nmi: boolean;
}

/** What the signals lead to outside of the processor. */
export interface SignalEffects {
  /** The APIC of the loaded vCPU goes to its state after INIT. */
  resetApic(): void;
  /** The bootstrap processor was reset: it would start at the reset vector, where there is no firmware. */
  bootstrapReset(): void;
}

export class ProcessorSignals {
  readonly #host: Host;
  readonly #effects: SignalEffects;
  readonly #pending: Pending[];

  constructor(host: Host, cpus: number, effects: SignalEffects) {
    this.#host = host;
    this.#effects = effects;
    this.#pending = Array.from({ length: cpus }, () => ({ init: false, startUp: undefined, nmi: false }));
  }

  init(vcpu: number): void {
    this.#of(vcpu).init = true;
    this.#host.runtime.stopRequested = true;
  }
  startUp(vcpu: number, vector: number): void {
    this.#of(vcpu).startUp = vector;
    this.#host.runtime.stopRequested = true;
  }
  nmi(vcpu: number): void {
    this.#of(vcpu).nmi = true;
    this.#host.runtime.stopRequested = true;
  }

  isPending(vcpu: number): boolean {
    const { init, startUp: vector, nmi } = this.#of(vcpu);
    return init || nmi || vector !== undefined;
  }

  /**
   * To be called at an instruction boundary: all INITs and start-up IPIs take effect. They come before traps of the last
   * instruction. Returns whether something happened to the loaded vCPU.
   */
  deliverStarts(): boolean {
    let isTaken = false;
    this.#pending.forEach((signals, vcpu) => {
      if (!signals.init && signals.startUp === undefined) return;
      const happened = this.#host.with(vcpu, () => this.#start(signals));
      isTaken ||= vcpu === this.#host.loaded && happened;
    });
    return isTaken;
  }

  /** The same for an NMI of the loaded vCPU. It comes after those traps. */
  deliverNmi(): boolean {
    const own = this.#of(this.#host.loaded);
    if (!own.nmi) return false;
    const { happened, isTaken } = this.#host.virtualization.offerNmi();
    if (isTaken) own.nmi = false;
    return happened;
  }

  /** INIT before a start-up IPI, which only a processor that waits for one takes. False while INIT is blocked. */
  #start(signals: Pending): boolean {
    const { state } = this.#host;
    if (signals.init) {
      const outcome = this.#host.virtualization.onInit();
      if (outcome === 'blocked' || outcome === 'kept') return outcome === 'kept';
      signals.init = false;
      if (outcome === 'reset') this.#reset();
    }
    const vector = signals.startUp;
    signals.startUp = undefined;
    if (vector === undefined || state.activityState !== ACTIVITY.WAIT_FOR_SIPI) return true;
    if (!this.#host.virtualization.onStartUp(vector)) startUp(this.#host.processor, vector);
    return true;
  }

  #reset(): void {
    const { state, processor, loaded } = this.#host;
    if (loaded === 0) return this.#effects.bootstrapReset();
    this.#of(loaded).nmi = false;
    init(processor);
    this.#effects.resetApic();
    state.activityState = ACTIVITY.WAIT_FOR_SIPI;
  }

  #of(vcpu: number): Pending {
    return this.#pending[vcpu] as Pending;
  }

  saveState() {
    return this.#pending.map((signals) => ({ ...signals, startUp: signals.startUp ?? null }));
  }
  restoreState(saved: ReturnType<ProcessorSignals['saveState']>): void {
    saved.forEach((signals, vcpu) => {
      Object.assign(this.#of(vcpu), signals, { startUp: signals.startUp ?? undefined });
    });
  }
}
