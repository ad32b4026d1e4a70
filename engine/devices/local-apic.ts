/**
 * A local APIC in xAPIC mode: interrupt requests of one logical processor with their priorities, its timer, its two
 * local pins, and the interprocessor interrupts it sends. x2APIC mode, the thermal and the performance interrupt have no
 * source here; their entries of the local vector table are only kept.
 * Source: SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".
 */
import type { ApicBus, ApicReceiver } from './apic-bus.ts';
import {
  APIC_REGISTER,
  APIC_VERSION,
  DELIVERY,
  deliveryMode,
  ESR,
  FIRST_LEGAL_VECTOR,
  ICR,
  LVT,
  LVT_BIT,
  lvtEntries,
  SHORTHAND,
  SVR,
} from './apic-registers.ts';
import { ApicRequests, type ApicRequestsState } from './apic-requests.ts';
import { ApicTimer, type ApicTimerState } from './apic-timer.ts';
import { describeApic } from './apic-view.ts';
import { type Clock, clonePlain, type Device, type DeviceView, type MmioDevice, type TimedDevice } from './device.ts';

/** What a local APIC does to its processor. The manual's names of the signals. */
export interface ApicProcessor {
  /** `interruptPending` may have changed. */
  interruptChanged(): void;
  nmi(): void;
  smi(): void;
  init(): void;
  /** A start-up IPI: execution from `vector` × 4096, if the processor waits for one. */
  startUp(vector: number): void;
  /** The guest wrote the task priority register; CR8 is its upper half. */
  taskPriorityClass(priorityClass: number): void;
  /** Interrupt acknowledge cycles to the external controller (ExtINT); returns the vector. */
  acknowledgeExternal(): number;
}

export interface LocalApicConfig {
  readonly id: number;
  readonly clock: Clock;
  /** Nanoseconds of a cycle of the timer's input clock. */
  readonly tickNs: number;
  readonly bus: ApicBus;
  readonly processor: ApicProcessor;
}

/** Registers that keep what is written to them. */
interface Registers {
  /** IA32_APIC_BASE enables the APIC. */
  present: boolean;
  tpr: number;
  ldr: number;
  dfr: number;
  svr: number;
  esr: number;
  /** Errors since the error status register was written last. */
  errors: number;
  icrLow: number;
  icrHigh: number;
  lvt: number[];
  /** Levels of LINT0 and LINT1. */
  lines: boolean[];
}

export interface LocalApicState {
  readonly registers: Registers;
  readonly requests: ApicRequestsState;
  readonly timer: ApicTimerState;
}

const ALL_ONES = 0xffff_ffff;

const powerOn = (): Registers => ({
  present: true,
  tpr: 0,
  ldr: 0,
  dfr: ALL_ONES,
  svr: 0xff,
  esr: 0,
  errors: 0,
  icrLow: 0,
  icrHigh: 0,
  lvt: lvtEntries.map(() => LVT_BIT.MASK),
  lines: [false, false],
});

export class LocalApic implements Device<LocalApicState>, MmioDevice, TimedDevice, ApicReceiver {
  readonly name: string;
  readonly id: number;
  readonly timer: ApicTimer;
  readonly #requests = new ApicRequests();
  readonly #config: LocalApicConfig;
  #registers = powerOn();
  #interruptPending = false;

  constructor(config: LocalApicConfig) {
    this.#config = config;
    this.id = config.id;
    this.name = `local-apic ${config.id}`;
    this.timer = new ApicTimer(config.clock, config.tickNs);
    config.bus.add(this);
  }

  // ---- as the processor sees it ------------------------------------------------------------------------------------

  /** An interrupt waits that the task priority lets through, or that of the external controller. */
  get interruptPending(): boolean {
    return this.#interruptPending;
  }

  /** Takes the interrupt into service; returns its vector, or the spurious one if it has gone. */
  acknowledge(): number {
    if (this.#externalPending()) return this.#config.processor.acknowledgeExternal();
    const { tpr, svr } = this.#registers;
    const vector = this.#requests.deliverable(tpr);
    if (vector < 0) return svr & 0xff;
    this.#requests.takeIntoService(vector);
    this.#update();
    return vector;
  }

  /** The processor wrote CR8. */
  setTaskPriorityClass(priorityClass: number): void {
    this.#registers.tpr = priorityClass << 4;
    this.#update();
  }

  /** Bit 11 of IA32_APIC_BASE changed. What a disabled APIC held is lost; its pins lead past it. */
  setPresent(present: boolean): void {
    if (present === this.#registers.present) return;
    this.reset();
    this.#registers.present = present;
    this.#update();
  }

  /** As firmware leaves that of the bootstrap processor: enabled, the 8259 through LINT0, NMI through LINT1. */
  enterVirtualWireMode(): void {
    const r = this.#registers;
    r.svr |= SVR.ENABLE;
    r.lvt[LVT.LINT0] = DELIVERY.EXTINT << 8;
    r.lvt[LVT.LINT1] = DELIVERY.NMI << 8;
    this.#update();
  }

  // ---- as the others see it ----------------------------------------------------------------------------------------

  get isPresent(): boolean {
    return this.#registers.present;
  }
  get isEnabled(): boolean {
    return (this.#registers.svr & SVR.ENABLE) !== 0;
  }
  get logicalId(): number {
    return this.#registers.ldr >>> 24;
  }
  get model(): number {
    return this.#registers.dfr >>> 28;
  }
  get arbitrationPriority(): number {
    return this.#registers.tpr;
  }

  /** A message of the bus, or an interrupt of its own. */
  receive(mode: number, vector: number, level = false): void {
    const { processor } = this.#config;
    if (mode === DELIVERY.NMI) processor.nmi();
    else if (mode === DELIVERY.SMI) processor.smi();
    else if (mode === DELIVERY.INIT) processor.init();
    else if (mode === DELIVERY.STARTUP) processor.startUp(vector);
    else if (mode === DELIVERY.FIXED && this.isEnabled) this.#request(vector, level);
  }

  /** One of the pins LINT0 and LINT1. */
  setPin(pin: 0 | 1, level: boolean): void {
    const { lines } = this.#registers;
    const before = lines[pin];
    if (before === level) return;
    lines[pin] = level;
    this.#pinChanged(pin, true);
    this.#update();
  }

  // ---- registers ---------------------------------------------------------------------------------------------------

  read(offset: number, sizeBytes: number): number {
    if (!isKnown(offset & ~0xf)) this.#error(ESR.ILLEGAL_REGISTER);
    return this.peek(offset, sizeBytes);
  }

  /** Registers are read 32 bits wide at multiples of 16; a narrower piece gives its part of them. */
  peek(offset: number, sizeBytes: number): number {
    const within = offset & 0xf;
    if (within >= 4) return 0;
    const value = this.#value(offset & ~0xf) >>> (8 * within);
    return sizeBytes >= 4 ? value : value & (2 ** (8 * sizeBytes) - 1);
  }

  /** What is not written as 32 bits at a multiple of 16 has no effect. */
  write(offset: number, sizeBytes: number, value: number): void {
    if (sizeBytes !== 4 || offset & 0xf) return;
    this.#write(offset, value >>> 0);
    this.#update();
  }

  #value(offset: number): number {
    const r = this.#registers;
    const firstSet = APIC_REGISTER.ISR;
    if (offset >= firstSet && offset < APIC_REGISTER.ESR) return this.#requests.word((offset - firstSet) >> 4);
    const entry = lvtIndex(offset);
    if (entry !== undefined) return r.lvt[entry] ?? 0;
    switch (offset) {
      case APIC_REGISTER.ID:
        return (this.id << 24) >>> 0;
      case APIC_REGISTER.VERSION:
        return APIC_VERSION;
      case APIC_REGISTER.TPR:
        return r.tpr;
      case APIC_REGISTER.APR:
      case APIC_REGISTER.PPR:
        return this.#requests.processorPriority(r.tpr);
      case APIC_REGISTER.LDR:
        return r.ldr;
      case APIC_REGISTER.DFR:
        return r.dfr;
      case APIC_REGISTER.SVR:
        return r.svr;
      case APIC_REGISTER.ESR:
        return r.esr;
      case APIC_REGISTER.ICR_LOW:
        return r.icrLow;
      case APIC_REGISTER.ICR_HIGH:
        return r.icrHigh;
      case APIC_REGISTER.INITIAL_COUNT:
        return this.timer.initialCount;
      case APIC_REGISTER.CURRENT_COUNT:
        return this.timer.peekCount(this.#isPeriodic);
      case APIC_REGISTER.DIVIDE_CONFIGURATION:
        return this.timer.divideConfiguration;
      default:
        return 0;
    }
  }

  #write(offset: number, value: number): void {
    const r = this.#registers;
    const entry = lvtIndex(offset);
    if (entry !== undefined) return this.#writeLvt(entry, value);
    switch (offset) {
      case APIC_REGISTER.TPR:
        r.tpr = value & 0xff;
        return this.#config.processor.taskPriorityClass(r.tpr >> 4);
      case APIC_REGISTER.EOI:
        return this.#endOfInterrupt();
      case APIC_REGISTER.LDR:
        r.ldr = (value & 0xff00_0000) >>> 0;
        return;
      case APIC_REGISTER.DFR:
        r.dfr = (value | 0x0fff_ffff) >>> 0;
        return;
      case APIC_REGISTER.SVR:
        return this.#writeSvr(value);
      case APIC_REGISTER.ESR:
        r.esr = r.errors;
        r.errors = 0;
        return;
      case APIC_REGISTER.ICR_LOW:
        r.icrLow = value & ICR.WRITABLE;
        return this.#send();
      case APIC_REGISTER.ICR_HIGH:
        r.icrHigh = (value & 0xff00_0000) >>> 0;
        return;
      case APIC_REGISTER.INITIAL_COUNT:
        return this.timer.start(value);
      case APIC_REGISTER.DIVIDE_CONFIGURATION:
        this.timer.advance(this.#isPeriodic);
        return this.timer.divideBy(value);
      default:
        if (!isKnown(offset)) this.#error(ESR.ILLEGAL_REGISTER);
    }
  }

  /** While software keeps the APIC disabled, every entry of the local vector table is masked. */
  #writeSvr(value: number): void {
    const r = this.#registers;
    r.svr = value & SVR.WRITABLE;
    if (!this.isEnabled) r.lvt = r.lvt.map((entry) => entry | LVT_BIT.MASK);
  }

  #writeLvt(entry: number, value: number): void {
    // What the timer did under the old mode is settled first; expiries while masked are lost.
    if (entry === LVT.TIMER) this.timer.advance(this.#isPeriodic);
    const r = this.#registers;
    const before = r.lvt[entry] ?? 0;
    const masked = this.isEnabled ? 0 : LVT_BIT.MASK;
    const kept = before & LVT_BIT.REMOTE_IRR;
    r.lvt[entry] = (value & (lvtEntries[entry]?.writable ?? 0)) | masked | kept;
    if (entry === LVT.LINT0 || entry === LVT.LINT1) this.#pinChanged(entry === LVT.LINT0 ? 0 : 1, false);
  }

  #send(): void {
    const { icrLow, icrHigh } = this.#registers;
    const mode = deliveryMode(icrLow);
    const hasVector = mode === DELIVERY.FIXED || mode === DELIVERY.LOWEST;
    const illegal = hasVector && (icrLow & 0xff) < FIRST_LEGAL_VECTOR;
    if (illegal) this.#error(ESR.SEND_ILLEGAL_VECTOR);
    if (!illegal || (icrLow >>> 18) % 4 !== SHORTHAND.SELF) this.#config.bus.send(this, icrLow, icrHigh);
  }

  // ---- requests and their priorities -------------------------------------------------------------------------------

  #request(vector: number, level: boolean): void {
    if (vector < FIRST_LEGAL_VECTOR) return this.#error(ESR.RECEIVE_ILLEGAL_VECTOR);
    this.#requests.add(vector, level);
    this.#update();
  }

  #endOfInterrupt(): void {
    const vector = this.#requests.endOfInterrupt();
    if (vector === undefined) return;
    const { lvt } = this.#registers;
    for (const pin of [0, 1] as const) {
      const entry = LVT.LINT0 + pin;
      const bits = lvt[entry] ?? 0;
      if ((bits & 0xff) !== vector || !(bits & LVT_BIT.REMOTE_IRR)) continue;
      lvt[entry] = bits & ~LVT_BIT.REMOTE_IRR;
      this.#pinChanged(pin, false);
    }
  }

  /** Errors raise their interrupt once; one whose own vector is illegal is only recorded. */
  #error(bit: number): void {
    const r = this.#registers;
    const isNew = !(r.errors & bit);
    r.errors |= bit;
    const entry = r.lvt[LVT.ERROR] ?? 0;
    if (isNew && !(entry & LVT_BIT.MASK)) this.#request(entry & 0xff, false);
  }

  // ---- pins and timer ----------------------------------------------------------------------------------------------

  #isAsserted(pin: 0 | 1): boolean {
    const { lines, lvt } = this.#registers;
    const low = ((lvt[LVT.LINT0 + pin] ?? 0) & LVT_BIT.POLARITY_LOW) !== 0;
    return (lines[pin] ?? false) !== low;
  }

  /** A pin or its entry changed. `edge` tells that the level did: modes other than fixed level-triggered need that. */
  #pinChanged(pin: 0 | 1, edge: boolean): void {
    const { lvt, lines, present } = this.#registers;
    const index = LVT.LINT0 + pin;
    const entry = lvt[index] ?? 0;
    // Without its APIC a processor has the pins INTR and NMI.
    if (!present) {
      if (pin === 1 && edge && lines[1]) this.#config.processor.nmi();
      return;
    }
    const mode = deliveryMode(entry);
    if (entry & LVT_BIT.MASK || mode === DELIVERY.EXTINT || !this.#isAsserted(pin)) return;
    const level = mode === DELIVERY.FIXED && (entry & LVT_BIT.LEVEL) !== 0;
    if (level ? entry & LVT_BIT.REMOTE_IRR : !edge) return;
    if (level) lvt[index] = entry | LVT_BIT.REMOTE_IRR;
    this.receive(mode, entry & 0xff, level);
  }

  /** The external controller's request: ExtINT through a local pin, or INTR if the APIC is disabled. */
  #externalPending(): boolean {
    const { present, lines, lvt } = this.#registers;
    if (!present) return lines[0] ?? false;
    return [0, 1].some((pin) => {
      const entry = lvt[LVT.LINT0 + pin] ?? 0;
      return lines[pin] === true && !(entry & LVT_BIT.MASK) && deliveryMode(entry) === DELIVERY.EXTINT;
    });
  }

  get #isPeriodic(): boolean {
    return ((this.#registers.lvt[LVT.TIMER] ?? 0) & LVT_BIT.PERIODIC) !== 0;
  }

  /** A masked timer counts on, but nothing comes of it. */
  deadlineNs(): number | undefined {
    const masked = (this.#registers.lvt[LVT.TIMER] ?? 0) & LVT_BIT.MASK;
    return masked ? undefined : this.timer.expiryNs();
  }

  service(): void {
    const entry = this.#registers.lvt[LVT.TIMER] ?? 0;
    if (this.timer.advance(this.#isPeriodic) && !(entry & LVT_BIT.MASK)) this.#request(entry & 0xff, false);
  }

  #update(): void {
    const { present, tpr } = this.#registers;
    const pending = this.#externalPending() || (present && this.#requests.deliverable(tpr) >= 0);
    if (pending === this.#interruptPending) return;
    this.#interruptPending = pending;
    this.#config.processor.interruptChanged();
  }

  // ---- as every device ---------------------------------------------------------------------------------------------

  /** Power-up, and INIT: the APIC ID, IA32_APIC_BASE and the levels of the pins stay. */
  reset(): void {
    const { present, lines } = this.#registers;
    this.#registers = { ...powerOn(), present, lines };
    this.#requests.clear();
    this.timer.reset();
    this.#update();
  }

  saveState(): LocalApicState {
    return { registers: clonePlain(this.#registers), requests: this.#requests.save(), timer: this.timer.save() };
  }

  restoreState(state: LocalApicState): void {
    this.#registers = clonePlain(state.registers);
    this.#requests.restore(state.requests);
    this.timer.restore(state.timer);
    this.#update();
  }

  describe(): DeviceView {
    return describeApic(this.name, this.#requests, this.timer, (offset) => this.#value(offset));
  }
}

/** Index of the entry of the local vector table at an offset. */
function lvtIndex(offset: number): number | undefined {
  const index = (offset - APIC_REGISTER.LVT_TIMER) >> 4;
  return index >= 0 && index < lvtEntries.length ? index : undefined;
}

const known: ReadonlySet<number> = new Set([
  ...Object.values(APIC_REGISTER),
  ...Array.from({ length: 24 }, (_, index) => APIC_REGISTER.ISR + 16 * index),
]);
const isKnown = (offset: number): boolean => known.has(offset);
