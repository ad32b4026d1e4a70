/** QEMU's isa-debug-exit: a write ends the machine. What the value means for an exit status is the caller's business. */
import type { Device, DeviceView, PortDevice } from './device.ts';

export const DEBUG_EXIT_PORT = 0xf4;

export interface DebugExitState {
  lastCode: number | null;
}

export class DebugExit implements Device<DebugExitState>, PortDevice {
  readonly name = 'debug-exit';
  readonly ports;
  readonly #exit: (code: number) => void;
  #lastCode: number | null = null;

  /** @param exit is called with the value written, of up to 32 bits */
  constructor(exit: (code: number) => void, port = DEBUG_EXIT_PORT) {
    this.#exit = exit;
    this.ports = [{ first: port, count: 4, widestBytes: 4 as const }];
  }

  readPort(): number {
    return 0;
  }

  peekPort(): number {
    return 0;
  }

  writePort(_port: number, _sizeBytes: number, value: number): void {
    this.#lastCode = value >>> 0;
    this.#exit(this.#lastCode);
  }

  reset(): void {
    this.#lastCode = null;
  }

  saveState(): DebugExitState {
    return { lastCode: this.#lastCode };
  }

  restoreState(state: DebugExitState): void {
    this.#lastCode = state.lastCode;
  }

  describe(): DeviceView {
    const meaning = this.#lastCode === null ? 'not written' : 'written';
    return { device: this.name, registers: [{ name: 'code', value: this.#lastCode ?? 0, widthBits: 32, meaning }] };
  }
}
