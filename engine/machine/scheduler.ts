/**
 * Whose turn it is: vCPUs run one after the other, each for a fixed number of instructions or until it waits. The order
 * depends on nothing but what the guest does, not on how a run is cut into calls.
 */

/** Instructions a vCPU runs before the next one's turn, where there are several. */
const QUANTUM = 20_000;
/** The longest slice of the only vCPU. */
const WHOLE_SLICE = 8_000_000;

export interface Turns {
  readonly count: number;
  /** Index of the vCPU that ran last. */
  readonly loaded: number;
  load(vcpu: number): void;
  /** Cheap and without loading: false if the vCPU certainly cannot run. */
  mayRun(vcpu: number): boolean;
  /** Whether the loaded vCPU can run; ends its wait if what it waits for is there. */
  wake(): boolean;
}

export class Scheduler {
  readonly #turns: Turns;
  #left = QUANTUM;
  /** The vCPU that the rest of the quantum belongs to. */
  #owner = 0;

  constructor(turns: Turns) {
    this.#turns = turns;
  }

  /** Loads the vCPU that runs next, `only` if given; false if none can. */
  next(only: number | undefined): boolean {
    const turns = this.#turns;
    const { count, loaded } = turns;
    if (only !== undefined) {
      turns.load(only);
      return turns.wake();
    }
    if (loaded !== this.#owner) this.#give(loaded);
    const first = this.#left > 0 ? loaded : loaded + 1;
    for (let turn = 0; turn < count; turn++) {
      const vcpu = (first + turn) % count;
      if (!turns.mayRun(vcpu)) continue;
      turns.load(vcpu);
      if (!turns.wake()) continue;
      if (vcpu !== loaded || this.#left <= 0) this.#give(vcpu);
      return true;
    }
    turns.load(loaded);
    return false;
  }

  #give(vcpu: number): void {
    this.#owner = vcpu;
    this.#left = QUANTUM;
  }

  /** How long the vCPU may run now. */
  get sliceInstructions(): number {
    return this.#turns.count === 1 ? WHOLE_SLICE : Math.max(1, this.#left);
  }

  /** The vCPU ran; what it was given includes events that were dealt with. */
  used(instructions: number): void {
    this.#left -= instructions;
  }

  saveState() {
    return { owner: this.#owner, left: this.#left };
  }
  restoreState({ owner, left }: ReturnType<Scheduler['saveState']>): void {
    this.#owner = owner;
    this.#left = left;
  }
}
