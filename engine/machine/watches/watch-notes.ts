/** Accesses to watched data, noted where they happen and judged at the next instruction boundary. */
import type { Watch, WatchHit } from '../machine-api.ts';
import type { Cause } from './watch-causes.ts';

export interface WatchNote {
  readonly watch: Watch;
  readonly access: 'read' | 'write';
  /** First byte accessed, of memory and ports. */
  readonly address?: number;
  readonly before: bigint | undefined;
  /** The value at the boundary. */
  readonly after: () => bigint | undefined;
  /** An instruction asked for it: it counts even if it changed nothing. */
  readonly isExplicit: boolean;
  readonly cause: Cause;
}

export class WatchNotes {
  readonly #wanted: () => void;
  readonly #isQuiet: () => boolean;
  #notes: WatchNote[] = [];

  /** `wanted` is told that the next boundary is to be looked at; while `isQuiet`, nothing is noted. */
  constructor(wanted: () => void, isQuiet: () => boolean) {
    this.#wanted = wanted;
    this.#isQuiet = isQuiet;
  }

  get isEmpty(): boolean {
    return this.#notes.length === 0;
  }

  /** Of several accesses of a kind to the same data, the value before is that of the first. */
  add(note: WatchNote): void {
    if (this.#isQuiet()) return;
    const known = this.#notes.findIndex(({ watch, access }) => watch === note.watch && access === note.access);
    const first = this.#notes[known];
    if (!first) this.#notes.push(note);
    else if (note.isExplicit && !first.isExplicit) this.#notes[known] = { ...note, before: first.before };
    this.#wanted();
  }

  discard(): void {
    this.#notes = [];
  }

  /** What counts of that which was noted. */
  take(): WatchHit[] {
    const notes = this.#notes;
    this.#notes = [];
    return notes.flatMap(({ watch, access, address, before, after, isExplicit, cause }) => {
      const value = after();
      if (!isExplicit && value === before) return [];
      const { by, instruction } = cause;
      const at = address === undefined ? {} : { address: BigInt(address) };
      return [{ watch, access, ...at, before, after: value, by, instruction }];
    });
  }
}
