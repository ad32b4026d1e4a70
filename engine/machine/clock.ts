/**
 * Virtual time: one instruction takes one nanosecond, and time that all vCPUs spend waiting is skipped. The TSC counts
 * at 1 GHz. Nothing of the host's clock enters.
 */
export class VirtualClock {
  /** Instructions retired by all vCPUs in slices that ended. */
  retired = 0;
  /** Nanoseconds skipped while nothing ran. */
  idleNs = 0;
  /** Instructions of the slice that runs, before the one under way. */
  executing: () => number = () => 0;
  /** Instructions retired by each vCPU until it was loaded last. */
  #own: number[] = [];
  /** Index of the loaded vCPU. */
  loaded = 0;
  #instructionsAtLoad = 0;

  /** Instructions retired since power-on. */
  get instructions(): number {
    return this.retired + this.executing();
  }
  /** Of so many instructions, now or since it was loaded, those of the loaded vCPU. */
  ownOf(instructions: number): number {
    return (this.#own[this.loaded] ?? 0) + instructions - this.#instructionsAtLoad;
  }
  get nowNs(): number {
    return this.instructions + this.idleNs;
  }
  /** Another vCPU is loaded. */
  turnsTo(vcpu: number): void {
    const { instructions } = this;
    this.#own[this.loaded] = this.ownOf(instructions);
    this.#instructionsAtLoad = instructions;
    this.loaded = vcpu;
  }
  saveState() {
    const { retired, idleNs } = this;
    return {
      retired,
      idleNs,
      own: this.#own.slice(),
      loaded: this.loaded,
      instructionsAtLoad: this.#instructionsAtLoad,
    };
  }
  restoreState({ retired, idleNs, own, loaded, instructionsAtLoad }: ReturnType<VirtualClock['saveState']>): void {
    this.retired = retired;
    this.idleNs = idleNs;
    this.#own = own.slice();
    this.loaded = loaded;
    this.#instructionsAtLoad = instructionsAtLoad;
  }
  /** Skips to a later time. */
  skipTo(ns: number): void {
    if (ns > this.nowNs) this.idleNs += ns - this.nowNs;
  }
}
