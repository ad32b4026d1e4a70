/**
 * The ports by which kernels without an ACPI interpreter turn an emulator off: PM1a_CNT of QEMU's PIIX4 (0x604) and of
 * Bochs and old QEMU (0xB004), and the port 0x8900 of Bochs that takes the word "Shutdown".
 * Source: ACPI specification 6.5, "PM1 Control Registers".
 */
import { clonePlain, type Device, type DeviceView, type PortDevice } from './device.ts';

export interface ShutdownPortsState {
  /** PM1a_CNT as written, without the write-only SLP_EN. */
  pm1aControl: number;
  /** How many letters of "Shutdown" have come. */
  lettersMatched: number;
}

const PM1A_CONTROL_PORTS = [0x604, 0xb004];
const WORD_PORT = 0x8900;
const WORD = [...'Shutdown'].map((letter) => letter.charCodeAt(0));
const SLP_EN = 0x2000;
const SLP_TYP = 0x1c00;
const SCI_EN = 0x0001;

export class ShutdownPorts implements Device<ShutdownPortsState>, PortDevice {
  readonly name = 'shutdown-ports';
  readonly ports = [
    ...PM1A_CONTROL_PORTS.map((first) => ({ first, count: 2, widestBytes: 2 as const })),
    { first: WORD_PORT, count: 1 },
  ];
  readonly #shutdown: (how: string) => void;
  #s: ShutdownPortsState = { pm1aControl: SCI_EN, lettersMatched: 0 };

  /** @param shutdown is called with the way that the guest took, in words */
  constructor(shutdown: (how: string) => void) {
    this.#shutdown = shutdown;
  }

  readPort(port: number, sizeBytes: number): number {
    return this.peekPort(port, sizeBytes);
  }

  peekPort(port: number, sizeBytes: number): number {
    if (port === WORD_PORT) return 0;
    const value = this.#s.pm1aControl >> (8 * (port & 1));
    return sizeBytes === 1 ? value & 0xff : value;
  }

  writePort(port: number, sizeBytes: number, value: number): void {
    if (port === WORD_PORT) this.#writeLetter(value & 0xff);
    else this.#writePm1aControl(port, sizeBytes, value);
  }

  reset(): void {
    this.#s = { pm1aControl: SCI_EN, lettersMatched: 0 };
  }

  saveState(): ShutdownPortsState {
    return clonePlain(this.#s);
  }

  restoreState(state: ShutdownPortsState): void {
    this.#s = clonePlain(state);
  }

  describe(): DeviceView {
    const { pm1aControl, lettersMatched } = this.#s;
    return {
      device: this.name,
      registers: [
        { name: 'PM1a_CNT', value: pm1aControl, widthBits: 16 },
        { name: '"Shutdown" letters', value: lettersMatched, widthBits: 8 },
      ],
    };
  }

  /** SLP_TYP of 0 is what both machines declare as \_S5; other sleep states do not exist on them. */
  #writePm1aControl(port: number, sizeBytes: number, value: number): void {
    const old = this.#s.pm1aControl;
    const shift = 8 * (port & 1);
    const written = sizeBytes === 2 ? value & 0xffff : (old & ~(0xff << shift)) | ((value & 0xff) << shift);
    this.#s.pm1aControl = written & ~SLP_EN;
    if (written & SLP_EN && (written & SLP_TYP) === 0) this.#shutdown(`ACPI soft off through PM1a_CNT`);
  }

  #writeLetter(letter: number): void {
    const s = this.#s;
    s.lettersMatched = letter === WORD[s.lettersMatched] ? s.lettersMatched + 1 : letter === WORD[0] ? 1 : 0;
    if (s.lettersMatched < WORD.length) return;
    s.lettersMatched = 0;
    this.#shutdown('the word "Shutdown" on port 0x8900');
  }
}
