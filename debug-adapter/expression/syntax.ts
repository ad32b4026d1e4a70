import type { AddressSpaceName } from '../engine-target.ts';

/** A width and sign, as of a cast or of memory: `dword`, `i16`. */
export interface IntegerType {
  readonly name: string;
  readonly bits: 8 | 16 | 32 | 64;
  readonly signed: boolean;
}

export type Expression =
  | { readonly kind: 'number'; readonly value: bigint }
  | { readonly kind: 'string'; readonly text: string }
  /** A register, a symbol, a value of an event, or `vmcs.FIELD`. */
  | { readonly kind: 'name'; readonly name: string; readonly start: number }
  | {
      readonly kind: 'memory';
      readonly space: AddressSpaceName;
      readonly type: IntegerType | undefined;
      /** `fs:[…]`: the base to add. */
      readonly segment: string | undefined;
      readonly address: Expression;
    }
  /** `gpa:0x1000`: a number that is an address of another space. */
  | { readonly kind: 'address'; readonly space: AddressSpaceName; readonly address: Expression }
  | { readonly kind: 'cast'; readonly type: IntegerType; readonly operand: Expression }
  | { readonly kind: 'unary'; readonly operator: string; readonly operand: Expression }
  | { readonly kind: 'binary'; readonly operator: string; readonly left: Expression; readonly right: Expression }
  | {
      readonly kind: 'conditional';
      readonly condition: Expression;
      readonly whenTrue: Expression;
      readonly whenFalse: Expression;
    }
  | { readonly kind: 'assignment'; readonly target: Expression; readonly value: Expression };

/** How a result is shown: hexadecimal, decimal, unsigned, binary, octal, character, string. */
export const formatSpecifiers = ['x', 'd', 'u', 'b', 'o', 'c', 's'] as const;
export type FormatSpecifier = (typeof formatSpecifiers)[number];

export interface ParsedExpression {
  readonly root: Expression;
  readonly format: FormatSpecifier | undefined;
}

const integer = (bits: 8 | 16 | 32 | 64, signed: boolean, ...names: string[]) =>
  names.map((name): IntegerType => ({ name, bits, signed }));

export const integerTypes: readonly IntegerType[] = [
  ...integer(8, false, 'byte', 'u8', 'uint8_t'),
  ...integer(16, false, 'word', 'u16', 'uint16_t'),
  ...integer(32, false, 'dword', 'u32', 'uint32_t'),
  ...integer(64, false, 'qword', 'u64', 'uint64_t'),
  ...integer(8, true, 'i8', 'int8_t', 'sbyte', 'char'),
  ...integer(16, true, 'i16', 'int16_t', 'sword', 'short'),
  ...integer(32, true, 'i32', 'int32_t', 'sdword', 'int'),
  ...integer(64, true, 'i64', 'int64_t', 'sqword', 'long'),
];
const typeByName = new Map(integerTypes.map((type) => [type.name, type]));

export function integerTypeNamed(name: string): IntegerType | undefined {
  return typeByName.get(name.toLowerCase());
}

/** The prefixes that name an address space, in expressions and memory references. */
export const addressSpaces: Readonly<Record<string, AddressSpaceName>> = {
  linear: 'linear',
  gva: 'linear',
  gpa: 'guest-physical',
  hpa: 'host-physical',
};
