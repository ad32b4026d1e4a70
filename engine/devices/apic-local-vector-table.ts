/**
 * The local vector table of a local APIC, and the levels of the pins LINT0 and LINT1, whose interrupts it describes.
 * Source: SDM volume 3, "Local Vector Table".
 */
import { DELIVERY, deliveryMode, LVT, LVT_BIT, lvtEntries } from './apic-registers.ts';

/** LINT0 or LINT1. */
export type LocalPin = 0 | 1;
export const LOCAL_PINS: readonly LocalPin[] = [0, 1];

/** What a pin brings about. */
export interface LocalInterrupt {
  readonly mode: number;
  readonly vector: number;
  readonly isLevelTriggered: boolean;
}

export interface LocalVectorTableState {
  readonly entries: readonly number[];
  readonly levels: readonly boolean[];
}

export class LocalVectorTable {
  #entries = allMasked();
  #levels = [false, false];

  entry(index: number): number {
    return this.#entries[index] ?? 0;
  }
  isMasked(index: number): boolean {
    return (this.entry(index) & LVT_BIT.MASK) !== 0;
  }
  get isTimerPeriodic(): boolean {
    return (this.entry(LVT.TIMER) & LVT_BIT.PERIODIC) !== 0;
  }

  /** While software keeps the APIC disabled, every entry stays masked. */
  write(index: number, value: number, isEnabled: boolean): void {
    const masked = isEnabled ? 0 : LVT_BIT.MASK;
    const kept = this.entry(index) & LVT_BIT.REMOTE_IRR;
    this.#entries[index] = (value & (lvtEntries[index]?.writable ?? 0)) | masked | kept;
  }
  maskAll(): void {
    this.#entries = this.#entries.map((entry) => entry | LVT_BIT.MASK);
  }

  level(pin: LocalPin): boolean {
    return this.#levels[pin] === true;
  }
  /** Returns whether the level has changed. */
  setLevel(pin: LocalPin, level: boolean): boolean {
    const isChange = this.level(pin) !== level;
    this.#levels[pin] = level;
    return isChange;
  }

  /**
   * The interrupt of a pin after it or its entry has changed, if there is one. `edge` tells that the level did: modes other than
   * fixed level-triggered need that.
   */
  interruptOf(pin: LocalPin, edge: boolean): LocalInterrupt | undefined {
    const index = LVT.LINT0 + pin;
    const entry = this.entry(index);
    const mode = deliveryMode(entry);
    if (entry & LVT_BIT.MASK || mode === DELIVERY.EXTINT || !this.#isAsserted(pin)) return undefined;
    const isLevelTriggered = mode === DELIVERY.FIXED && (entry & LVT_BIT.LEVEL) !== 0;
    if (isLevelTriggered ? entry & LVT_BIT.REMOTE_IRR : !edge) return undefined;
    if (isLevelTriggered) this.#entries[index] = entry | LVT_BIT.REMOTE_IRR;
    return { mode, vector: entry & 0xff, isLevelTriggered };
  }

  /** A level-triggered interrupt was served; returns whether it was that of the pin, which may then request it anew. */
  endOfInterrupt(pin: LocalPin, vector: number): boolean {
    const index = LVT.LINT0 + pin;
    const entry = this.entry(index);
    if ((entry & 0xff) !== vector || !(entry & LVT_BIT.REMOTE_IRR)) return false;
    this.#entries[index] = entry & ~LVT_BIT.REMOTE_IRR;
    return true;
  }

  /** Whether the external controller requests an interrupt through a pin (ExtINT). */
  get isExternalPending(): boolean {
    return LOCAL_PINS.some((pin) => {
      const entry = this.entry(LVT.LINT0 + pin);
      return this.level(pin) && !(entry & LVT_BIT.MASK) && deliveryMode(entry) === DELIVERY.EXTINT;
    });
  }

  #isAsserted(pin: LocalPin): boolean {
    const isLowActive = (this.entry(LVT.LINT0 + pin) & LVT_BIT.POLARITY_LOW) !== 0;
    return this.level(pin) !== isLowActive;
  }

  /** As firmware leaves that of the bootstrap processor: the 8259 through LINT0, NMI through LINT1. */
  enterVirtualWireMode(): void {
    this.#entries[LVT.LINT0] = DELIVERY.EXTINT << 8;
    this.#entries[LVT.LINT1] = DELIVERY.NMI << 8;
  }

  /** The levels of the pins stay. */
  reset(): void {
    this.#entries = allMasked();
  }
  save(): LocalVectorTableState {
    return { entries: [...this.#entries], levels: [...this.#levels] };
  }
  restore({ entries, levels }: LocalVectorTableState): void {
    this.#entries = [...entries];
    this.#levels = [...levels];
  }
}

const allMasked = (): number[] => lvtEntries.map(() => LVT_BIT.MASK);
