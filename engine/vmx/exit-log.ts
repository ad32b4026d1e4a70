/**
 * The VM exits of a run, the last ones row by row and all of them by reason: what happened, when, and what it took until
 * the guest ran again. Numbers only, written at each exit, so that it costs next to nothing; who looks at it puts it into
 * words.
 */
import type { CpuState } from '../cpu/state.ts';
import {
  CHUNK_ROWS,
  exitLogArray,
  exitLogPlace,
  type LogNumber,
  type LogWord,
  logNumbers,
  logWords,
  NUMBERS_OF_ROW,
  PENDING,
  WORDS_OF_ROW,
} from './exit-log-layout.ts';
import { offsetOf } from './vmcs.ts';
import type { VmxParts } from './vmx-parts.ts';

/** The time of the run. */
export interface ExitLogClock {
  /** Index of the loaded vCPU. */
  readonly loaded: number;
  /** Instructions retired by all vCPUs. */
  readonly instructions: number;
  /** Nanoseconds in which nothing ran. */
  readonly idleNs: number;
  /** Of those instructions, the ones of the loaded vCPU. */
  ownOf(instructions: number): number;
}

type Column = LogWord | LogNumber;

/** A row by its columns. `number` counts all exits of the run, from 0. */
export type LoggedExit = Readonly<Record<Column, number>> & { readonly number: number };

/** Sums over all exits of one reason. */
export interface ExitTotals {
  readonly reason: number;
  readonly count: number;
  /** Of the round trips that are over. */
  readonly roundTrips: number;
  readonly roundTripInstructions: number;
}

const REASON = logWords.indexOf('reason');
/** In the order of `logNumbers`. */
const [INSTRUCTIONS, OWN_INSTRUCTIONS, IDLE_NS, UNITS, ROUND_TRIP_INSTRUCTIONS, ROUND_TRIP_IDLE_NS] = [
  0, 1, 2, 3, 4, 5,
];
const FULL_CHUNKS = 15;
/** At least so many exits are kept. */
export const KEPT_EXITS = CHUNK_ROWS * FULL_CHUNKS;

const EXIT_REASON = offsetOf('Exit reason');
const GUEST_RIP = offsetOf('Guest RIP');
const CODE_BASE = offsetOf('Guest CS base');
const CODE_RIGHTS = offsetOf('Guest CS access rights');
const RIGHTS_64_BIT = 1 << 13;
const QUALIFICATION = offsetOf('Exit qualification');
const GUEST_PHYSICAL = offsetOf('Guest-physical address');
const INTERRUPTION = offsetOf('VM-exit interruption information');
const [RAX, RCX, RDX] = [0, 1, 2];

/** Rows, as words and as numbers. */
export interface Chunk {
  readonly words: Int32Array;
  readonly numbers: Float64Array;
}
const copyOf = ({ words, numbers }: Chunk): Chunk => ({ words: words.slice(), numbers: numbers.slice() });

/** For VT-x: basic exit reasons and what else the VMCS tells. */
export function vmxExitLog({ vmcs, state }: VmxParts): ExitLog {
  return new ExitLog(state, (words, at, vcpu) => {
    words[at] = vmcs.u32(EXIT_REASON);
    words[at + 1] = vmcs.u32(GUEST_RIP);
    words[at + 2] = vmcs.high(GUEST_RIP);
    words[at + 3] = vmcs.u32(CODE_RIGHTS) & RIGHTS_64_BIT ? 0 : vmcs.u32(CODE_BASE);
    words[at + 4] = vmcs.u32(QUALIFICATION);
    words[at + 5] = vmcs.high(QUALIFICATION);
    words[at + 6] = vmcs.u32(GUEST_PHYSICAL);
    words[at + 7] = vmcs.high(GUEST_PHYSICAL);
    words[at + 8] = vmcs.u32(INTERRUPTION);
    words[at + 9] = vmcs.address;
    words[at + 10] = vcpu;
    words[at + 11] = state.gpr32(RAX);
    words[at + 12] = state.gprHigh32(RAX);
    words[at + 13] = state.gpr32(RCX);
    words[at + 14] = state.gpr32(RDX);
  });
}

/** Writes what is known of the exit that has just taken place, in the order of `logWords`. */
export type ExitWriter = (words: Int32Array, at: number, vcpu: number) => void;

export class ExitLog {
  /** Set by the machine. */
  clock: ExitLogClock = { loaded: 0, instructions: 0, idleNs: 0, ownOf: () => 0 };
  /** Units of the run (machine/history.ts) after so many instructions: where an exit is, or a few before. */
  unitsAfter: (instructions: number) => number = () => 0;
  readonly #writeWords: ExitWriter;
  /** Chunks that are full; checkpoints hold them too. */
  #chunks: Chunk[] = [];
  /** The one that is being filled, in the order of `exitLogPlace`. */
  readonly #newest: Chunk;
  readonly #rows: Uint32Array;
  readonly #first: Float64Array;
  readonly #open: Float64Array;
  readonly #counts: Float64Array;
  readonly #roundTrips: Float64Array;
  readonly #roundTripInstructions: Float64Array;

  /** The newest rows lie in the memory of the CPU state; `writeWords` tells of an exit, its reason first. */
  constructor({ view }: CpuState, writeWords: ExitWriter) {
    this.#writeWords = writeWords;
    const buffer = view.buffer as ArrayBuffer;
    const part = (name: keyof typeof exitLogPlace): Float64Array => exitLogArray(buffer, name);
    this.#newest = {
      words: new Int32Array(buffer, exitLogPlace.words, WORDS_OF_ROW * CHUNK_ROWS),
      numbers: part('numbers'),
    };
    this.#rows = new Uint32Array(buffer, exitLogPlace.rows, 1).fill(0);
    this.#first = part('first').fill(0);
    this.#open = part('open').fill(PENDING);
    this.#counts = part('counts').fill(0);
    this.#roundTrips = part('roundTrips').fill(0);
    this.#roundTripInstructions = part('roundTripInstructions').fill(0);
  }

  /** Exits of the run so far, by reason. */
  get counts(): Float64Array {
    return this.#counts;
  }

  /** Exits of the run so far. */
  get total(): number {
    return (this.#first[0] as number) + (this.#rows[0] as number);
  }

  /** An exit has taken place: the VMCS or VMCB tells of it, and the general-purpose registers are still the guest's. */
  exited(reason: number): void {
    if (this.#rows[0] === CHUNK_ROWS) this.#beginChunk();
    this.#writeWords(this.#newest.words, (this.#rows[0] as number) * WORDS_OF_ROW, this.clock.loaded);
    this.logged(reason);
  }
  /** The same, with the words of its row written already; there was room for it. */
  logged(reason: number): void {
    const row = this.#rows[0] as number;
    this.#writeNumbers(row * NUMBERS_OF_ROW);
    this.#open[this.clock.loaded] = (this.#first[0] as number) + row;
    this.#rows[0] = row + 1;
    this.#counts[reason] = (this.#counts[reason] ?? 0) + 1;
  }

  #beginChunk(): void {
    if (this.#chunks.length === FULL_CHUNKS) this.#chunks.shift();
    this.#chunks.push(copyOf(this.#newest));
    this.#first[0] = (this.#first[0] as number) + CHUNK_ROWS;
    this.#rows[0] = 0;
  }

  #writeNumbers(at: number): void {
    const { clock } = this;
    const { numbers } = this.#newest;
    const { instructions } = clock;
    numbers[at + INSTRUCTIONS] = instructions;
    numbers[at + OWN_INSTRUCTIONS] = clock.ownOf(instructions);
    numbers[at + IDLE_NS] = clock.idleNs;
    numbers[at + UNITS] = this.unitsAfter(instructions);
    numbers[at + ROUND_TRIP_INSTRUCTIONS] = PENDING;
    numbers[at + ROUND_TRIP_IDLE_NS] = 0;
  }

  /** The loaded vCPU has entered its guest: the round trip of its last exit is over. */
  entered(): void {
    const { clock } = this;
    const { loaded } = clock;
    const number = this.#open[loaded] as number;
    if (number === PENDING) return;
    this.#open[loaded] = PENDING;
    const chunk = number >= (this.#first[0] as number) ? this.#newest : this.#ownChunkOf(number);
    if (!chunk) return;
    const row = number % CHUNK_ROWS;
    const at = row * NUMBERS_OF_ROW;
    const { numbers } = chunk;
    const instructions = clock.ownOf(clock.instructions) - (numbers[at + OWN_INSTRUCTIONS] as number);
    numbers[at + ROUND_TRIP_INSTRUCTIONS] = instructions;
    numbers[at + ROUND_TRIP_IDLE_NS] = clock.idleNs - (numbers[at + IDLE_NS] as number);
    const reason = (chunk.words[row * WORDS_OF_ROW + REASON] as number) & 0xffff;
    this.#roundTrips[reason] = (this.#roundTrips[reason] ?? 0) + 1;
    this.#roundTripInstructions[reason] = (this.#roundTripInstructions[reason] ?? 0) + instructions;
  }

  /** Number of the first exit that is kept. */
  get first(): number {
    return (this.#first[0] as number) - this.#chunks.length * CHUNK_ROWS;
  }

  #indexOf(number: number): number {
    return Math.floor((number - this.first) / CHUNK_ROWS);
  }
  #chunkOf(number: number): Chunk | undefined {
    if (number >= this.total) return undefined;
    return number >= (this.#first[0] as number) ? this.#newest : this.#chunks[this.#indexOf(number)];
  }
  /** The full chunk of an exit, to be written to: a copy, as checkpoints may hold it. */
  #ownChunkOf(number: number): Chunk | undefined {
    const index = this.#indexOf(number);
    const chunk = this.#chunks[index];
    if (!chunk) return undefined;
    const own = copyOf(chunk);
    this.#chunks[index] = own;
    return own;
  }

  /** The exit with a number, if it is kept. */
  row(number: number): LoggedExit | undefined {
    const chunk = this.#chunkOf(number);
    if (!chunk) return undefined;
    const row = number % CHUNK_ROWS;
    const first = logWords.map((column, index) => [column, (chunk.words[row * WORDS_OF_ROW + index] as number) >>> 0]);
    const rest = logNumbers.map((column, index) => [column, chunk.numbers[row * NUMBERS_OF_ROW + index]]);
    return { ...(Object.fromEntries([...first, ...rest]) as Record<Column, number>), number };
  }

  /** Sums by reason, of those that occurred. */
  totals(): ExitTotals[] {
    return Array.from(this.#counts, (count, reason) => ({
      reason,
      count,
      roundTrips: this.#roundTrips[reason] as number,
      roundTripInstructions: this.#roundTripInstructions[reason] as number,
    })).filter(({ count }) => count > 0);
  }

  /** For a checkpoint. Full chunks are shared, as they are never written to. */
  saveState() {
    return {
      chunks: this.#chunks.slice(),
      newest: copyOf(this.#newest),
      rows: this.#rows.slice(),
      first: this.#first.slice(),
      open: this.#open.slice(),
      counts: this.#counts.slice(),
      roundTrips: this.#roundTrips.slice(),
      roundTripInstructions: this.#roundTripInstructions.slice(),
    };
  }

  restoreState(saved: ReturnType<ExitLog['saveState']>): void {
    this.#chunks = saved.chunks.slice();
    this.#newest.words.set(saved.newest.words);
    this.#newest.numbers.set(saved.newest.numbers);
    this.#rows.set(saved.rows);
    this.#first.set(saved.first);
    this.#open.set(saved.open);
    this.#counts.set(saved.counts);
    this.#roundTrips.set(saved.roundTrips);
    this.#roundTripInstructions.set(saved.roundTripInstructions);
  }
}
