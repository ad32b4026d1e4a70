/**
 * The VM exits of a run, the last ones row by row and all of them by reason: what happened, when, and what it took until
 * the guest ran again. Numbers only, written at each exit, so that it costs next to nothing; who looks at it puts it into
 * words.
 */
import { EXIT_REASON_COUNT } from './exit-reasons.ts';
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

/** What is known of an exit: words of the VMCS, the vCPU, the guest's registers; and numbers. */
const words = [
  'reason',
  'ripLow',
  'ripHigh',
  /** Base of the code segment; 0 in 64-bit code. */
  'codeBase',
  'qualificationLow',
  'qualificationHigh',
  'guestPhysicalLow',
  'guestPhysicalHigh',
  'interruptionInformation',
  'vmcs',
  'vcpu',
  'rax',
  'raxHigh',
  'rcx',
  'rdx',
] as const;
const numbers = [
  'instructions',
  'ownInstructions',
  'idleNs',
  'units',
  /** Instructions of the vCPU from the exit to its next VM entry; -1 before that. */
  'roundTripInstructions',
  /** Nanoseconds of waiting among that. */
  'roundTripIdleNs',
] as const;

type Column = (typeof words)[number] | (typeof numbers)[number];

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

const WORDS = words.length;
const NUMBERS = numbers.length;
const REASON = words.indexOf('reason');
/** In the order of `numbers`. */
const [INSTRUCTIONS, OWN_INSTRUCTIONS, IDLE_NS, UNITS, ROUND_TRIP_INSTRUCTIONS, ROUND_TRIP_IDLE_NS] = [
  0, 1, 2, 3, 4, 5,
];
/** Rows come in chunks, which checkpoints share once they are full. */
const CHUNK_ROWS = 128;
const CHUNKS = 16;
/** At least so many exits are kept. */
export const KEPT_EXITS = CHUNK_ROWS * (CHUNKS - 1);
const PENDING = -1;

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
const emptyChunk = (): Chunk => ({
  words: new Int32Array(CHUNK_ROWS * WORDS),
  numbers: new Float64Array(CHUNK_ROWS * NUMBERS),
});
const copyOf = ({ words, numbers }: Chunk): Chunk => ({ words: words.slice(), numbers: numbers.slice() });

export class ExitLog {
  /** Set by the machine. */
  clock: ExitLogClock = { loaded: 0, instructions: 0, idleNs: 0, ownOf: () => 0 };
  /** Units of the run (machine/history.ts) after so many instructions: where an exit is, or a few before. */
  unitsAfter: (instructions: number) => number = () => 0;
  readonly #parts: VmxParts;
  /** The last of them is being filled. */
  #chunks: Chunk[] = [];
  /** How many of them, from the first, a checkpoint may hold. */
  #shared = 0;
  #total = 0;
  /** Number of the exit of each vCPU that no VM entry has followed; -1 for none. */
  #open: number[] = [];
  #counts = new Float64Array(EXIT_REASON_COUNT);
  #roundTrips = new Float64Array(EXIT_REASON_COUNT);
  #roundTripInstructions = new Float64Array(EXIT_REASON_COUNT);

  constructor(parts: VmxParts) {
    this.#parts = parts;
  }

  /** Exits of the run so far, by basic exit reason. */
  get counts(): Float64Array {
    return this.#counts;
  }

  /** Exits of the run so far. */
  get total(): number {
    return this.#total;
  }

  /** An exit has taken place: the VMCS tells of it, and the general-purpose registers are still the guest's. */
  exited(reason: number): void {
    const row = this.#total % CHUNK_ROWS;
    if (row === 0) this.#addChunk();
    const { loaded } = this.clock;
    this.#write(this.#last, row, loaded);
    this.#open[loaded] = this.#total++;
    this.#counts[reason] = (this.#counts[reason] ?? 0) + 1;
  }

  get #last(): Chunk {
    return this.#chunks[this.#chunks.length - 1] as Chunk;
  }

  #addChunk(): void {
    const first = this.#chunks.length === CHUNKS ? this.#chunks.shift() : undefined;
    const isOwn = first !== undefined && this.#shared === 0;
    if (first) this.#shared = Math.max(0, this.#shared - 1);
    this.#chunks.push(isOwn ? first : emptyChunk());
  }

  #write(chunk: Chunk, row: number, loaded: number): void {
    this.#writeWords(chunk.words, row * WORDS, loaded);
    const { clock } = this;
    const { numbers } = chunk;
    const { instructions } = clock;
    const at = row * NUMBERS;
    numbers[at + INSTRUCTIONS] = instructions;
    numbers[at + OWN_INSTRUCTIONS] = clock.ownOf(instructions);
    numbers[at + IDLE_NS] = clock.idleNs;
    numbers[at + UNITS] = this.unitsAfter(instructions);
    numbers[at + ROUND_TRIP_INSTRUCTIONS] = PENDING;
    numbers[at + ROUND_TRIP_IDLE_NS] = 0;
  }
  /** In the order of `words`. */
  #writeWords(words: Int32Array, at: number, loaded: number): void {
    const { vmcs, state } = this.#parts;
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
    words[at + 10] = loaded;
    words[at + 11] = state.gpr32(RAX);
    words[at + 12] = state.gprHigh32(RAX);
    words[at + 13] = state.gpr32(RCX);
    words[at + 14] = state.gpr32(RDX);
  }

  /** The loaded vCPU has entered its guest: the round trip of its last exit is over. */
  entered(): void {
    const { clock } = this;
    const { loaded } = clock;
    const number = this.#open[loaded] ?? PENDING;
    if (number === PENDING) return;
    this.#open[loaded] = PENDING;
    const chunk = number === this.#total - 1 ? this.#last : this.#chunkOf(number);
    if (!chunk) return;
    const row = number % CHUNK_ROWS;
    const at = row * NUMBERS;
    const { numbers } = chunk;
    const instructions = clock.ownOf(clock.instructions) - (numbers[at + OWN_INSTRUCTIONS] as number);
    numbers[at + ROUND_TRIP_INSTRUCTIONS] = instructions;
    numbers[at + ROUND_TRIP_IDLE_NS] = clock.idleNs - (numbers[at + IDLE_NS] as number);
    const reason = (chunk.words[row * WORDS + REASON] as number) & 0xffff;
    this.#roundTrips[reason] = (this.#roundTrips[reason] ?? 0) + 1;
    this.#roundTripInstructions[reason] = (this.#roundTripInstructions[reason] ?? 0) + instructions;
  }

  /** Number of the first exit that is kept. */
  get first(): number {
    return (Math.ceil(this.#total / CHUNK_ROWS) - this.#chunks.length) * CHUNK_ROWS;
  }

  #indexOf(number: number): number {
    return Math.floor((number - this.first) / CHUNK_ROWS);
  }
  #chunkOf(number: number): Chunk | undefined {
    return number < this.#total ? this.#chunks[this.#indexOf(number)] : undefined;
  }

  /** The exit with a number, if it is kept. */
  row(number: number): LoggedExit | undefined {
    const chunk = this.#chunkOf(number);
    if (!chunk) return undefined;
    const row = number % CHUNK_ROWS;
    const first = words.map((column, index) => [column, (chunk.words[row * WORDS + index] as number) >>> 0]);
    const rest = numbers.map((column, index) => [column, chunk.numbers[row * NUMBERS + index]]);
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

  /** For a checkpoint. Full chunks are shared: they are only written to again after they were copied. */
  saveState() {
    this.#shared = Math.max(0, this.#chunks.length - 1);
    return {
      chunks: this.#chunks.map((chunk, index) => (index < this.#shared ? chunk : copyOf(chunk))),
      total: this.#total,
      open: this.#open.slice(),
      counts: this.#counts.slice(),
      roundTrips: this.#roundTrips.slice(),
      roundTripInstructions: this.#roundTripInstructions.slice(),
    };
  }

  restoreState(saved: ReturnType<ExitLog['saveState']>): void {
    this.#chunks = saved.chunks.slice();
    this.#shared = this.#chunks.length;
    this.#total = saved.total;
    this.#open = saved.open.slice();
    this.#counts = saved.counts.slice();
    this.#roundTrips = saved.roundTrips.slice();
    this.#roundTripInstructions = saved.roundTripInstructions.slice();
    // The last one goes on to be filled. A VM entry after the checkpoint may have closed what was open then.
    this.#makeOwn(this.#total - 1);
    for (const number of this.#open) if (number !== PENDING) this.#reopen(number);
  }

  /** Copies the chunk of an exit, which is going to be written to. */
  #makeOwn(number: number): Chunk | undefined {
    const chunk = this.#chunkOf(number);
    const own = chunk && copyOf(chunk);
    if (own) this.#chunks[this.#indexOf(number)] = own;
    return own;
  }

  #reopen(number: number): void {
    const at = (number % CHUNK_ROWS) * NUMBERS;
    this.#makeOwn(number)?.numbers.set([PENDING, 0], at + ROUND_TRIP_INSTRUCTIONS);
  }
}
