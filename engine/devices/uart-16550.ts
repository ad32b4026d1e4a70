/**
 * National Semiconductor PC16550D UART, the PC's COM port.
 * Source: PC16550D data sheet (TL/C/8652), "Registers", "FIFO Interrupt Mode Operation".
 *
 * A byte written to THR is out at once, so the transmitter is always empty when the guest looks; received bytes wait
 * outside until the FIFO has room, so a guest that is slow loses none. The character timeout takes its virtual time.
 */
import {
  type ByteSink,
  bitNames,
  type Clock,
  clonePlain,
  type Device,
  type DeviceView,
  type InterruptLine,
  type PortDevice,
  type TimedDevice,
} from './device.ts';

export interface Uart16550State {
  ier: number;
  fcr: number;
  lcr: number;
  mcr: number;
  /** The error bits OE, PE, FE, BI; the others follow from the rest of the state. */
  lineErrors: number;
  /** DCTS, DDSR, TERI, DDCD. */
  modemDeltas: number;
  scratch: number;
  divisorLatch: number;
  receiveFifo: number[];
  /** Input that has arrived and does not fit into the FIFO yet. */
  waitingInput: number[];
  thrEmptyPending: boolean;
  timeoutPending: boolean;
  timeoutAtNs: number | null;
}

export interface Uart16550Ports {
  readonly clock: Clock;
  readonly irq: InterruptLine;
  readonly output: ByteSink;
}

const IER_NAMES = ['ERBFI', 'ETBEI', 'ELSI', 'EDSSI'];
const LCR_NAMES = ['WLS0', 'WLS1', 'STB', 'PEN', 'EPS', 'Stick Parity', 'Set Break', 'DLAB'];
const MCR_NAMES = ['DTR', 'RTS', 'OUT1', 'OUT2', 'Loop'];
const LSR_NAMES = ['DR', 'OE', 'PE', 'FE', 'BI', 'THRE', 'TEMT', 'Error in RCVR FIFO'];
const MSR_NAMES = ['DCTS', 'DDSR', 'TERI', 'DDCD', 'CTS', 'DSR', 'RI', 'DCD'];

const IER = { ERBFI: 1, ETBEI: 2, ELSI: 4, EDSSI: 8 };
const FCR = { ENABLE: 1, CLEAR_RCVR: 2, CLEAR_XMIT: 4 };
const LCR = { STB: 0x04, PEN: 0x08, SET_BREAK: 0x40, DLAB: 0x80 };
const MCR = { DTR: 1, RTS: 2, OUT1: 4, OUT2: 8, LOOP: 0x10 };
const LSR = { DR: 1, OE: 2, BI: 0x10, THRE: 0x20, TEMT: 0x40 };
const MSR = { CTS: 0x10, DSR: 0x20, RI: 0x40, DCD: 0x80 };

/** Interrupt identification codes, IIR bits 0–3, from the highest priority. */
const IIR = {
  RECEIVER_LINE_STATUS: 0x6,
  RECEIVED_DATA_AVAILABLE: 0x4,
  CHARACTER_TIMEOUT: 0xc,
  THR_EMPTY: 0x2,
  MODEM_STATUS: 0x0,
  NONE: 0x1,
};
const IIR_NAMES = new Map([
  [IIR.RECEIVER_LINE_STATUS, 'receiver line status'],
  [IIR.RECEIVED_DATA_AVAILABLE, 'received data available'],
  [IIR.CHARACTER_TIMEOUT, 'character timeout indication'],
  [IIR.THR_EMPTY, 'transmitter holding register empty'],
  [IIR.MODEM_STATUS, 'modem status'],
  [IIR.NONE, 'no interrupt pending'],
]);

const FIFO_BYTES = 16;
const TRIGGER_LEVELS = [1, 4, 8, 14];
const CRYSTAL_HZ = 1_843_200;
/** Divisor for 9600 baud, what PC firmware leaves behind. */
const DIVISOR_9600 = 12;

function powerOn(): Uart16550State {
  return {
    ier: 0,
    fcr: 0,
    lcr: 0,
    mcr: 0,
    lineErrors: 0,
    modemDeltas: 0,
    scratch: 0,
    divisorLatch: DIVISOR_9600,
    receiveFifo: [],
    waitingInput: [],
    thrEmptyPending: false,
    timeoutPending: false,
    timeoutAtNs: null,
  };
}

export class Uart16550 implements Device<Uart16550State>, PortDevice, TimedDevice {
  readonly name: string;
  readonly ports;
  readonly #base: number;
  readonly #ports: Uart16550Ports;
  #s = powerOn();

  /** @param base first of its eight ports: 0x3F8 for COM1, 0x2F8, 0x3E8, 0x2E8 */
  constructor(name: string, base: number, ports: Uart16550Ports) {
    this.name = name;
    this.#base = base;
    this.ports = [{ first: base, count: 8 }];
    this.#ports = ports;
  }

  /** Bytes from outside, in order; they wait until the receiver has room for them. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) this.#s.waitingInput.push(byte);
    this.#fillFifo();
    this.#update();
  }

  readPort(port: number): number {
    const value = this.peekPort(port);
    const dlab = this.#dlab;
    switch (port - this.#base) {
      case 0:
        if (!dlab) this.#takeReceived();
        break;
      case 2:
        if ((value & 0x0f) === IIR.THR_EMPTY) this.#s.thrEmptyPending = false;
        break;
      case 5:
        this.#s.lineErrors = 0;
        break;
      case 6:
        this.#s.modemDeltas = 0;
        break;
    }
    this.#update();
    return value;
  }

  peekPort(port: number): number {
    const s = this.#s;
    switch (port - this.#base) {
      case 0:
        return this.#dlab ? s.divisorLatch & 0xff : (s.receiveFifo[0] ?? 0);
      case 1:
        return this.#dlab ? s.divisorLatch >> 8 : s.ier;
      case 2:
        return this.#interruptIdentification() | (s.fcr & FCR.ENABLE ? 0xc0 : 0);
      case 3:
        return s.lcr;
      case 4:
        return s.mcr;
      case 5:
        return this.#lineStatus();
      case 6:
        return this.#modemStatus();
      default:
        return s.scratch;
    }
  }

  writePort(port: number, _sizeBytes: number, rawValue: number): void {
    const s = this.#s;
    const value = rawValue & 0xff;
    switch (port - this.#base) {
      case 0:
        if (this.#dlab) s.divisorLatch = (s.divisorLatch & 0xff00) | value;
        else this.#transmit(value);
        break;
      case 1:
        if (this.#dlab) s.divisorLatch = (s.divisorLatch & 0x00ff) | (value << 8);
        else this.#writeIer(value);
        break;
      case 2:
        this.#writeFcr(value);
        break;
      case 3:
        this.#writeLcr(value);
        break;
      case 4:
        this.#writeMcr(value & 0x1f);
        break;
      case 7:
        s.scratch = value;
        break;
      // LSR is "intended for read operations only", MSR has nothing to write.
    }
    this.#update();
  }

  deadlineNs(): number | undefined {
    return this.#s.timeoutAtNs ?? undefined;
  }

  service(nowNs: number): void {
    const due = this.#s.timeoutAtNs;
    if (due === null || nowNs < due) return;
    this.#s.timeoutAtNs = null;
    this.#s.timeoutPending = this.#s.receiveFifo.length > 0;
    this.#update();
  }

  reset(): void {
    this.#s = powerOn();
    this.#update();
  }

  saveState(): Uart16550State {
    return clonePlain(this.#s);
  }

  restoreState(state: Uart16550State): void {
    this.#s = clonePlain(state);
    this.#update();
  }

  describe(): DeviceView {
    const s = this.#s;
    const iir = this.#interruptIdentification() | (s.fcr & FCR.ENABLE ? 0xc0 : 0);
    const fifo = `${s.receiveFifo.length} in the FIFO, ${s.waitingInput.length} waiting outside`;
    const baud = s.divisorLatch === 0 ? 'no clock' : `${Math.round(CRYSTAL_HZ / 16 / s.divisorLatch)} baud`;
    const register = (name: string, value: number, meaning: string, widthBits = 8) => ({
      name,
      value,
      widthBits,
      meaning,
    });
    return {
      device: this.name,
      registers: [
        register('RBR', s.receiveFifo[0] ?? 0, fifo),
        register('IER', s.ier, bitNames(s.ier, IER_NAMES)),
        register('IIR', iir, IIR_NAMES.get(iir & 0x0f) ?? ''),
        register('FCR', s.fcr, s.fcr & FCR.ENABLE ? `FIFOs on, trigger level ${this.#triggerLevel}` : 'FIFOs off'),
        register('LCR', s.lcr, bitNames(s.lcr, LCR_NAMES)),
        register('MCR', s.mcr, bitNames(s.mcr, MCR_NAMES)),
        register('LSR', this.#lineStatus(), bitNames(this.#lineStatus(), LSR_NAMES)),
        register('MSR', this.#modemStatus(), bitNames(this.#modemStatus(), MSR_NAMES)),
        register('SCR', s.scratch, 'scratch'),
        register('DLM:DLL', s.divisorLatch, baud, 16),
      ],
    };
  }

  get #dlab(): boolean {
    return (this.#s.lcr & LCR.DLAB) !== 0;
  }

  get #loop(): boolean {
    return (this.#s.mcr & MCR.LOOP) !== 0;
  }

  get #capacity(): number {
    return this.#s.fcr & FCR.ENABLE ? FIFO_BYTES : 1;
  }

  get #triggerLevel(): number {
    return this.#s.fcr & FCR.ENABLE ? (TRIGGER_LEVELS[this.#s.fcr >> 6] ?? 1) : 1;
  }

  /** Four characters of silence: start, data, parity and stop bits at sixteen clocks each. */
  #timeoutNs(): number {
    const { lcr, divisorLatch } = this.#s;
    const bits = 1 + 5 + (lcr & 3) + (lcr & LCR.PEN ? 1 : 0) + (lcr & LCR.STB ? 2 : 1);
    return Math.ceil((4 * bits * 16 * Math.max(1, divisorLatch) * 1_000_000_000) / CRYSTAL_HZ);
  }

  #lineStatus(): number {
    return this.#s.lineErrors | LSR.THRE | LSR.TEMT | (this.#s.receiveFifo.length > 0 ? LSR.DR : 0);
  }

  #modemStatus(): number {
    return this.#s.modemDeltas | this.#modemInputs(this.#s.mcr);
  }

  /** In loop mode the modem control outputs are wired to the inputs; else a terminal is always connected. */
  #modemInputs(mcr: number): number {
    if (!(mcr & MCR.LOOP)) return MSR.CTS | MSR.DSR | MSR.DCD;
    return (
      (mcr & MCR.RTS ? MSR.CTS : 0) |
      (mcr & MCR.DTR ? MSR.DSR : 0) |
      (mcr & MCR.OUT1 ? MSR.RI : 0) |
      (mcr & MCR.OUT2 ? MSR.DCD : 0)
    );
  }

  #interruptIdentification(): number {
    const s = this.#s;
    if (s.ier & IER.ELSI && s.lineErrors) return IIR.RECEIVER_LINE_STATUS;
    if (s.ier & IER.ERBFI && s.receiveFifo.length >= this.#triggerLevel) return IIR.RECEIVED_DATA_AVAILABLE;
    if (s.ier & IER.ERBFI && s.timeoutPending) return IIR.CHARACTER_TIMEOUT;
    if (s.ier & IER.ETBEI && s.thrEmptyPending) return IIR.THR_EMPTY;
    if (s.ier & IER.EDSSI && s.modemDeltas) return IIR.MODEM_STATUS;
    return IIR.NONE;
  }

  /**
   * On a PC board MCR.OUT2 gates the interrupt. It does not here: kernels that were only ever run on emulators and on
   * later chip sets (Xv6 writes 0 to MCR) rely on that.
   */
  #update(): void {
    this.#ports.irq.set(this.#interruptIdentification() !== IIR.NONE);
  }

  #transmit(byte: number): void {
    this.#s.thrEmptyPending = false;
    this.#update();
    if (this.#loop) this.#receiveLooped(byte);
    else this.#ports.output(Uint8Array.of(byte));
    this.#s.thrEmptyPending = true;
  }

  /** In loop mode nothing holds the sender back, so the receiver can be overrun. */
  #receiveLooped(byte: number): void {
    const s = this.#s;
    if (s.receiveFifo.length < this.#capacity) {
      s.receiveFifo.push(byte);
    } else {
      s.lineErrors |= LSR.OE;
      // Without FIFO the new character replaces the old one; a full FIFO keeps its own.
      if (!(s.fcr & FCR.ENABLE)) s.receiveFifo[0] = byte;
    }
    this.#restartTimeout();
  }

  #takeReceived(): void {
    this.#s.receiveFifo.shift();
    this.#s.timeoutPending = false;
    this.#fillFifo();
    this.#restartTimeout();
  }

  #fillFifo(): void {
    const s = this.#s;
    if (this.#loop || s.waitingInput.length === 0) return;
    const room = this.#capacity - s.receiveFifo.length;
    if (room <= 0) return;
    s.receiveFifo.push(...s.waitingInput.splice(0, room));
    this.#restartTimeout();
  }

  /** Counts from the last arrival or read, while the FIFO holds something. */
  #restartTimeout(): void {
    const s = this.#s;
    const waits = s.fcr & FCR.ENABLE && s.receiveFifo.length > 0;
    s.timeoutAtNs = waits ? Math.floor(this.#ports.clock()) + this.#timeoutNs() : null;
  }

  /** Enabling the interrupt while THR is empty raises it: drivers start a transmission that way. */
  #writeIer(value: number): void {
    const newlyEnabled = value & ~this.#s.ier & IER.ETBEI;
    this.#s.ier = value & 0x0f;
    if (newlyEnabled) this.#s.thrEmptyPending = true;
  }

  #writeFcr(value: number): void {
    const s = this.#s;
    const toggled = (value ^ s.fcr) & FCR.ENABLE;
    if (toggled || value & FCR.CLEAR_RCVR) {
      s.receiveFifo = [];
      s.timeoutPending = false;
      s.timeoutAtNs = null;
    }
    // The other bits can be programmed only together with FIFO enable; the clear bits reset themselves.
    s.fcr = value & FCR.ENABLE ? value & 0xc9 : 0;
    this.#fillFifo();
  }

  #writeLcr(value: number): void {
    const breakBegins = value & ~this.#s.lcr & LCR.SET_BREAK;
    this.#s.lcr = value;
    if (breakBegins && this.#loop) {
      this.#receiveLooped(0);
      this.#s.lineErrors |= LSR.BI;
    }
  }

  #writeMcr(value: number): void {
    const s = this.#s;
    const before = this.#modemInputs(s.mcr);
    const after = this.#modemInputs(value);
    s.mcr = value;
    const changed = before ^ after;
    const trailingRing = before & ~after & MSR.RI;
    s.modemDeltas |= ((changed & (MSR.CTS | MSR.DSR | MSR.DCD)) | trailingRing) >> 4;
    this.#fillFifo();
  }
}
