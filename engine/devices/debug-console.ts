/** The debug console port 0xE9 of Bochs and QEMU: what is written appears; reading gives 0xE9, which tells it is there. */
import type { ByteSink, Device, DeviceView, PortDevice } from './device.ts';

const DEBUG_CONSOLE_PORT = 0xe9;

export interface DebugConsoleState {
  bytesWritten: number;
}

export class DebugConsole implements Device<DebugConsoleState>, PortDevice {
  readonly name = 'debug-console';
  readonly ports = [{ first: DEBUG_CONSOLE_PORT, count: 1 }];
  readonly #output: ByteSink;
  #bytesWritten = 0;

  constructor(output: ByteSink) {
    this.#output = output;
  }

  readPort(): number {
    return DEBUG_CONSOLE_PORT;
  }

  peekPort(): number {
    return DEBUG_CONSOLE_PORT;
  }

  writePort(_port: number, _sizeBytes: number, value: number): void {
    this.#bytesWritten++;
    this.#output(Uint8Array.of(value & 0xff));
  }

  reset(): void {
    this.#bytesWritten = 0;
  }

  saveState(): DebugConsoleState {
    return { bytesWritten: this.#bytesWritten };
  }

  restoreState(state: DebugConsoleState): void {
    this.#bytesWritten = state.bytesWritten;
  }

  describe(): DeviceView {
    return { device: this.name, registers: [{ name: 'bytes written', value: this.#bytesWritten, widthBits: 32 }] };
  }
}
