/**
 * What a device model is made of: plain state and injected ports. A device knows no CPU, bus or host. Time reaches it
 * only through an injected `Clock`; what it shows to a debugger it shows through `peek…` and `describe`, which have no
 * side effect on the guest.
 */

/** Virtual time: nanoseconds since the machine was powered on, never decreasing. May be fractional. */
export type Clock = () => number;

/** The level of one interrupt request wire. Setting the level that it already has does nothing. */
export interface InterruptLine {
  set(level: boolean): void;
}

/** Receives what a guest sends out: serial output, console output, debug console output. */
export type ByteSink = (bytes: Uint8Array) => void;

/** The guest's physical memory as a bus master (a virtio device) sees it. Addresses and lengths are in bytes. */
export interface GuestMemory {
  /** True if every byte of the range is RAM. */
  contains(gpa: number, lengthBytes: number): boolean;
  /** A copy of the bytes, or undefined if any of them is outside RAM. */
  read(gpa: number, lengthBytes: number): Uint8Array | undefined;
  /** Stores all bytes and returns true, or stores none and returns false if any of them is outside RAM. */
  write(gpa: number, bytes: Uint8Array): boolean;
  /** As `read`, for inspection: trips no watchpoint and leaves no trace. */
  peek(gpa: number, lengthBytes: number): Uint8Array | undefined;
}

/** One register as the data sheet names it. */
export interface RegisterView {
  readonly name: string;
  readonly value: number;
  readonly widthBits: number;
  /** The value in words: names of the bits that are set, the decoded mode, a time of day. */
  readonly meaning?: string;
}

/** A device as plain data, for the debugger. */
export interface DeviceView {
  readonly device: string;
  readonly registers: readonly RegisterView[];
}

/**
 * What every device offers. `S` is its state: plain objects, arrays, numbers, strings, booleans, null and Uint8Arrays,
 * so that a snapshot can be kept, compared and sent elsewhere.
 */
export interface Device<S = unknown> {
  readonly name: string;
  /** Power-on state. Interrupt lines are driven to match. */
  reset(): void;
  saveState(): S;
  /** Takes over a state that `saveState` returned and drives the interrupt lines to match. */
  restoreState(state: S): void;
  describe(): DeviceView;
}

/** A device in which something happens by itself after a while. */
export interface TimedDevice {
  /** Virtual time at which `service` has to be called next, or undefined if nothing is to come by itself. */
  deadlineNs(): number | undefined;
  service(nowNs: number): void;
}

export type AccessBytes = 1 | 2 | 4;

export interface PortRange {
  readonly first: number;
  readonly count: number;
  /** Widest access that the device takes in one piece (default 1). Wider ones reach it byte by byte, as on ISA. */
  readonly widestBytes?: AccessBytes;
}

/** A device in I/O port space. Values are unsigned and no wider than `sizeBytes`. */
export interface PortDevice {
  readonly name: string;
  readonly ports: readonly PortRange[];
  readPort(port: number, sizeBytes: number): number;
  /** What `readPort` would return, without its side effects. */
  peekPort(port: number, sizeBytes: number): number;
  writePort(port: number, sizeBytes: number, value: number): void;
}

/** A device in physical memory space. Accesses are of 1, 2 or 4 bytes: the bus splits those of 8. */
export interface MmioDevice {
  readonly name: string;
  read(offset: number, sizeBytes: number): number;
  /** What `read` would return, without its side effects. */
  peek(offset: number, sizeBytes: number): number;
  write(offset: number, sizeBytes: number, value: number): void;
}

/** The driver of the guest rang a virtqueue's doorbell. */
export interface VirtqueueNotification {
  readonly device: string;
  readonly queue: number;
}

/** A driver broke a rule of its device's specification; said in words, with what the device did about it. */
export interface DriverMistake {
  readonly device: string;
  readonly message: string;
}

/** A deep copy of plain state: the caller may keep it while the device runs on. */
export function clonePlain<T>(value: T): T;
export function clonePlain(value: unknown): unknown {
  if (value instanceof Uint8Array) return value.slice();
  if (Array.isArray(value)) return value.map((item: unknown) => clonePlain(item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, clonePlain(item)]));
}

/** Names of the set bits of `value`, bit 0 first; bits without a name are told by number. 'none' if no bit is set. */
export function bitNames(value: number, names: readonly (string | undefined)[]): string {
  const set: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    if ((value >>> bit) & 1) set.push(names[bit] ?? `bit ${bit}`);
  }
  return set.length === 0 ? 'none' : set.join(' | ');
}

/** The earlier of two deadlines, where undefined means never. */
export function earlier(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : Math.min(a, b);
}

/** Several outputs on one wire (ISA interrupts shared by COM1 and COM3): the wire is high while any of them is. */
export function wiredOr(line: InterruptLine, inputs: number): InterruptLine[] {
  const levels = new Array<boolean>(inputs).fill(false);
  return levels.map((_, input) => ({
    set(level: boolean) {
      levels[input] = level;
      line.set(levels.includes(true));
    },
  }));
}
