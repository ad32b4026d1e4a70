/**
 * One counter of an 8254. Source: Intel 8254 data sheet (231164), "Mode Definitions", "Read Operations".
 *
 * Nothing is ticked: a counter keeps how many clocks have passed since its counting element was loaded, and its output
 * and its count follow from that, so that any stretch of virtual time costs the same.
 */

export interface CounterState {
  /** 0 to 5. */
  mode: number;
  bcd: boolean;
  /** Control word RW1, RW0: 1 least significant byte only, 2 most significant byte only, 3 both in turn. */
  access: number;
  gate: boolean;
  /** The count register CR in clocks (1 to 65536); null between a control word and the first count. */
  countRegister: number | null;
  /** What the counting element CE was last loaded with; null until it was. */
  loaded: number | null;
  /** CR goes to CE with the next clock. */
  loadPending: boolean;
  /** Counted clocks since the load; in modes 2 and 3 since the begin of the period. */
  elapsed: number;
  nullCount: boolean;
  /** First byte of a count of two, while the second one is to come. */
  writeLow: number | null;
  /** The next read of a count of two gives its most significant byte. */
  readHighNext: boolean;
  latchedCount: number | null;
  latchedStatus: number | null;
}

const MODE_NAMES = [
  'interrupt on terminal count',
  'hardware retriggerable one-shot',
  'rate generator',
  'square wave mode',
  'software triggered strobe',
  'hardware triggered strobe',
];

/**
 * The data sheet leaves mode and OUT undefined until a control word; OUT is high here, as firmware leaves it, so that
 * the control word of modes 2 and 3 makes no edge.
 */
export function powerOn(gate: boolean): CounterState {
  return {
    mode: 3,
    bcd: false,
    access: 3,
    gate,
    countRegister: null,
    loaded: null,
    loadPending: false,
    elapsed: 0,
    nullCount: true,
    writeLow: null,
    readHighNext: false,
    latchedCount: null,
    latchedStatus: null,
  };
}

const toBcd = (value: number) =>
  (value % 10) | ((Math.floor(value / 10) % 10) << 4) | ((Math.floor(value / 100) % 10) << 8) | ((value / 1000) << 12);

const fromBcd = (bcd: number) =>
  (bcd & 15) + ((bcd >> 4) & 15) * 10 + ((bcd >> 8) & 15) * 100 + ((bcd >> 12) & 15) * 1000;

/** A view over a counter's state. */
export class Counter {
  state: CounterState;

  constructor(gate: boolean) {
    this.state = powerOn(gate);
  }

  get #periodic(): boolean {
    return this.state.mode === 2 || this.state.mode === 3;
  }

  /** A 0 written as count is the largest one. */
  get #fullCount(): number {
    return this.state.bcd ? 10_000 : 0x10000;
  }

  /** The OUT pin. */
  output(): boolean {
    const { mode, loaded, elapsed, gate } = this.state;
    if (loaded === null) return mode !== 0;
    switch (mode) {
      case 0:
        return !this.state.loadPending && this.state.writeLow === null && elapsed >= loaded;
      case 1:
        return elapsed >= loaded;
      case 2:
        return !gate || elapsed !== loaded - 1;
      case 3:
        return !gate || elapsed < Math.ceil(loaded / 2);
      default:
        return elapsed !== loaded;
    }
  }

  /** The counting element as it would be read, before conversion to BCD. */
  #countingElement(): number {
    const { mode, loaded, elapsed } = this.state;
    if (loaded === null) return 0;
    if (mode === 3) {
      const half = Math.ceil(loaded / 2);
      return loaded - (loaded & 1) - 2 * (elapsed < half ? elapsed : elapsed - half);
    }
    const full = this.#fullCount;
    return (((loaded - elapsed) % full) + full) % full;
  }

  /** Mode 0: "writing the first byte disables counting"; modes 1 and 5 count whatever the gate's level. */
  #counts(): boolean {
    const { mode, gate, writeLow } = this.state;
    if (mode === 0 && writeLow !== null) return false;
    return mode === 1 || mode === 5 || gate;
  }

  /** Clocks until OUT may change next, or undefined if it stays. */
  ticksToEdge(): number | undefined {
    const { mode, loaded, elapsed, loadPending } = this.state;
    if (loadPending) return 1;
    if (loaded === null || !this.#counts()) return undefined;
    if (mode === 2) return elapsed < loaded - 1 ? loaded - 1 - elapsed : 1;
    if (mode === 3) {
      const half = Math.ceil(loaded / 2);
      return elapsed < half ? half - elapsed : loaded - elapsed;
    }
    if (elapsed < loaded) return loaded - elapsed;
    return elapsed === loaded && mode >= 4 ? 1 : undefined;
  }

  /** Clocks until an OUT that is high falls, or undefined if it stays high. */
  ticksToFall(): number | undefined {
    const s = this.state;
    const count = s.loadPending ? s.countRegister : s.loaded;
    if (count === null || (s.mode !== 4 && !this.#periodic) || !this.#counts()) return undefined;
    const fallsAt = s.mode === 4 ? count : s.mode === 2 ? count - 1 : Math.ceil(count / 2);
    if (s.loadPending) return 1 + fallsAt;
    return s.elapsed < fallsAt ? fallsAt - s.elapsed : undefined;
  }

  advance(ticks: number): void {
    const s = this.state;
    let left = ticks;
    if (left > 0 && s.loadPending) {
      this.#load();
      left--;
    }
    if (s.loaded === null || left === 0) return;
    if (!this.#counts()) return;
    if (this.#periodic) this.#advancePeriodic(left, s.loaded);
    else s.elapsed += left;
  }

  /** A count written meanwhile is taken over at the end of the period (mode 2) or of the half period (mode 3). */
  #advancePeriodic(ticks: number, loaded: number): void {
    const s = this.state;
    let left = ticks;
    let period = loaded;
    while (s.nullCount && s.countRegister !== null && left > 0) {
      const half = Math.ceil(period / 2);
      const firstHalf = s.mode === 3 && s.elapsed < half;
      const boundary = firstHalf ? half : period;
      if (left < boundary - s.elapsed) break;
      left -= boundary - s.elapsed;
      period = s.countRegister;
      this.#load();
      if (firstHalf) s.elapsed = Math.ceil(period / 2);
    }
    s.elapsed = (s.elapsed + left) % period;
  }

  #load(): void {
    const s = this.state;
    s.loaded = s.countRegister;
    s.loadPending = false;
    s.nullCount = false;
    s.elapsed = 0;
  }

  setGate(level: boolean): void {
    const s = this.state;
    const rising = level && !s.gate;
    s.gate = level;
    const triggers = s.mode === 1 || s.mode === 5 || this.#periodic;
    if (rising && triggers && s.countRegister !== null) s.loadPending = true;
  }

  writeControl(access: number, mode: number, bcd: boolean): void {
    this.state = { ...powerOn(this.state.gate), access, bcd, mode: mode > 5 ? mode - 4 : mode };
  }

  writeCount(byte: number): void {
    const s = this.state;
    if (s.access === 1) this.#setCount(byte);
    else if (s.access === 2) this.#setCount(byte << 8);
    else if (s.writeLow === null) s.writeLow = byte;
    else {
      const low = s.writeLow;
      s.writeLow = null;
      this.#setCount(low | (byte << 8));
    }
  }

  #setCount(raw: number): void {
    const s = this.state;
    const count = (s.bcd ? fromBcd(raw) : raw) || this.#fullCount;
    // A count of 1 is illegal in modes 2 and 3; the shortest legal one stands in for it.
    s.countRegister = this.#periodic && count === 1 ? 2 : count;
    s.nullCount = true;
    const loadsAtOnce = s.mode === 0 || s.mode === 4 || (this.#periodic && s.loaded === null);
    if (loadsAtOnce) s.loadPending = true;
  }

  latchCount(): void {
    this.state.latchedCount ??= this.#readableCount();
  }

  latchStatus(): void {
    this.state.latchedStatus ??= this.status();
  }

  /** The status byte of the read-back command. */
  status(): number {
    const s = this.state;
    const bits = (this.output() ? 0x80 : 0) | (s.nullCount ? 0x40 : 0) | (s.bcd ? 1 : 0);
    return bits | (s.access << 4) | (s.mode << 1);
  }

  peek(): number {
    const s = this.state;
    if (s.latchedStatus !== null) return s.latchedStatus;
    const count = s.latchedCount ?? this.#readableCount();
    const high = s.access === 2 || (s.access === 3 && s.readHighNext);
    return high ? count >> 8 : count & 0xff;
  }

  read(): number {
    const s = this.state;
    const value = this.peek();
    if (s.latchedStatus !== null) {
      s.latchedStatus = null;
      return value;
    }
    const lastByte = s.access !== 3 || s.readHighNext;
    if (s.access === 3) s.readHighNext = !s.readHighNext;
    if (lastByte) s.latchedCount = null;
    return value;
  }

  #readableCount(): number {
    const count = this.#countingElement() % this.#fullCount;
    return this.state.bcd ? toBcd(count) : count;
  }

  describe(name: string) {
    const s = this.state;
    const rate = s.loaded === null ? 'no count' : `every ${s.loaded} clocks`;
    const pins = `OUT ${this.output() ? 'high' : 'low'}, GATE ${s.gate ? 'high' : 'low'}`;
    return [
      { name: `${name} count`, value: this.#readableCount(), widthBits: 16, meaning: rate },
      {
        name: `${name} status`,
        value: this.status(),
        widthBits: 8,
        meaning: `mode ${s.mode} (${MODE_NAMES[s.mode]})${s.bcd ? ', BCD' : ''}; ${pins}`,
      },
    ];
  }
}
