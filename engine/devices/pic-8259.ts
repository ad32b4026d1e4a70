/**
 * The PC's pair of 8259A programmable interrupt controllers with the edge/level control registers of the PIIX.
 * Source: Intel 8259A data sheet (231468); 82371AB (PIIX4) data sheet, "Interrupt Controller Registers".
 *
 * IRQ 0–7 are the master's inputs, 8–15 the slave's, whose INT output is the master's IR2.
 */
import { hex } from '../cpu/hexadecimal.ts';
import { clonePlain, type Device, type DeviceView, type InterruptLine, type PortDevice } from './device.ts';

type InitializationStep = 'none' | 'ICW2' | 'ICW3' | 'ICW4' | 'ready';

interface ChipState {
  step: InitializationStep;
  irr: number;
  imr: number;
  isr: number;
  /** Levels of the eight inputs. */
  lines: number;
  elcr: number;
  vectorBase: number;
  icw3: number;
  needsIcw4: boolean;
  single: boolean;
  autoEoi: boolean;
  specialFullyNested: boolean;
  specialMask: boolean;
  rotateInAutoEoi: boolean;
  poll: boolean;
  readIsr: boolean;
  lowestPriority: number;
}

export interface Pic8259State {
  master: ChipState;
  slave: ChipState;
  /** Between the two INTA pulses: the master's input that the first one accepted, 'spurious' if there was none. */
  acknowledging: number | 'spurious' | null;
}

const CASCADE = 2;
const SPURIOUS = 7;
const ICW1 = { IC4: 0x01, SNGL: 0x02, SELECT: 0x10 };
const ICW4 = { AEOI: 0x02, SFNM: 0x10 };
const OCW3 = { RIS: 0x01, RR: 0x02, P: 0x04, SELECT: 0x08, SMM: 0x20, ESMM: 0x40 };

function powerOn(): ChipState {
  return {
    step: 'none',
    irr: 0,
    imr: 0,
    isr: 0,
    lines: 0,
    elcr: 0,
    vectorBase: 0,
    icw3: 0,
    needsIcw4: false,
    single: false,
    autoEoi: false,
    specialFullyNested: false,
    specialMask: false,
    rotateInAutoEoi: false,
    poll: false,
    readIsr: false,
    lowestPriority: 7,
  };
}

/** One 8259A: a view over its state, knowing nothing of its partner. */
class Chip {
  readonly isMaster: boolean;
  state = powerOn();

  constructor(isMaster: boolean) {
    this.isMaster = isMaster;
  }

  /**
   * In both trigger modes a request goes away with its line ("the IR inputs must remain high until after the falling
   * edge of the first INTA"); they differ in whether an acknowledged input that stays high asks again.
   */
  setLine(ir: number, level: boolean): void {
    const bit = 1 << ir;
    const rising = level && !(this.state.lines & bit);
    if (level) this.state.lines |= bit;
    else this.state.lines &= ~bit;
    if (rising) this.state.irr |= bit;
    if (!level) this.state.irr &= ~bit;
  }

  /** The input for which INT is raised: the highest unmasked request above everything in service. */
  request(): number | undefined {
    const s = this.state;
    if (s.step !== 'ready') return undefined;
    const wanted = s.irr & ~s.imr;
    const blocking = s.specialMask ? s.isr & ~s.imr : s.isr;
    for (const ir of this.byPriority()) {
      const bit = 1 << ir;
      if (blocking & bit) {
        // Special fully nested mode: a slave in service may interrupt again, for a higher one of its own inputs.
        return this.isMaster && s.specialFullyNested && ir === CASCADE && wanted & bit ? ir : undefined;
      }
      if (wanted & bit) return ir;
    }
    return undefined;
  }

  /** INTA (or the read of a poll) for an input: it is in service now. */
  accept(ir: number): void {
    const s = this.state;
    const bit = 1 << ir;
    if (!(s.elcr & bit)) s.irr &= ~bit;
    if (!s.autoEoi) s.isr |= bit;
    else if (s.rotateInAutoEoi) s.lowestPriority = ir;
  }

  vector(ir: number): number {
    return this.state.vectorBase | ir;
  }

  read(a0: number): number {
    if (this.state.poll) {
      this.state.poll = false;
      const ir = this.request();
      if (ir === undefined) return 0;
      this.accept(ir);
      return 0x80 | ir;
    }
    return this.peek(a0);
  }

  peek(a0: number): number {
    const s = this.state;
    if (s.poll) {
      const ir = this.request();
      return ir === undefined ? 0 : 0x80 | ir;
    }
    if (a0) return s.imr;
    return s.readIsr ? s.isr : s.irr;
  }

  write(a0: number, value: number): void {
    if (a0) this.#writeDataPort(value);
    else if (value & ICW1.SELECT) this.#initialize(value);
    else if (value & OCW3.SELECT) this.#writeOcw3(value);
    else this.#writeOcw2(value);
  }

  setElcr(value: number): void {
    this.state.elcr = value;
    this.state.irr |= this.state.lines & value;
  }

  *byPriority(): Generator<number> {
    for (let rank = 1; rank <= 8; rank++) yield (this.state.lowestPriority + rank) & 7;
  }

  #initialize(icw1: number): void {
    const { lines, elcr, vectorBase, icw3 } = this.state;
    this.state = {
      ...powerOn(),
      lines,
      elcr,
      vectorBase,
      icw3,
      // The edge sense circuit is reset: an edge-triggered input has to rise again. ICW1's LTIM is not wired in the
      // PIIX, ELCR stands in its place.
      irr: lines & elcr,
      step: 'ICW2',
      needsIcw4: (icw1 & ICW1.IC4) !== 0,
      single: (icw1 & ICW1.SNGL) !== 0,
    };
  }

  #writeDataPort(value: number): void {
    const s = this.state;
    switch (s.step) {
      case 'ICW2':
        s.vectorBase = value & 0xf8;
        s.step = s.single ? this.#afterIcw3() : 'ICW3';
        break;
      case 'ICW3':
        s.icw3 = value;
        s.step = this.#afterIcw3();
        break;
      case 'ICW4':
        s.autoEoi = (value & ICW4.AEOI) !== 0;
        s.specialFullyNested = (value & ICW4.SFNM) !== 0;
        s.step = 'ready';
        break;
      default:
        s.imr = value;
    }
  }

  #afterIcw3(): InitializationStep {
    return this.state.needsIcw4 ? 'ICW4' : 'ready';
  }

  #writeOcw2(value: number): void {
    const s = this.state;
    const level = value & 7;
    const [rotate, specific, eoi] = [(value & 0x80) !== 0, (value & 0x40) !== 0, (value & 0x20) !== 0];
    if (eoi) {
      const ended = specific ? level : this.#highestInService();
      if (ended === undefined) return;
      s.isr &= ~(1 << ended);
      if (rotate) s.lowestPriority = ended;
    } else if (specific) {
      if (rotate) s.lowestPriority = level;
    } else {
      s.rotateInAutoEoi = rotate;
    }
  }

  /** For a non-specific EOI, which in special mask mode leaves masked in-service bits alone. */
  #highestInService(): number | undefined {
    const s = this.state;
    const inService = s.specialMask ? s.isr & ~s.imr : s.isr;
    for (const ir of this.byPriority()) if (inService & (1 << ir)) return ir;
    return undefined;
  }

  #writeOcw3(value: number): void {
    const s = this.state;
    if (value & OCW3.ESMM) s.specialMask = (value & OCW3.SMM) !== 0;
    if (value & OCW3.P) s.poll = true;
    else if (value & OCW3.RR) s.readIsr = (value & OCW3.RIS) !== 0;
  }
}

export class Pic8259 implements Device<Pic8259State>, PortDevice {
  readonly name = 'pic-8259';
  readonly ports = [
    { first: 0x20, count: 2 },
    { first: 0xa0, count: 2 },
    { first: 0x4d0, count: 2 },
  ];
  readonly #master = new Chip(true);
  readonly #slave = new Chip(false);
  readonly #intr: InterruptLine | undefined;
  #acknowledging: Pic8259State['acknowledging'] = null;
  #intrLevel = false;

  /** @param intr the master's INT output, told on every change; the same as `pendingVector()`. */
  constructor(intr?: InterruptLine) {
    this.#intr = intr;
  }

  /** The input wire of IRQ 0–15 (2 is the cascade and cannot be had). */
  line(irq: number): InterruptLine {
    if (!Number.isInteger(irq) || irq < 0 || irq > 15 || irq === CASCADE) {
      throw new Error(`pic-8259: expected an IRQ of 0 to 15 other than 2 (the cascade), found ${irq}`);
    }
    const chip = irq < 8 ? this.#master : this.#slave;
    return {
      set: (level) => {
        chip.setLine(irq & 7, level);
        this.#update();
      },
    };
  }

  /** The INTR line to the CPU: true while a vector waits to be acknowledged. */
  pendingVector(): boolean {
    return this.#intrLevel;
  }

  /** The CPU's two INTA cycles: returns the vector, which is that of IRQ 7 if the request has gone meanwhile. */
  acknowledge(): number {
    this.firstInta();
    return this.secondInta();
  }

  /** First INTA pulse: the master fixes the highest request and, if it is the cascade, selects the slave. */
  firstInta(): void {
    const ir = this.#master.request();
    if (ir !== undefined) this.#master.accept(ir);
    this.#acknowledging = ir ?? 'spurious';
  }

  /** Second INTA pulse: the selected chip gives the vector; a slave without a request that of its input 7. */
  secondInta(): number {
    const ir = this.#acknowledging ?? 'spurious';
    this.#acknowledging = null;
    const vector = this.#vectorOf(ir);
    this.#update();
    return vector;
  }

  #vectorOf(ir: number | 'spurious'): number {
    if (ir === 'spurious') return this.#master.vector(SPURIOUS);
    if (ir !== CASCADE) return this.#master.vector(ir);
    const slaveIr = this.#slave.request();
    if (slaveIr === undefined) return this.#slave.vector(SPURIOUS);
    this.#slave.accept(slaveIr);
    // The slave's INT falls with INTA even if its next request (in automatic EOI mode) raises it again at once.
    this.#master.setLine(CASCADE, false);
    return this.#slave.vector(slaveIr);
  }

  readPort(port: number): number {
    if (port >= 0x4d0) return this.peekPort(port);
    const value = this.#chipAt(port).read(port & 1);
    this.#update();
    return value;
  }

  peekPort(port: number): number {
    const chip = this.#chipAt(port);
    return port >= 0x4d0 ? chip.state.elcr : chip.peek(port & 1);
  }

  writePort(port: number, _sizeBytes: number, value: number): void {
    // IRQ 0, 1, 2, 8 and 13 are edge-triggered for good.
    if (port === 0x4d0) this.#master.setElcr(value & 0xf8);
    else if (port === 0x4d1) this.#slave.setElcr(value & 0xde);
    else this.#chipAt(port).write(port & 1, value & 0xff);
    this.#update();
  }

  reset(): void {
    for (const chip of [this.#master, this.#slave]) chip.state = { ...powerOn(), lines: chip.state.lines };
    this.#acknowledging = null;
    this.#update();
  }

  saveState(): Pic8259State {
    return clonePlain({
      master: this.#master.state,
      slave: this.#slave.state,
      acknowledging: this.#acknowledging,
    });
  }

  restoreState(state: Pic8259State): void {
    const copy = clonePlain(state);
    this.#master.state = copy.master;
    this.#slave.state = copy.slave;
    this.#acknowledging = copy.acknowledging;
    this.#update();
    this.#intr?.set(this.#intrLevel);
  }

  describe(): DeviceView {
    return { device: this.name, registers: [...this.#chipView(this.#master), ...this.#chipView(this.#slave)] };
  }

  #chipView(chip: Chip) {
    const s = chip.state;
    const prefix = chip.isMaster ? 'Master' : 'Slave';
    const firstIrq = chip.isMaster ? 0 : 8;
    const register = (name: string, value: number, meaning: string) => ({
      name: `${prefix} ${name}`,
      value,
      widthBits: 8,
      meaning,
    });
    const irqs = (bits: number) => {
      const set = [0, 1, 2, 3, 4, 5, 6, 7].filter((ir) => bits & (1 << ir)).map((ir) => `IRQ${firstIrq + ir}`);
      return set.join(' ') || 'none';
    };
    const modes = [
      s.autoEoi && 'AEOI',
      s.specialFullyNested && 'SFNM',
      s.specialMask && 'special mask',
      s.rotateInAutoEoi && 'rotate in AEOI',
      s.poll && 'poll',
    ].filter((mode) => mode !== false);
    return [
      register('IRR', s.irr, irqs(s.irr)),
      register('IMR', s.imr, irqs(s.imr)),
      register('ISR', s.isr, irqs(s.isr)),
      register('ICW2', s.vectorBase, `vectors ${hex(s.vectorBase, 2)} to ${hex(s.vectorBase + 7, 2)}`),
      register('ICW3', s.icw3, chip.isMaster ? `slave on ${irqs(s.icw3)}` : `slave ID ${s.icw3 & 7}`),
      register('ELCR', s.elcr, irqs(s.elcr)),
      register('mode', s.lowestPriority, [`${s.step}; lowest priority IR${s.lowestPriority}`, ...modes].join('; ')),
    ];
  }

  #chipAt(port: number): Chip {
    return port === 0xa0 || port === 0xa1 || port === 0x4d1 ? this.#slave : this.#master;
  }

  #update(): void {
    this.#master.setLine(CASCADE, this.#slave.request() !== undefined);
    const level = this.#master.request() !== undefined;
    if (level === this.#intrLevel) return;
    this.#intrLevel = level;
    this.#intr?.set(level);
  }
}
