/** The VMCSs that software has named in VMCLEAR or VMPTRLD, or the VMCBs in VMRUN, for debuggers. */

/** The guest is hostile: of more than these, those named longest ago are forgotten. */
export const MAX_KNOWN_VMCSS = 256;

export class KnownVmcss {
  /** By when they were named last. */
  readonly #addresses = new Set<number>();

  /** Host-physical addresses, in rising order. */
  get addresses(): number[] {
    return [...this.#addresses].sort((a, b) => a - b);
  }

  named(address: number): void {
    this.#addresses.delete(address);
    this.#addresses.add(address);
    const [oldest] = this.#addresses;
    if (this.#addresses.size > MAX_KNOWN_VMCSS && oldest !== undefined) this.#addresses.delete(oldest);
  }

  saveState(): readonly number[] {
    return [...this.#addresses];
  }
  restoreState(addresses: readonly number[]): void {
    this.#addresses.clear();
    for (const address of addresses) this.#addresses.add(address);
  }
}
