/**
 * A local APIC in xAPIC mode: interrupt requests of one logical processor with their priorities, its timer, its two
 * local pins, and the interprocessor interrupts it sends. x2APIC mode, the thermal and the performance interrupt have no
 * source here; their entries of the local vector table are only kept.
 * Source: SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".
 */
import type { ApicBus, ApicReceiver } from './apic-bus.ts';
import { LOCAL_PINS, type LocalPin, LocalVectorTable, type LocalVectorTableState } from './apic-local-vector-table.ts';
import {
  APIC_REGISTER,
  APIC_VERSION,
  DELIVERY,
  deliveryMode,
  ESR,
  FIRST_LEGAL_VECTOR,
  ICR,
  isApicRegister,
  LVT,
  lvtIndex,
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
}

export interface LocalApicState {
  readonly registers: Registers;
  readonly local: LocalVectorTableState;
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
});

export class LocalApic implements Device<LocalApicState>, MmioDevice, TimedDevice, ApicReceiver {
  readonly name: string;
  readonly id: number;
  readonly timer: ApicTimer;
  readonly #local = new LocalVectorTable();
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
    this.#registers.svr |= SVR.ENABLE;
    this.#local.enterVirtualWireMode();
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
  setPin(pin: LocalPin, level: boolean): void {
    if (!this.#local.setLevel(pin, level)) return;
    this.#pinChanged(pin, true);
    this.#update();
  }

  // ---- registers ---------------------------------------------------------------------------------------------------

  read(offset: number, sizeBytes: number): number {
    if (!isApicRegister(offset & ~0xf)) this.#error(ESR.ILLEGAL_REGISTER);
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
    if (entry !== undefined) return this.#local.entry(entry);
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
        return this.timer.peekCount(this.#local.isTimerPeriodic);
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
        this.timer.advance(this.#local.isTimerPeriodic);
        return this.timer.divideBy(value);
      default:
        if (!isApicRegister(offset)) this.#error(ESR.ILLEGAL_REGISTER);
    }
  }

  /** While software keeps the APIC disabled, every entry of the local vector table is masked. */
  #writeSvr(value: number): void {
    this.#registers.svr = value & SVR.WRITABLE;
    if (!this.isEnabled) this.#local.maskAll();
  }

  #writeLvt(entry: number, value: number): void {
    // What the timer did under the old mode is settled first; expiries while masked are lost.
    if (entry === LVT.TIMER) this.timer.advance(this.#local.isTimerPeriodic);
    this.#local.write(entry, value, this.isEnabled);
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
    for (const pin of LOCAL_PINS) {
      if (this.#local.endOfInterrupt(pin, vector)) this.#pinChanged(pin, false);
    }
  }

  /** Errors raise their interrupt once; one whose own vector is illegal is only recorded. */
  #error(bit: number): void {
    const r = this.#registers;
    const isNew = !(r.errors & bit);
    r.errors |= bit;
    if (isNew && !this.#local.isMasked(LVT.ERROR)) this.#request(this.#local.entry(LVT.ERROR) & 0xff, false);
  }

  // ---- pins and timer ----------------------------------------------------------------------------------------------

  /** A pin or its entry changed; `edge` tells that it was the pin. */
  #pinChanged(pin: LocalPin, edge: boolean): void {
    // Without its APIC a processor has the pins INTR and NMI.
    if (!this.#registers.present) {
      if (pin === 1 && edge && this.#local.level(1)) this.#config.processor.nmi();
      return;
    }
    const interrupt = this.#local.interruptOf(pin, edge);
    if (interrupt) this.receive(interrupt.mode, interrupt.vector, interrupt.isLevelTriggered);
  }

  /** The external controller's request: ExtINT through a local pin, or INTR if the APIC is disabled. */
  #externalPending(): boolean {
    return this.#registers.present ? this.#local.isExternalPending : this.#local.level(0);
  }

  /** A masked timer counts on, but nothing comes of it. */
  deadlineNs(): number | undefined {
    return this.#local.isMasked(LVT.TIMER) ? undefined : this.timer.expiryNs();
  }

  service(): void {
    const hasExpired = this.timer.advance(this.#local.isTimerPeriodic);
    if (hasExpired && !this.#local.isMasked(LVT.TIMER)) this.#request(this.#local.entry(LVT.TIMER) & 0xff, false);
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
    this.#registers = { ...powerOn(), present: this.#registers.present };
    this.#local.reset();
    this.#requests.clear();
    this.timer.reset();
    this.#update();
  }

  saveState(): LocalApicState {
    return {
      registers: clonePlain(this.#registers),
      local: this.#local.save(),
      requests: this.#requests.save(),
      timer: this.timer.save(),
    };
  }

  restoreState(state: LocalApicState): void {
    this.#registers = clonePlain(state.registers);
    this.#local.restore(state.local);
    this.#requests.restore(state.requests);
    this.timer.restore(state.timer);
    this.#update();
  }

  describe(): DeviceView {
    return describeApic(this.name, this.#requests, this.timer, (offset) => this.#value(offset));
  }
}
