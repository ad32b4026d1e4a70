export type { Bits } from './address.ts';
export type { ReadFile } from './assembler.ts';
export { type Expression, walkExpression } from './expression.ts';
export { type Form, formsOf } from './forms.ts';
export { isMnemonic, mnemonicEntry, mnemonicNames } from './mnemonics.ts';
export {
  type ClassifiedToken,
  type Definition,
  type DefinitionKind,
  type ParsedLine,
  type ParsedSource,
  type ParseOptions,
  parse,
  type Reference,
  type TokenRole,
} from './parse.ts';
export type { IncludedFile } from './preprocessor.ts';
export {
  type AssembledInstruction,
  type AssembledProgram,
  type AssembleOptions,
  assemble,
  type LineRow,
  type SectionOutput,
  type Source,
  type SymbolOutput,
} from './program.ts';
export { type RegisterInfo, registerNamed, registerNames } from './registers.ts';
export type { Diagnostic, SourceRange } from './source.ts';
export { directiveNames, isPrefix, isReservedWord } from './statement-parser.ts';
export type { Label, Operand, Statement, StatementBody } from './syntax.ts';
export type { Token, TokenKind } from './token.ts';
