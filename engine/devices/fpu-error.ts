/**
 * The error of the numeric coprocessor as a PC reports it: FERR# raises IRQ13; a write to port F0H takes that back and
 * asserts IGNNE#, which lets the handler use the FPU until FERR# ends. Source: 82371AB (PIIX4) data sheet, "Coprocessor
 * Error Register"; SDM volume 1, "Handling x87 FPU Exceptions in Software".
 */
import type { Device, DeviceView, InterruptLine, PortDevice } from './device.ts';

export interface FpuErrorState {
  error: boolean;
  ignored: boolean;
}

const NOTHING = 0xff;

export class FpuError implements Device<FpuErrorState>, PortDevice {
  readonly name = 'fpu-error';
  readonly ports = [{ first: 0xf0, count: 1 }];
  readonly #irq13: InterruptLine;
  /** FERR# and IGNNE#. */
  #error = false;
  #ignored = false;

  constructor(irq13: InterruptLine) {
    this.#irq13 = irq13;
  }

  /** IGNNE#. */
  get isIgnored(): boolean {
    return this.#ignored;
  }

  /** The level of FERR#. */
  setError(level: boolean): void {
    if (level === this.#error) return;
    this.#error = level;
    if (level) this.#irq13.set(true);
    else this.#ignored = false;
  }

  readPort(): number {
    return NOTHING;
  }

  peekPort(): number {
    return NOTHING;
  }

  writePort(): void {
    this.#irq13.set(false);
    this.#ignored = this.#error;
  }

  reset(): void {
    this.#irq13.set(false);
    this.#error = false;
    this.#ignored = false;
  }

  saveState(): FpuErrorState {
    return { error: this.#error, ignored: this.#ignored };
  }

  restoreState({ error, ignored }: FpuErrorState): void {
    this.#error = error;
    this.#ignored = ignored;
  }

  describe(): DeviceView {
    const level = (on: boolean) => (on ? 'asserted' : 'not asserted');
    return {
      device: this.name,
      registers: [
        { name: 'FERR#', value: Number(this.#error), widthBits: 1, meaning: level(this.#error) },
        { name: 'IGNNE#', value: Number(this.#ignored), widthBits: 1, meaning: level(this.#ignored) },
      ],
    };
  }
}
