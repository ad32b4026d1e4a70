import { hex } from '../hexadecimal.ts';
import { compareAddresses, lowest, partitionPoint } from './search.ts';

/**
 * What a symbol stands for. A `label` is an address of which nothing more is known (assembly code), a `constant` is
 * a plain number (`equ`, SHN_ABS) and never names an address.
 */
export type SymbolKind = 'function' | 'object' | 'label' | 'constant';

export interface ProgramSymbol {
  readonly name: string;
  /** Linear address, unsigned; the value of a constant. */
  readonly address: bigint;
  /** Bytes, 0 if unknown. */
  readonly size: number;
  readonly kind: SymbolKind;
  /** False for a name that is only known within its source file or, as `main.loop`, below another label. */
  readonly isGlobal: boolean;
}

/** Linear addresses, the end excluded. */
export interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
}

export interface SymbolOffset {
  readonly symbol: ProgramSymbol;
  /** Bytes from the symbol's address on. */
  readonly offset: bigint;
}

export interface FunctionRange extends AddressRange {
  readonly symbol: ProgramSymbol;
}

/** Which of several symbols of one address names it best: the higher. */
const RANK: Readonly<Record<SymbolKind, number>> = { constant: 0, label: 2, object: 4, function: 6 };

function rank(symbol: ProgramSymbol): number {
  return RANK[symbol.kind] + (symbol.isGlobal ? 1 : 0);
}

/** The names of a program, from our assembler or from an ELF symbol table. */
export class SymbolTable implements Iterable<ProgramSymbol> {
  /** All but constants by address, the best of one address last. */
  readonly #byAddress: readonly ProgramSymbol[];
  readonly #byName = new Map<string, ProgramSymbol[]>();
  readonly #functions: readonly ProgramSymbol[];
  /** Labels that may begin a piece of code: those that are not local to another. */
  readonly #labels: readonly ProgramSymbol[];
  readonly #extent: readonly AddressRange[];

  /**
   * @param symbols in any order; several may have one name
   * @param extent where the program lies: an address outside of it is near no symbol. Empty means anywhere.
   */
  constructor(symbols: Iterable<ProgramSymbol>, extent: Iterable<AddressRange> = []) {
    const all = [...symbols];
    for (const symbol of all) {
      const sameName = this.#byName.get(symbol.name);
      if (sameName === undefined) {
        this.#byName.set(symbol.name, [symbol]);
      } else {
        sameName.push(symbol);
      }
    }
    this.#byAddress = all
      .filter((symbol) => symbol.kind !== 'constant')
      .sort((a, b) => compareAddresses(a.address, b.address) || rank(a) - rank(b));
    this.#functions = this.#byAddress.filter((symbol) => symbol.kind === 'function');
    this.#labels = this.#byAddress.filter((symbol) => symbol.kind === 'label' && !symbol.name.includes('.'));
    this.#extent = [...extent].sort((a, b) => compareAddresses(a.start, b.start));
  }

  get size(): number {
    return this.#byAddress.length;
  }

  /** All symbols but constants, by address. */
  [Symbol.iterator](): Iterator<ProgramSymbol> {
    return this.#byAddress[Symbol.iterator]();
  }

  /** True for an address in the program's extent. */
  covers(address: bigint): boolean {
    return this.#rangeOf(address) !== undefined;
  }

  /** The symbol or constant of a name; of several (`static` in two files) the best known. */
  find(name: string): ProgramSymbol | undefined {
    return this.findAll(name).reduce<ProgramSymbol | undefined>(
      (best, symbol) => (best === undefined || rank(symbol) > rank(best) ? symbol : best),
      undefined,
    );
  }

  /** All symbols of a name, for a function breakpoint. */
  findAll(name: string): readonly ProgramSymbol[] {
    return this.#byName.get(name) ?? [];
  }

  /** The names that begin so, sorted, at most `limit`: for completion. */
  namesFrom(prefix: string, limit: number): string[] {
    const names = [...this.#byName.keys()].filter((name) => name.startsWith(prefix));
    return names.sort().slice(0, limit);
  }

  /** The nearest symbol at or below an address of the program. */
  nearest(address: bigint): SymbolOffset | undefined {
    const range = this.#rangeOf(address);
    const symbol = lastAtOrBelow(this.#byAddress, address);
    return range === undefined || symbol === undefined || symbol.address < range.start
      ? undefined
      : { symbol, offset: address - symbol.address };
  }

  /** `main`, `main+0x12`, or undefined where no symbol is near. */
  describe(address: bigint): string | undefined {
    const nearest = this.nearest(address);
    if (nearest === undefined) {
      return undefined;
    }
    return nearest.offset === 0n ? nearest.symbol.name : `${nearest.symbol.name}+${hex(nearest.offset)}`;
  }

  /**
   * The function that an address is in: one of known size that contains it, or the code from the nearest function or
   * outer label below up to the next one.
   */
  functionAt(address: bigint): FunctionRange | undefined {
    const range = this.#rangeOf(address);
    if (range === undefined) {
      return undefined;
    }
    const inside = lastAtOrBelow(this.#functions, address);
    if (inside !== undefined && inside.size > 0 && address < inside.address + BigInt(inside.size)) {
      return { symbol: inside, start: inside.address, end: inside.address + BigInt(inside.size) };
    }
    const label = lastAtOrBelow(this.#labels, address);
    const unsized = inside?.size === 0 ? inside : undefined;
    const symbol = unsized !== undefined && (label === undefined || label.address <= unsized.address) ? unsized : label;
    return symbol === undefined || symbol.address < range.start
      ? undefined
      : { symbol, start: symbol.address, end: this.#endOf(symbol, range) };
  }

  /** The next function or outer label, or the end of the program's part. */
  #endOf(symbol: ProgramSymbol, range: AddressRange): bigint {
    const nextFunction = firstAbove(this.#functions, symbol.address)?.address ?? range.end;
    const nextLabel = firstAbove(this.#labels, symbol.address)?.address ?? range.end;
    return lowest(range.end, nextFunction, nextLabel);
  }

  #rangeOf(address: bigint): AddressRange | undefined {
    if (this.#extent.length === 0) {
      return { start: 0n, end: 1n << 64n };
    }
    const index = partitionPoint(this.#extent.length, (i) => (this.#extent[i]?.start ?? 0n) <= address) - 1;
    const range = this.#extent[index];
    return range !== undefined && address < range.end ? range : undefined;
  }
}

function lastAtOrBelow(sorted: readonly ProgramSymbol[], address: bigint): ProgramSymbol | undefined {
  return sorted[partitionPoint(sorted.length, (index) => (sorted[index]?.address ?? 0n) <= address) - 1];
}

function firstAbove(sorted: readonly ProgramSymbol[], address: bigint): ProgramSymbol | undefined {
  return sorted[partitionPoint(sorted.length, (index) => (sorted[index]?.address ?? 0n) <= address)];
}
