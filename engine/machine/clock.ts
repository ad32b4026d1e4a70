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

  /** Instructions retired since power-on. */
  get instructions(): number {
    return this.retired + this.executing();
  }
  get nowNs(): number {
    return this.instructions + this.idleNs;
  }
  /** Skips to a later time. */
  skipTo(ns: number): void {
    if (ns > this.nowNs) this.idleNs += ns - this.nowNs;
  }
}
