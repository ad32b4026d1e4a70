import type { AddressSpaceName, Vcpu } from '../engine-target.ts';
import type { SymbolTable } from '../program/symbols.ts';
import type { IntegerType } from './syntax.ts';

/** What the names of an expression mean. */
export interface EvaluationContext {
  readonly vcpu: Vcpu;
  readonly symbols: SymbolTable | undefined;
  /** Values of an event, in a filter's condition. */
  readonly values?: Readonly<Record<string, bigint | string>>;
  /** Registers of a caller's frame, by lower-case name, in place of the vCPU's. */
  readonly frameRegisters?: ReadonlyMap<string, bigint>;
}

/** What can be assigned to. */
export type Place =
  | { readonly kind: 'register'; readonly name: string }
  | {
      readonly kind: 'memory';
      readonly space: AddressSpaceName;
      readonly address: bigint;
      readonly lengthBytes: 1 | 2 | 4 | 8;
    }
  /** By the name that the engine knows it by. */
  | { readonly kind: 'vmcs'; readonly field: string };

export interface Result {
  /** Unsigned, within the type's bits; 0 for text. */
  readonly value: bigint;
  readonly type: IntegerType;
  /** Of a string: compared as text, not a number. */
  readonly text?: string;
  readonly place?: Place;
  /** If the value is an address, of which space; undefined means linear, if it is one. */
  readonly space?: AddressSpaceName;
  /** The value is the address of this symbol. */
  readonly symbol?: string;
  /** The value came from a register, memory or a field as it is, and is shown in hexadecimal. */
  readonly isRaw?: boolean;
}
