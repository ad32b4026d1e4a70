import type { ConditionDirective } from './conditions.ts';
import { SyntaxProblem } from './expression.ts';
import { looksLikeFloat, parseInteger } from './literals.ts';
import { parseArity, splitMacroArguments } from './multi-line-macros.ts';
import type { Preprocessor } from './preprocessor.ts';
import type { SourceRange } from './source.ts';
import { isPunctuator, type Token, textOf } from './token.ts';

/** Decides %if and its relatives. */
export function evaluateCondition(
  preprocessor: Preprocessor,
  directive: ConditionDirective,
  tokens: readonly Token[],
): boolean {
  const [name, ...rest] = tokens;
  if (!name) return false;
  try {
    return holds(preprocessor, directive, rest, name) !== directive.negated;
  } catch (problem) {
    if (!(problem instanceof SyntaxProblem)) throw problem;
    preprocessor.error(problem.range, problem.message);
    return false;
  }
}

function holds(
  preprocessor: Preprocessor,
  { name, negated }: ConditionDirective,
  tokens: readonly Token[],
  opening: Token,
): boolean {
  switch (name) {
    case '': {
      const value = preprocessor.evaluateTokens(tokens, opening.range, `the condition of '${opening.text}'`);
      return value === undefined ? negated : value !== 0n;
    }
    case 'def':
      return preprocessor
        .resolveContextNames(tokens)
        .some((token) => preprocessor.singleLine.isDefined(token.text, token.range));
    case 'macro':
      return isMacro(preprocessor, tokens, opening.range);
    case 'ctx':
      return tokens.some((token) => preprocessor.contexts.at(-1)?.name === token.text);
    case 'env':
      return false;
    default:
      return holdsForTokens(name, preprocessor.expand(tokens), opening.range);
  }
}

function isMacro(preprocessor: Preprocessor, tokens: readonly Token[], range: SourceRange): boolean {
  const [name, ...rest] = tokens;
  if (!name) throw new SyntaxProblem(range, 'expected the name of a macro');
  const macros = preprocessor.macrosNamed(name.text);
  const arity = rest.length > 0 ? parseArity(textOf(rest).replaceAll(' ', '')) : undefined;
  return arity ? macros.some((one) => one.minimum <= arity.maximum && one.maximum >= arity.minimum) : macros.length > 0;
}

function holdsForTokens(
  name: 'idn' | 'idni' | 'id' | 'num' | 'str' | 'token' | 'empty',
  tokens: readonly Token[],
  range: SourceRange,
): boolean {
  const [first, second] = tokens;
  switch (name) {
    case 'empty':
      return tokens.length === 0;
    case 'token':
      return tokens.length === 1;
    case 'id':
      return first?.kind === 'identifier';
    case 'str':
      return first?.kind === 'string';
    case 'num': {
      const digits = first?.text === '-' || first?.text === '+' ? second : first;
      return digits?.kind === 'number' && (parseInteger(digits.text) !== undefined || looksLikeFloat(digits.text));
    }
    case 'idn':
    case 'idni':
      return areIdentical(tokens, name === 'idni', range);
  }
}

function areIdentical(tokens: readonly Token[], ignoreCase: boolean, range: SourceRange): boolean {
  const sides = splitMacroArguments(tokens);
  const [left = [], right] = sides;
  if (!right || sides.length !== 2) {
    if (tokens.length === 1 && isPunctuator(tokens[0], ',')) return true;
    throw new SyntaxProblem(range, `expected two texts with a comma between them, found ${sides.length}`);
  }
  return comparable(left, ignoreCase) === comparable(right, ignoreCase);
}

function comparable(tokens: readonly Token[], ignoreCase: boolean): string {
  const text = tokens.map((token) => (token.kind === 'string' ? `'${token.value ?? ''}'` : token.text)).join(' ');
  return ignoreCase ? text.toLowerCase() : text;
}
