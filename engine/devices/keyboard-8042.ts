/**
 * The 8042 keyboard controller (ports 0x60 and 0x64) with the keyboard behind it; a controller of one channel, without
 * auxiliary device. Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
 * Controller", "Keyboard".
 */
import { bitNames, clonePlain, type Device, type DeviceView, type InterruptLine, type PortDevice } from './device.ts';
import { SET_2_TO_SET_1 } from './scancodes.ts';

export interface Keyboard8042State {
  commandByte: number;
  outputPort: number;
  /** The controller's RAM from byte 1; byte 0 is the command byte. */
  ram: number[];
  /** Bytes of the controller's answers, ahead of everything from the keyboard. */
  controllerQueue: number[];
  keyboardQueue: number[];
  /** A controller command that waits for its data byte on port 0x60. */
  pendingCommand: number | null;
  /** A keyboard command that waits for its argument. */
  pendingKeyboardCommand: number | null;
  lastWriteWasCommand: boolean;
  lastSent: number;
  scanning: boolean;
  scanCodeSet: number;
  leds: number;
  breakPrefix: boolean;
}

export interface Keyboard8042Ports {
  readonly irq1: InterruptLine;
  readonly setA20: (enabled: boolean) => void;
  readonly reset: () => void;
}

const DATA_PORT = 0x60;
const COMMAND_PORT = 0x64;
const COMMAND_BYTE = { IRQ1_ENABLE: 0x01, SYSTEM_FLAG: 0x04, KEYBOARD_DISABLE: 0x10, AUX_DISABLE: 0x20, XLATE: 0x40 };
const COMMAND_BYTE_NAMES = [
  'keyboard interrupt',
  'auxiliary interrupt',
  'system flag',
  undefined,
  'keyboard disabled',
  'auxiliary disabled',
  'translation',
];
const STATUS_NAMES = ['OBF', 'IBF', 'SYS', 'A2', 'keyboard not locked', 'AUX OBF', 'time-out', 'parity error'];
const OUTPUT_PORT = { RESET_N: 0x01, A20: 0x02, IRQ1: 0x10 };
const COMMANDS_WITH_DATA = [0xd1, 0xd2, 0xd3, 0xd4];
const ACK = 0xfa;
const RESEND = 0xfe;
const BREAK_PREFIX = 0xf0;
const QUEUE_LIMIT = 4096;

function powerOn(): Keyboard8042State {
  return {
    commandByte: COMMAND_BYTE.IRQ1_ENABLE | COMMAND_BYTE.SYSTEM_FLAG | COMMAND_BYTE.AUX_DISABLE | COMMAND_BYTE.XLATE,
    outputPort: 0xcc | OUTPUT_PORT.RESET_N,
    ram: new Array<number>(31).fill(0),
    controllerQueue: [],
    keyboardQueue: [],
    pendingCommand: null,
    pendingKeyboardCommand: null,
    lastWriteWasCommand: false,
    lastSent: 0,
    scanning: true,
    scanCodeSet: 2,
    leds: 0,
    breakPrefix: false,
  };
}

export class Keyboard8042 implements Device<Keyboard8042State>, PortDevice {
  readonly name = 'keyboard-8042';
  readonly ports = [
    { first: DATA_PORT, count: 1 },
    { first: COMMAND_PORT, count: 1 },
  ];
  readonly #ports: Keyboard8042Ports;
  #s = powerOn();

  constructor(ports: Keyboard8042Ports) {
    this.#ports = ports;
  }

  /**
   * Scan codes of set 2 from outside, make and break codes as a keyboard sends them; the guest sees them translated
   * while the command byte says so. What exceeds the queue is dropped, and everything is while scanning is disabled.
   */
  receive(scanCodes: Uint8Array): void {
    if (!this.#s.scanning) return;
    for (const code of scanCodes) if (this.#s.keyboardQueue.length < QUEUE_LIMIT) this.#fromKeyboard(code);
    this.#update();
  }

  readPort(port: number): number {
    const value = this.peekPort(port);
    if (port === DATA_PORT) {
      const queue = this.#activeQueue();
      if (queue) this.#s.lastSent = queue.shift() ?? 0;
      // The output buffer was empty for a moment: the next byte raises IRQ 1 anew.
      this.#ports.irq1.set(false);
      this.#update();
    }
    return value;
  }

  /** An empty output buffer reads as the byte that it held last. */
  peekPort(port: number): number {
    return port === DATA_PORT ? (this.#activeQueue()?.[0] ?? this.#s.lastSent) : this.#status();
  }

  writePort(port: number, _sizeBytes: number, rawValue: number): void {
    const value = rawValue & 0xff;
    this.#s.lastWriteWasCommand = port === COMMAND_PORT;
    if (port === COMMAND_PORT) this.#controllerCommand(value);
    else if (this.#s.pendingCommand !== null) this.#commandData(this.#s.pendingCommand, value);
    else this.#toKeyboard(value);
    this.#update();
  }

  reset(): void {
    this.#s = powerOn();
    this.#setOutputPort(this.#s.outputPort);
    this.#update();
  }

  saveState(): Keyboard8042State {
    return clonePlain(this.#s);
  }

  restoreState(state: Keyboard8042State): void {
    this.#s = clonePlain(state);
    this.#ports.setA20((this.#s.outputPort & OUTPUT_PORT.A20) !== 0);
    this.#update();
  }

  describe(): DeviceView {
    const { commandByte, outputPort, leds, scanCodeSet } = this.#s;
    const status = this.#status();
    const waiting = `${this.#s.controllerQueue.length + this.#s.keyboardQueue.length} bytes waiting`;
    const a20 = outputPort & OUTPUT_PORT.A20 ? 'A20 enabled' : 'A20 masked';
    return {
      device: this.name,
      registers: [
        { name: 'Output buffer', value: this.peekPort(DATA_PORT), widthBits: 8, meaning: waiting },
        { name: 'Status', value: status, widthBits: 8, meaning: bitNames(status, STATUS_NAMES) },
        { name: 'Command byte', value: commandByte, widthBits: 8, meaning: bitNames(commandByte, COMMAND_BYTE_NAMES) },
        { name: 'Output port', value: this.#outputPortPins(), widthBits: 8, meaning: a20 },
        { name: 'Keyboard scan code set', value: scanCodeSet, widthBits: 8 },
        { name: 'Keyboard LEDs', value: leds, widthBits: 8, meaning: bitNames(leds, ['Scroll', 'Num', 'Caps']) },
      ],
    };
  }

  /** Which byte is in the output buffer: an answer of the controller first, then the keyboard's unless it is disabled. */
  #activeQueue(): number[] | undefined {
    const s = this.#s;
    if (s.controllerQueue.length > 0) return s.controllerQueue;
    const enabled = !(s.commandByte & COMMAND_BYTE.KEYBOARD_DISABLE);
    return enabled && s.keyboardQueue.length > 0 ? s.keyboardQueue : undefined;
  }

  #status(): number {
    const s = this.#s;
    return (
      (this.#activeQueue() ? 0x01 : 0) |
      (s.commandByte & COMMAND_BYTE.SYSTEM_FLAG) |
      (s.lastWriteWasCommand ? 0x08 : 0) |
      0x10
    );
  }

  #update(): void {
    const full = this.#activeQueue() !== undefined;
    this.#ports.irq1.set(full && (this.#s.commandByte & COMMAND_BYTE.IRQ1_ENABLE) !== 0);
  }

  #controllerCommand(command: number): void {
    const s = this.#s;
    s.pendingCommand = null;
    if (command >= 0x20 && command <= 0x3f) this.#answer(this.#readRam(command & 0x1f));
    else if ((command >= 0x60 && command <= 0x7f) || COMMANDS_WITH_DATA.includes(command)) s.pendingCommand = command;
    else if (command >= 0xf0) this.#pulse(command);
    else this.#simpleCommand(command);
  }

  #simpleCommand(command: number): void {
    const s = this.#s;
    switch (command) {
      case 0xaa: // Self test.
        s.commandByte |= COMMAND_BYTE.SYSTEM_FLAG;
        this.#answer(0x55);
        break;
      case 0xab: // Keyboard interface test: no error.
        this.#answer(0x00);
        break;
      case 0xad: // Disable keyboard.
        s.commandByte |= COMMAND_BYTE.KEYBOARD_DISABLE;
        break;
      case 0xae: // Enable keyboard.
        s.commandByte &= ~COMMAND_BYTE.KEYBOARD_DISABLE;
        break;
      case 0xc0: // Read input port: keyboard not inhibited.
        this.#answer(0x80);
        break;
      case 0xd0: // Read output port.
        this.#answer(this.#outputPortPins());
        break;
      case 0xdd: // Disable A20, of compatibles.
        this.#setOutputPort(s.outputPort & ~OUTPUT_PORT.A20);
        break;
      case 0xdf: // Enable A20, of compatibles.
        this.#setOutputPort(s.outputPort | OUTPUT_PORT.A20);
        break;
      // 0xA7 to 0xA9 concern the auxiliary channel, which this controller has not got; it ignores what it does not
      // know, and kernels take the missing answer for that.
    }
  }

  #commandData(command: number, value: number): void {
    const s = this.#s;
    s.pendingCommand = null;
    if (command === 0xd1) this.#setOutputPort(value);
    else if (command === 0xd2) this.#answer(value);
    else if (command >= 0x60 && command <= 0x7f) this.#writeRam(command & 0x1f, value);
    // 0xD3 and 0xD4 address the auxiliary channel that is not there.
  }

  #readRam(index: number): number {
    return index === 0 ? this.#s.commandByte : (this.#s.ram[index - 1] ?? 0);
  }

  /** The auxiliary channel stays disabled: by this kernels tell a controller of one channel. */
  #writeRam(index: number, value: number): void {
    if (index === 0) this.#s.commandByte = value | COMMAND_BYTE.AUX_DISABLE;
    else this.#s.ram[index - 1] = value;
  }

  #answer(byte: number): void {
    if (this.#s.controllerQueue.length < QUEUE_LIMIT) this.#s.controllerQueue.push(byte);
  }

  /** Pulses the output port bits that are low in the command's low four bits; bit 0 is the CPU's reset. */
  #pulse(command: number): void {
    if (!(command & OUTPUT_PORT.RESET_N)) this.#ports.reset();
  }

  #outputPortPins(): number {
    return (this.#s.outputPort & ~OUTPUT_PORT.IRQ1) | (this.#activeQueue() ? OUTPUT_PORT.IRQ1 : 0);
  }

  #setOutputPort(value: number): void {
    this.#s.outputPort = value;
    this.#ports.setA20((value & OUTPUT_PORT.A20) !== 0);
    if (!(value & OUTPUT_PORT.RESET_N)) this.#ports.reset();
  }

  /** A byte from the keyboard, translated to set 1 if the command byte asks for it. */
  #fromKeyboard(byte: number): void {
    const s = this.#s;
    if (!(s.commandByte & COMMAND_BYTE.XLATE)) {
      s.keyboardQueue.push(byte);
    } else if (byte === BREAK_PREFIX) {
      s.breakPrefix = true;
    } else {
      s.keyboardQueue.push((SET_2_TO_SET_1[byte] ?? byte) | (s.breakPrefix ? 0x80 : 0));
      s.breakPrefix = false;
    }
  }

  #reply(...bytes: number[]): void {
    if (this.#s.keyboardQueue.length < QUEUE_LIMIT) for (const byte of bytes) this.#fromKeyboard(byte);
  }

  /** A byte for the keyboard itself; sending one enables the interface. */
  #toKeyboard(value: number): void {
    const s = this.#s;
    s.commandByte &= ~COMMAND_BYTE.KEYBOARD_DISABLE;
    if (s.pendingKeyboardCommand !== null) this.#keyboardArgument(s.pendingKeyboardCommand, value);
    else this.#keyboardCommand(value);
  }

  #keyboardArgument(command: number, value: number): void {
    const s = this.#s;
    s.pendingKeyboardCommand = null;
    if (command === 0xf0 && value > 3) {
      this.#reply(RESEND);
      return;
    }
    this.#reply(ACK);
    if (command === 0xed) s.leds = value & 7;
    if (command === 0xf0 && value === 0) this.#reply(s.scanCodeSet);
    else if (command === 0xf0) s.scanCodeSet = value;
  }

  #keyboardCommand(command: number): void {
    const s = this.#s;
    switch (command) {
      case 0xed: // Set/reset status indicators.
      case 0xf0: // Select scan code set.
      case 0xf3: // Set typematic rate and delay.
        s.pendingKeyboardCommand = command;
        this.#reply(ACK);
        break;
      case 0xee: // Echo.
        this.#reply(0xee);
        break;
      case 0xf2: // Read ID: an MF2 keyboard.
        this.#reply(ACK, 0xab, 0x83);
        break;
      case 0xf4: // Enable.
        s.scanning = true;
        this.#reply(ACK);
        break;
      case 0xf5: // Default disable.
        this.#keyboardDefaults(false);
        break;
      case 0xf6: // Set default.
        this.#keyboardDefaults(true);
        break;
      case 0xfe: // Resend.
        if (s.keyboardQueue.length < QUEUE_LIMIT) s.keyboardQueue.unshift(s.lastSent);
        break;
      case 0xff: // Reset, then the basic assurance test passes.
        this.#keyboardDefaults(true);
        s.leds = 0;
        this.#reply(0xaa);
        break;
      default:
        this.#reply(RESEND);
    }
  }

  #keyboardDefaults(scanning: boolean): void {
    const s = this.#s;
    s.keyboardQueue = [];
    s.scanning = scanning;
    s.scanCodeSet = 2;
    this.#reply(ACK);
  }
}
