/** Port 0x80: the power-on self test code display. Kernels write it for its delay of one bus cycle as well. */
import type { Device, DeviceView, PortDevice } from './device.ts';

export interface PostPortState {
  code: number;
}

export class PostPort implements Device<PostPortState>, PortDevice {
  readonly name = 'post-port';
  readonly ports = [{ first: 0x80, count: 1 }];
  readonly #onCode: ((code: number) => void) | undefined;
  #code = 0;

  constructor(onCode?: (code: number) => void) {
    this.#onCode = onCode;
  }

  readPort(): number {
    return this.#code;
  }

  peekPort(): number {
    return this.#code;
  }

  writePort(_port: number, _sizeBytes: number, value: number): void {
    this.#code = value & 0xff;
    this.#onCode?.(this.#code);
  }

  reset(): void {
    this.#code = 0;
  }

  saveState(): PostPortState {
    return { code: this.#code };
  }

  restoreState(state: PostPortState): void {
    this.#code = state.code;
  }

  describe(): DeviceView {
    return { device: this.name, registers: [{ name: 'POST code', value: this.#code, widthBits: 8 }] };
  }
}
