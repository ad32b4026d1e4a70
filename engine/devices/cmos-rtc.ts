/**
 * The PC's real-time clock and CMOS memory, a Motorola MC146818 on ports 0x70 and 0x71.
 * Source: MC146818 data sheet, "Registers", "Update Cycle"; memory size bytes as PC firmware leaves them.
 *
 * The time of day is a configured epoch plus virtual time, so two runs read the same clock.
 */
import { civilTime, unixSeconds } from './calendar.ts';
import {
  bitNames,
  type Clock,
  clonePlain,
  type Device,
  type DeviceView,
  earlier,
  type InterruptLine,
  type PortDevice,
  type TimedDevice,
} from './device.ts';

export interface CmosRtcState {
  /** 128 bytes; those of time and date are computed and stand here only while SET holds them. */
  ram: Uint8Array;
  index: number;
  nmiMasked: boolean;
  /** Seconds since 1970 that the clock showed at virtual time `baseNs`. */
  baseSeconds: number;
  baseNs: number;
  /** Virtual time up to which the flags in register C have been brought. */
  seenNs: number;
}

export interface CmosRtcConfig {
  /** What the clock shows at power-on, in seconds since 1970-01-01 UTC. */
  readonly epochSeconds: number;
  readonly memoryBytes: number;
}

const R = {
  SECONDS: 0,
  SECONDS_ALARM: 1,
  MINUTES: 2,
  MINUTES_ALARM: 3,
  HOURS: 4,
  HOURS_ALARM: 5,
  DAY_OF_WEEK: 6,
  DATE: 7,
  MONTH: 8,
  YEAR: 9,
  A: 10,
  B: 11,
  C: 12,
  D: 13,
  CENTURY: 0x32,
};
const TIME_REGISTERS = [R.SECONDS, R.MINUTES, R.HOURS, R.DAY_OF_WEEK, R.DATE, R.MONTH, R.YEAR, R.CENTURY];

const A_UIP = 0x80;
const B = { SET: 0x80, PIE: 0x40, AIE: 0x20, UIE: 0x10, DM: 0x04, HOURS_24: 0x02 };
const C = { IRQF: 0x80, PF: 0x40, AF: 0x20, UF: 0x10 };
const D_VRT = 0x80;
const PM = 0x80;
const ALARM_DONT_CARE = 0xc0;
const B_NAMES = ['DSE', '24/12', 'DM', 'SQWE', 'UIE', 'AIE', 'PIE', 'SET'];
const C_NAMES = [undefined, undefined, undefined, undefined, 'UF', 'AF', 'PF', 'IRQF'];

const SECOND_NS = 1_000_000_000;
/** UIP is set at least 244 µs before an update cycle. */
const UIP_NS = 244_000;
const SECONDS_PER_DAY = 86_400;
const KIB = 1024;
const MIB = 1024 * KIB;

export class CmosRtc implements Device<CmosRtcState>, PortDevice, TimedDevice {
  readonly name = 'cmos-rtc';
  readonly ports = [{ first: 0x70, count: 2 }];
  readonly #clock: Clock;
  readonly #irq8: InterruptLine;
  readonly #config: CmosRtcConfig;
  #s: CmosRtcState;

  constructor(ports: { clock: Clock; irq8: InterruptLine }, config: CmosRtcConfig) {
    this.#clock = ports.clock;
    this.#irq8 = ports.irq8;
    this.#config = config;
    this.#s = this.#powerOn();
  }

  readPort(port: number): number {
    if (port === 0x70) return 0xff;
    this.#bringFlags();
    const value = this.#register(this.#s.index);
    if (this.#s.index === R.C) {
      this.#s.ram[R.C] = 0;
      this.#update();
    }
    return value;
  }

  /** The index register is write-only. */
  peekPort(port: number): number {
    if (port === 0x70) return 0xff;
    return this.#s.index === R.C ? this.#flagsAsOfNow() : this.#register(this.#s.index);
  }

  writePort(port: number, _sizeBytes: number, value: number): void {
    if (port === 0x70) {
      this.#s.index = value & 0x7f;
      this.#s.nmiMasked = (value & 0x80) !== 0;
      return;
    }
    this.#bringFlags();
    this.#writeRegister(this.#s.index, value & 0xff);
    this.#update();
  }

  /** Bit 7 of port 0x70 keeps NMI from the CPU. */
  get nmiMasked(): boolean {
    return this.#s.nmiMasked;
  }

  deadlineNs(): number | undefined {
    const enabled = this.#ram(R.B);
    const periodic = enabled & B.PIE && this.#periodNs() !== undefined ? this.#nextPeriodic() : undefined;
    const updates = !(enabled & B.SET) && (enabled & (B.UIE | B.AIE)) !== 0;
    return earlier(periodic, updates ? this.#nextSecondNs(this.#s.seenNs) : undefined);
  }

  service(_nowNs: number): void {
    this.#bringFlags();
    this.#update();
  }

  /** The clock goes on and the memory stays: they run from a battery. RESET# clears enables and flags. */
  reset(): void {
    this.#bringFlags();
    this.#s.ram[R.B] = this.#ram(R.B) & ~(B.PIE | B.AIE | B.UIE | 0x08);
    this.#s.ram[R.C] = 0;
    this.#s.index = 0;
    this.#s.nmiMasked = false;
    this.#update();
  }

  saveState(): CmosRtcState {
    return clonePlain(this.#s);
  }

  restoreState(state: CmosRtcState): void {
    this.#s = clonePlain(state);
    this.#update();
  }

  describe(): DeviceView {
    const t = civilTime(this.#secondsNow());
    const two = (value: number) => String(value).padStart(2, '0');
    const shown = `${t.year}-${two(t.month)}-${two(t.day)} ${two(t.hour)}:${two(t.minute)}:${two(t.second)}`;
    const [b, c] = [this.#ram(R.B), this.#flagsAsOfNow()];
    return {
      device: this.name,
      registers: [
        { name: 'Time', value: this.#secondsNow(), widthBits: 32, meaning: shown },
        { name: 'Index', value: this.#s.index, widthBits: 8 },
        { name: 'Register A', value: this.#register(R.A), widthBits: 8 },
        { name: 'Register B', value: b, widthBits: 8, meaning: bitNames(b, B_NAMES) },
        { name: 'Register C', value: c, widthBits: 8, meaning: bitNames(c, C_NAMES) },
      ],
    };
  }

  #powerOn(): CmosRtcState {
    const ram = new Uint8Array(128);
    ram[R.A] = 0x26;
    ram[R.B] = B.HOURS_24;
    this.#writeMemorySize(ram);
    const nowNs = Math.floor(this.#clock());
    return { ram, index: 0, nmiMasked: false, baseSeconds: this.#config.epochSeconds, baseNs: nowNs, seenNs: nowNs };
  }

  /** Base memory in KiB, extended memory above 1 MiB in KiB, and above 16 MiB in units of 64 KiB. */
  #writeMemorySize(ram: Uint8Array): void {
    const bytes = this.#config.memoryBytes;
    const word = (at: number, value: number) => {
      ram[at] = value & 0xff;
      ram[at + 1] = value >> 8;
    };
    const extended = Math.min(0xffff, Math.max(0, Math.floor((bytes - MIB) / KIB)));
    word(0x15, Math.min(640, Math.floor(bytes / KIB)));
    word(0x17, extended);
    word(0x30, extended);
    word(0x34, Math.min(0xffff, Math.max(0, Math.floor((bytes - 16 * MIB) / (64 * KIB)))));
  }

  #ram(index: number): number {
    return this.#s.ram[index] ?? 0;
  }

  #register(index: number): number {
    if (TIME_REGISTERS.includes(index) && !(this.#ram(R.B) & B.SET)) return this.#timeRegister(index);
    if (index === R.A) return this.#ram(R.A) | (this.#updateInProgress() ? A_UIP : 0);
    return index === R.D ? D_VRT : this.#ram(index);
  }

  #writeRegister(index: number, value: number): void {
    if (index === R.C || index === R.D) return;
    if (index === R.A) this.#s.ram[R.A] = value & ~A_UIP;
    else if (index === R.B) this.#writeB(value);
    else if (TIME_REGISTERS.includes(index)) this.#writeTime(index, value);
    else this.#s.ram[index] = value;
  }

  /** SET freezes the time registers for the guest to write; when it goes, the clock runs on from what they hold. */
  #writeB(value: number): void {
    const before = this.#ram(R.B);
    if (value & ~before & B.SET) this.#copyTimeToRam();
    this.#s.ram[R.B] = value & B.SET ? value & ~B.UIE : value;
    if (before & ~value & B.SET) this.#takeTimeFromRam();
  }

  #writeTime(index: number, value: number): void {
    const held = (this.#ram(R.B) & B.SET) !== 0;
    if (!held) this.#copyTimeToRam();
    this.#s.ram[index] = value;
    if (!held) this.#takeTimeFromRam();
  }

  #copyTimeToRam(): void {
    for (const register of TIME_REGISTERS) this.#s.ram[register] = this.#timeRegister(register);
  }

  #takeTimeFromRam(): void {
    const field = (index: number) => this.#decode(this.#ram(index));
    this.#s.baseSeconds = unixSeconds({
      year: field(R.CENTURY) * 100 + field(R.YEAR),
      month: field(R.MONTH),
      day: field(R.DATE),
      hour: this.#decodeHour(this.#ram(R.HOURS)),
      minute: field(R.MINUTES),
      second: field(R.SECONDS),
    });
    this.#s.baseNs = Math.floor(this.#clock());
    this.#s.seenNs = this.#s.baseNs;
  }

  #timeRegister(index: number): number {
    const t = civilTime(this.#secondsNow());
    switch (index) {
      case R.SECONDS:
        return this.#encode(t.second);
      case R.MINUTES:
        return this.#encode(t.minute);
      case R.HOURS:
        return this.#encodeHour(t.hour);
      case R.DAY_OF_WEEK:
        return this.#encode(t.weekday + 1);
      case R.DATE:
        return this.#encode(t.day);
      case R.MONTH:
        return this.#encode(t.month);
      case R.YEAR:
        return this.#encode(t.year % 100);
      default:
        return this.#encode(Math.floor(t.year / 100) % 100);
    }
  }

  /** Data mode: binary if DM is set, else BCD. */
  #encode(value: number): number {
    return this.#ram(R.B) & B.DM ? value : (Math.floor(value / 10) << 4) | (value % 10);
  }

  #decode(value: number): number {
    return this.#ram(R.B) & B.DM ? value : (value >> 4) * 10 + (value & 15);
  }

  #encodeHour(hour: number): number {
    if (this.#ram(R.B) & B.HOURS_24) return this.#encode(hour);
    return this.#encode(hour % 12 || 12) | (hour >= 12 ? PM : 0);
  }

  #decodeHour(value: number): number {
    if (this.#ram(R.B) & B.HOURS_24) return this.#decode(value);
    return (this.#decode(value & ~PM) % 12) + (value & PM ? 12 : 0);
  }

  #secondsAt(ns: number): number {
    return this.#s.baseSeconds + Math.floor((ns - this.#s.baseNs) / SECOND_NS);
  }

  #secondsNow(): number {
    return this.#secondsAt(Math.floor(this.#clock()));
  }

  #nextSecondNs(ns: number): number {
    return this.#s.baseNs + (Math.floor((ns - this.#s.baseNs) / SECOND_NS) + 1) * SECOND_NS;
  }

  #updateInProgress(): boolean {
    if (this.#ram(R.B) & B.SET) return false;
    const now = Math.floor(this.#clock());
    return this.#nextSecondNs(now) - now <= UIP_NS;
  }

  /** Register A RS3–RS0 with the 32.768 kHz time base; rates 1 and 2 are those of 8 and 9. */
  #periodNs(): number | undefined {
    const rate = this.#ram(R.A) & 15;
    if (rate === 0) return undefined;
    const shift = rate <= 2 ? rate + 6 : rate - 1;
    return ((1 << shift) * SECOND_NS) / 32_768;
  }

  #nextPeriodic(): number {
    const period = this.#periodNs() ?? SECOND_NS;
    const done = Math.floor((this.#s.seenNs - this.#s.baseNs) / period);
    const next = this.#s.baseNs + Math.ceil((done + 1) * period);
    return next > this.#s.seenNs ? next : this.#s.baseNs + Math.ceil((done + 2) * period);
  }

  /** Flags of register C as they are now, whether or not their interrupts are enabled. */
  #flagsAsOfNow(): number {
    const now = Math.floor(this.#clock());
    const { seenNs } = this.#s;
    let flags = this.#ram(R.C) & (C.PF | C.AF | C.UF);
    if (now > seenNs) {
      if (this.#periodNs() !== undefined && now >= this.#nextPeriodic()) flags |= C.PF;
      const updates = !(this.#ram(R.B) & B.SET);
      const [from, to] = [this.#secondsAt(seenNs), this.#secondsAt(now)];
      if (updates && to > from) flags |= C.UF;
      if (updates && this.#alarmWithin(from, to)) flags |= C.AF;
    }
    // The enables PIE, AIE and UIE have the bit positions of PF, AF and UF.
    return flags & this.#ram(R.B) ? flags | C.IRQF : flags;
  }

  #bringFlags(): void {
    const flags = this.#flagsAsOfNow();
    this.#s.ram[R.C] = flags;
    this.#s.seenNs = Math.max(this.#s.seenNs, Math.floor(this.#clock()));
  }

  /** True if the alarm matches one of the seconds after `from` up to `to`; it repeats daily at the latest. */
  #alarmWithin(from: number, to: number): boolean {
    const matches = (alarm: number, value: number, decode: (raw: number) => number) =>
      (alarm & ALARM_DONT_CARE) === ALARM_DONT_CARE || decode(alarm) === value;
    const last = Math.min(to, from + SECONDS_PER_DAY);
    for (let second = from + 1; second <= last; second++) {
      const inDay = ((second % SECONDS_PER_DAY) + SECONDS_PER_DAY) % SECONDS_PER_DAY;
      const plain = (raw: number) => this.#decode(raw);
      const hit =
        matches(this.#ram(R.SECONDS_ALARM), inDay % 60, plain) &&
        matches(this.#ram(R.MINUTES_ALARM), Math.floor(inDay / 60) % 60, plain) &&
        matches(this.#ram(R.HOURS_ALARM), Math.floor(inDay / 3600), (raw) => this.#decodeHour(raw));
      if (hit) return true;
    }
    return false;
  }

  #update(): void {
    const active = this.#ram(R.C) & this.#ram(R.B) & (C.PF | C.AF | C.UF);
    this.#s.ram[R.C] = active ? this.#ram(R.C) | C.IRQF : this.#ram(R.C) & ~C.IRQF;
    this.#irq8.set(active !== 0);
  }
}
