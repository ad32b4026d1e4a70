/**
 * The instructions that a run of the executor may still take, and what it has taken: exact whenever TypeScript runs at an
 * instruction boundary. What compiled code takes from lies in memory; the rest of the run is kept aside here.
 */
import { EVENTS_ADDRESS, SET_ASIDE_ADDRESS } from '../cpu/memory-map.ts';
import { readSigned, writeInteger } from '../cpu/state.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { worldSwitchPlace } from '../vmx/world-switch-layout.ts';
import { record } from './record.ts';

export class RunBudget {
  readonly #view: DataView;
  #limit = 0;
  /** What is left beyond the block under way, while the run loop goes block by block. */
  #reserve = 0;
  /** Executed in the runs before the current one. */
  #before = 0;
  #totalWhenAsked = 0;

  constructor(view: DataView) {
    this.#view = view;
  }

  /** A run begins, of so many instructions at most. */
  begin(limit: number): void {
    this.#limit = limit;
    this.events = 0;
    this.left = limit;
  }

  /** Instructions executed so far in the current run. */
  get executed(): number {
    return this.#limit - this.events - this.left;
  }
  /** What the current run took from its limit so far: instructions, and events dealt with. */
  get consumed(): number {
    return this.#limit - this.left;
  }
  /** Ends the accounting of a run: returns what it executed. */
  takeExecuted(): number {
    const { executed } = this;
    this.#before += executed;
    this.#limit = this.left + this.events;
    return executed;
  }
  /** Instructions executed in all runs. */
  get total(): number {
    return this.#before + this.executed;
  }
  /** Instructions executed since this was asked last. */
  sinceAsked(): number {
    const { total } = this;
    const since = total - this.#totalWhenAsked;
    this.#totalWhenAsked = total;
    return since;
  }

  /** Events dealt with in this run. Each takes from the budget, so that a storm of faults cannot hold the loop. */
  get events(): number {
    return this.#view.getUint32(EVENTS_ADDRESS, true);
  }
  set events(value: number) {
    this.#view.setUint32(EVENTS_ADDRESS, value, true);
  }

  get left(): number {
    const view = this.#view;
    return readSigned(view, fieldAddress.budget) + readSigned(view, SET_ASIDE_ADDRESS) + this.#reserve;
  }
  set left(value: number) {
    const view = this.#view;
    writeInteger(view, fieldAddress.budget, value - this.#reserve);
    writeInteger(view, SET_ASIDE_ADDRESS, 0);
  }

  /** Lets compiled code take from so many instructions and no more, until `release`; interpreted code only from some of them. */
  confine(instructions: number, interpreted = instructions): void {
    const { left } = this;
    this.#reserve = Math.max(left - instructions, 0);
    const aside = Math.max(left - this.#reserve - interpreted, 0);
    writeInteger(this.#view, fieldAddress.budget, left - this.#reserve - aside);
    writeInteger(this.#view, SET_ASIDE_ADDRESS, aside);
    this.#view.setFloat64(worldSwitchPlace.limit, this.#limit - this.#reserve, true);
  }
  release(): void {
    const { left } = this;
    this.#reserve = 0;
    this.left = left;
  }

  /** The instruction of a record is to be replaced by an event: the rest of its block goes back, of what is not set aside. */
  giveBack(recordAddress: number): void {
    const view = this.#view;
    const back = view.getUint16(recordAddress + record.blockCount, true) - 1;
    writeInteger(view, fieldAddress.budget, readSigned(view, fieldAddress.budget) + back);
    this.events++;
  }
}
