import type { SourceRange } from './source.ts';
import { sameValue, UNKNOWN, type Value } from './value.ts';

export interface SymbolEntry {
  readonly name: string;
  value: Value;
  readonly kind: 'label' | 'equ';
  range: SourceRange;
  /** The last pass that defined it. */
  pass: number;
}

/** The labels and EQU constants of a program over the passes of its assembly. */
export class SymbolTable {
  readonly #entries = new Map<string, SymbolEntry>();
  /** Labels outside of any other: `.x` before the first ordinary label. */
  #scope = '';
  /** A symbol got a value that differs from the one in the pass before. */
  changed = false;

  get entries(): Iterable<SymbolEntry> {
    return this.#entries.values();
  }

  startPass(): void {
    this.#scope = '';
    this.changed = false;
  }

  /** The full name of a label as written: local names are joined to the label before them. */
  fullName(name: string): string {
    return name.startsWith('.') && !name.startsWith('..') ? this.#scope + name : name;
  }

  /** Makes `name` the label that local names belong to. */
  enterScope(name: string): void {
    if (!name.startsWith('.')) this.#scope = name;
  }

  get scope(): string {
    return this.#scope;
  }

  restoreScope(scope: string): void {
    this.#scope = scope;
  }

  find(name: string): SymbolEntry | undefined {
    return this.#entries.get(this.fullName(name));
  }

  /** Defines a symbol for this pass; false when this pass has defined it before. */
  define(name: string, kind: 'label' | 'equ', value: Value, range: SourceRange, pass: number): boolean {
    const full = this.fullName(name);
    const existing = this.#entries.get(full);
    if (!existing) {
      this.#entries.set(full, { name: full, value, kind, range, pass });
      this.changed = true;
      return true;
    }
    const again = existing.pass === pass;
    if (again) return false;
    if (!sameValue(existing.value, value)) this.changed = true;
    Object.assign(existing, { value, range, pass, kind });
    return true;
  }

  /** The value for an expression in this pass: UNKNOWN for what the first pass has not met. */
  lookup(name: string, pass: number): Value | undefined {
    const entry = this.find(name);
    if (entry) return entry.value;
    return pass === 1 ? UNKNOWN : undefined;
  }

  /** Names close to a misspelt one, for a hint. */
  similar(name: string): string | undefined {
    const lower = name.toLowerCase();
    for (const entry of this.#entries.keys()) {
      if (entry.toLowerCase() === lower || entry.endsWith(`.${name}`)) return entry;
    }
    return undefined;
  }
}
