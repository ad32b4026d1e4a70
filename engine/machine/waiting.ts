/** What happens while no vCPU can run: time passes until a device does something, or the run ends. */
import { waitsForStore } from '../cpu/monitoring.ts';
import { ACTIVITY } from '../cpu/register-bits.ts';
import { earlier } from '../devices/device.ts';
import type { Host } from './host.ts';
import type { Stop } from './machine-api.ts';
import type { MachinePlatform } from './platform.ts';
import type { Virtualizer } from './virtualizer.ts';

export class Waiting {
  readonly #host: Host;
  readonly #platform: MachinePlatform;
  readonly #virtualizer: Virtualizer;
  readonly #cpus: number;

  constructor(parts: { host: Host; platform: MachinePlatform; virtualizer: Virtualizer; cpus: number }) {
    this.#host = parts.host;
    this.#platform = parts.platform;
    this.#virtualizer = parts.virtualizer;
    this.#cpus = parts.cpus;
  }

  /** The loaded vCPU is in shutdown state. */
  shutdown(): Stop | undefined {
    const { state, processor, loaded } = this.#host;
    if (state.activityState !== ACTIVITY.SHUTDOWN || state.preemptionDeadline !== 0) return undefined;
    const explanation = `A fault occurred while a double fault was delivered. ${processor.shutdownCause} The processor waits for a reset.`;
    return { kind: 'shutdown', vcpu: loaded, explanation };
  }

  /** Lets time pass; a Stop if nothing ever will happen. `only`: the one vCPU that may run. */
  passTime(only: number | undefined): Stop | undefined {
    const [halted] = this.#halted();
    const { state, clock } = this.#host;
    if (only === undefined && state.activityState !== ACTIVITY.HLT && halted !== undefined) this.#host.load(halted);
    const vcpu = this.#host.loaded;
    if (state.activityState === ACTIVITY.WAIT_FOR_SIPI) {
      const explanation = 'The processor waits for a start-up IPI, and no processor is going to send one.';
      return { kind: 'halted', vcpu, explanation };
    }
    const deadline = this.#nextDeadlineNs();
    const enabled = this.#canAnyWake();
    if (deadline === undefined || !enabled) {
      const why = enabled ? 'no device is going to raise an interrupt' : 'interrupts are disabled (RFLAGS.IF = 0)';
      const instruction = waitsForStore(state) ? 'MWAIT' : 'HLT';
      return { kind: 'halted', vcpu, explanation: `The processor executed ${instruction} and ${why}.` };
    }
    clock.skipTo(deadline);
    this.#platform.service();
    return undefined;
  }

  /** When a device is due, or the VMX-preemption timer of a vCPU. */
  #nextDeadlineNs(): number | undefined {
    let first = this.#platform.nextDeadlineNs();
    for (let index = 0; index < this.#cpus; index++) first = earlier(first, this.#host.preemptionDeadline(index));
    return first;
  }

  #halted(): number[] {
    const all = Array.from({ length: this.#cpus }, (_, index) => index);
    return all.filter((index) => this.#host.activityState(index) === ACTIVITY.HLT);
  }

  #canAnyWake(): boolean {
    if (this.#virtualizer.canWake) return true;
    return this.#halted().some((index) => this.#host.with(index, () => this.#virtualizer.canWake));
  }
}
