/**
 * Port 0x61, the NMI status and control register: gate and speaker of PIT counter 2, refresh toggle.
 * Source: 82371AB (PIIX4) data sheet, "NMISC—NMI Status and Control Register".
 */
import { bitNames, type Clock, type Device, type DeviceView, type PortDevice } from './device.ts';
import { pitTicksAt } from './pit-8254.ts';

export interface Port61State {
  /** Bits 0–3 as written. */
  control: number;
}

interface Port61Ports {
  readonly clock: Clock;
  readonly setGate2: (level: boolean) => void;
  readonly output2: () => boolean;
}

/** DRAM refresh ran off PIT counter 1 with a count of 18, about 15 µs; the bit flips with each request. */
const REFRESH_TICKS = 18;
const BIT_NAMES = [
  'Timer counter 2 enable',
  'Speaker data enable',
  'PCI SERR# disable',
  'IOCHK# disable',
  'Refresh cycle toggle',
  'Timer counter 2 OUT',
  'IOCHK# NMI source',
  'SERR# NMI source',
];

export class Port61 implements Device<Port61State>, PortDevice {
  readonly name = 'port-61';
  readonly ports = [{ first: 0x61, count: 1 }];
  readonly #ports: Port61Ports;
  #control = 0;

  constructor(ports: Port61Ports) {
    this.#ports = ports;
  }

  readPort(port: number): number {
    return this.peekPort(port);
  }

  peekPort(_port: number): number {
    const refresh = Math.floor(pitTicksAt(this.#ports.clock()) / REFRESH_TICKS) & 1;
    return this.#control | (refresh << 4) | (this.#ports.output2() ? 0x20 : 0);
  }

  writePort(_port: number, _sizeBytes: number, value: number): void {
    this.#control = value & 0x0f;
    this.#ports.setGate2((value & 1) !== 0);
  }

  reset(): void {
    this.writePort(0x61, 1, 0);
  }

  saveState(): Port61State {
    return { control: this.#control };
  }

  /** The gate itself is state of the PIT and comes back with it. */
  restoreState(state: Port61State): void {
    this.#control = state.control;
  }

  describe(): DeviceView {
    const value = this.peekPort(0x61);
    return {
      device: this.name,
      registers: [{ name: 'NMISC', value, widthBits: 8, meaning: bitNames(value, BIT_NAMES) }],
    };
  }
}
