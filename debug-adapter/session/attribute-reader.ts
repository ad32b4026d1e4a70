/** Attributes of a launch configuration by their types. */
import { isUserError, UserError } from '../errors.ts';
import { parseNumber } from '../expression/token.ts';

/** @throws UserError if it is none */
export function asObject(name: string, value: unknown, expected: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrongType(name, expected, value);
  }
  return value as Readonly<Record<string, unknown>>;
}

/** For an attribute by its full name, as `cpu.model`. */
export function wrongType(name: string, expected: string, found: unknown): UserError {
  return new UserError(`The attribute "${name}" has a wrong value`, { expected, found: JSON.stringify(found) });
}

function numberIn(text: string): bigint | undefined {
  try {
    return parseNumber(text);
  } catch (error) {
    if (isUserError(error)) return undefined; // Said with the attribute's name instead.
    throw error;
  }
}

/** Reads attributes of simple types; undefined where one is absent. */
export class AttributeReader {
  readonly #attributes: Readonly<Record<string, unknown>>;
  readonly #prefix: string;

  constructor(attributes: Readonly<Record<string, unknown>>, prefix: string) {
    this.#attributes = attributes;
    this.#prefix = prefix;
  }

  boolean(name: string): boolean | undefined {
    return this.#read(name, 'true or false', (value) => (typeof value === 'boolean' ? value : undefined));
  }

  text(name: string): string | undefined {
    return this.#read(name, 'text', (value) => (typeof value === 'string' ? value : undefined));
  }

  integer(name: string, lowest: number, highest: number): number | undefined {
    return this.#read(name, `a whole number from ${lowest} to ${highest}`, (value) =>
      typeof value === 'number' && Number.isInteger(value) && value >= lowest && value <= highest ? value : undefined,
    );
  }

  choice<Choice extends string>(name: string, choices: readonly Choice[]): Choice | undefined {
    const expected = choices.map((choice) => `"${choice}"`).join(' or ');
    return this.#read(name, expected, (value) => choices.find((choice) => choice === value));
  }

  address(name: string): bigint | undefined {
    return this.#read(name, 'an address, as "0x7c00"', (value) => {
      if (typeof value === 'number') {
        return Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
      }
      return typeof value === 'string' && /^[0-9]/.test(value.trim()) ? numberIn(value.trim()) : undefined;
    });
  }

  #read<T>(name: string, expected: string, check: (value: unknown) => T | undefined): T | undefined {
    const value = this.#attributes[name];
    if (value === undefined) {
      return undefined;
    }
    const checked = check(value);
    if (checked === undefined) {
      throw wrongType(`${this.#prefix}${name}`, expected, value);
    }
    return checked;
  }
}
