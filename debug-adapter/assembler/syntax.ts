import type { Expression } from './expression.ts';
import type { RegisterInfo } from './registers.ts';
import type { Expansion, SourceRange } from './source.ts';
import type { Token } from './token.ts';

/** `{k1}`, `{z}`, `{1to8}`, `{rn-sae}`: what EVEX adds to an operand. */
export interface Decorators {
  readonly mask?: number;
  readonly zeroing?: boolean;
  readonly broadcast?: number;
}

/** What most operands have. */
export const NO_DECORATORS: Decorators = {};

export interface OperandBase {
  readonly range: SourceRange;
  /** From `byte` … `zword`; undefined where none is written. */
  readonly sizeBits?: number;
  readonly strict: boolean;
  readonly distance?: 'short' | 'near' | 'far';
  readonly decorators: Decorators;
}

export interface RegisterOperand extends OperandBase {
  readonly kind: 'register';
  readonly register: RegisterInfo;
  /** `fadd to st1` */
  readonly to: boolean;
}

export interface ImmediateOperand extends OperandBase {
  readonly kind: 'immediate';
  readonly value: Expression;
}

export interface MemoryOperand extends OperandBase {
  readonly kind: 'memory';
  readonly address: Expression;
  readonly segment?: RegisterInfo;
  readonly relative?: 'rel' | 'abs';
  readonly noSplit: boolean;
  /** From `[byte …]`, `[dword …]`. */
  readonly displacementBits?: number;
  /** From `[a16 …]`, `[a32 …]`, `[a64 …]`. */
  readonly addressBits?: number;
}

export interface FarOperand extends OperandBase {
  readonly kind: 'far';
  readonly segment: Expression;
  readonly offset: Expression;
}

/** `{rn-sae}` and its like stand as an operand of their own. */
export interface RoundingOperand extends OperandBase {
  readonly kind: 'rounding';
  readonly mode: 'rn-sae' | 'rd-sae' | 'ru-sae' | 'rz-sae' | 'sae';
}

export type Operand = RegisterOperand | ImmediateOperand | MemoryOperand | FarOperand | RoundingOperand;

export type DataItem =
  | { readonly kind: 'value'; readonly value: Expression }
  | { readonly kind: 'uninitialized'; readonly range: SourceRange }
  | { readonly kind: 'dup'; readonly count: Expression; readonly items: readonly DataItem[] };

export interface InstructionBody {
  readonly kind: 'instruction';
  /** Undefined when the line holds only prefixes. */
  readonly mnemonic?: Token;
  readonly prefixes: readonly Token[];
  readonly operands: readonly Operand[];
}

export type StatementBody =
  | { readonly kind: 'empty' }
  | InstructionBody
  | { readonly kind: 'data'; readonly unitBytes: number; readonly items: readonly DataItem[] }
  | { readonly kind: 'reserve'; readonly unitBytes: number; readonly count: Expression }
  | { readonly kind: 'equ'; readonly value: Expression }
  | {
      readonly kind: 'incbin';
      readonly path: Token;
      readonly skip?: Expression;
      readonly length?: Expression;
    }
  | {
      readonly kind: 'align';
      readonly boundary: Expression;
      /** What fills the gap; a NOP, or reserved space for ALIGNB, where none is written. */
      readonly fill?: StatementBody;
      readonly reserve: boolean;
    }
  | { readonly kind: 'at'; readonly field: Expression; readonly localField: boolean; readonly body?: StatementBody }
  | { readonly kind: 'directive'; readonly name: Token; readonly arguments: readonly Token[] }
  /** An error was reported for it. */
  | { readonly kind: 'invalid' };

export interface Label {
  /** As written, without the colon. */
  readonly name: string;
  readonly range: SourceRange;
  readonly hasColon: boolean;
}

/** One line of assembly after preprocessing, or one line as written when parsed for an editor. */
export interface Statement {
  readonly range: SourceRange;
  readonly label?: Label;
  readonly times: readonly Expression[];
  readonly body: StatementBody;
  readonly tokens: readonly Token[];
  readonly expansion?: Expansion;
}
