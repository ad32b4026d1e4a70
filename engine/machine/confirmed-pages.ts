/** Which pages an audit has confirmed by what paging-structure entries: those that have to be confirmed again when one is written. */

/** With more pages than these under one entry, none is told apart. */
const FEW = 8;
/** So many entries are remembered, and pages with code. */
const REMEMBERED = 0x1_0000;
const MANY = 'many';
type Pages = number[] | typeof MANY;

export class ConfirmedPages {
  /** By the address of an entry. */
  readonly #under = new Map<number, Pages>();
  /** Pages that were confirmed for fetches. */
  readonly #code = new Set<number>();

  /** Whether there is no room for more: to be cleared, when nothing counts as confirmed any more. */
  get isFull(): boolean {
    return this.#under.size >= REMEMBERED || this.#code.size >= REMEMBERED;
  }

  clear(): void {
    this.#under.clear();
    this.#code.clear();
  }

  /** A walk that read the entry has confirmed the page; undefined: one with an address that a number does not hold. */
  add(entry: number, page: number | undefined, isCode: boolean): void {
    const known = this.#under.get(entry);
    if (page === undefined || (typeof known === 'object' && known.length === FEW && !known.includes(page)))
      this.#under.set(entry, MANY);
    else if (known === undefined) this.#under.set(entry, [page]);
    else if (known !== MANY && !known.includes(page)) known.push(page);
    if (isCode && page !== undefined) this.#code.add(page);
  }

  /** Those that an entry has had a part in. Undefined if they are too many to tell. */
  under(entry: number): readonly number[] | undefined {
    const pages = this.#under.get(entry) ?? [];
    return pages === MANY ? undefined : pages;
  }

  hasCode(page: number): boolean {
    return this.#code.has(page);
  }
}
