/** Port 0x92, system control port A of the PS/2: fast A20 and fast reset. Source: 82371AB (PIIX4) data sheet. */
import type { Device, DeviceView, PortDevice } from './device.ts';

export interface Port92State {
  value: number;
}

interface Port92Ports {
  readonly setA20: (enabled: boolean) => void;
  readonly reset: () => void;
}

const FAST_INIT = 0x01;
const FAST_A20 = 0x02;

export class Port92 implements Device<Port92State>, PortDevice {
  readonly name = 'port-92';
  readonly ports = [{ first: 0x92, count: 1 }];
  readonly #ports: Port92Ports;
  readonly #atReset: number;
  #value: number;

  /** Drives A20 at once. @param a20AtReset firmware normally leaves A20 enabled here */
  constructor(ports: Port92Ports, a20AtReset: boolean) {
    this.#ports = ports;
    this.#atReset = a20AtReset ? FAST_A20 : 0;
    this.#value = this.#atReset;
    this.reset();
  }

  readPort(): number {
    return this.#value;
  }

  peekPort(): number {
    return this.#value;
  }

  /** Fast reset takes a change from 0 to 1. */
  writePort(_port: number, _sizeBytes: number, value: number): void {
    const resets = (value & ~this.#value & FAST_INIT) !== 0;
    this.#value = value & (FAST_A20 | FAST_INIT);
    this.#ports.setA20((value & FAST_A20) !== 0);
    if (resets) this.#ports.reset();
  }

  reset(): void {
    this.#value = this.#atReset;
    this.#ports.setA20(this.#atReset !== 0);
  }

  saveState(): Port92State {
    return { value: this.#value };
  }

  restoreState(state: Port92State): void {
    this.#value = state.value;
    this.#ports.setA20((state.value & FAST_A20) !== 0);
  }

  describe(): DeviceView {
    const meaning = this.#value & FAST_A20 ? 'A20 enabled' : 'A20 masked';
    return {
      device: this.name,
      registers: [{ name: 'System Control Port A', value: this.#value, widthBits: 8, meaning }],
    };
  }
}
