import { hex } from '../hexadecimal.ts';
import type { EvaluationContext, Result } from './context.ts';
import { signedValue } from './evaluate.ts';
import { readText } from './memory-value.ts';
import type { FormatSpecifier } from './syntax.ts';

export interface FormatOptions {
  readonly format: FormatSpecifier | undefined;
  /** The client asks for hexadecimal. */
  readonly hex: boolean;
}

/** Smaller numbers are not taken for addresses. */
const LOWEST_ADDRESS = 0x100n;

/** A result as users see it: what came from the machine in hexadecimal, what was computed also in decimal. */
export function formatResult(result: Result, options: FormatOptions, context: EvaluationContext): string {
  if (result.text !== undefined) {
    return JSON.stringify(result.text);
  }
  if (options.format !== undefined) {
    return formatAs(result, options.format, context);
  }
  const near =
    result.isRaw === true && result.value >= LOWEST_ADDRESS ? context.symbols?.describe(result.value) : undefined;
  const symbol = result.symbol ?? near;
  if (symbol !== undefined) {
    return `${padded(result)} <${symbol}>`;
  }
  if (result.isRaw || options.hex) {
    return padded(result);
  }
  const decimal = String(signedValue(result));
  return result.value < 10n ? decimal : `${padded(result)} (${decimal})`;
}

/** All digits of what has a width of its own. */
function padded({ value, type, isRaw }: Result): string {
  return isRaw && type.bits < 64 ? hex(value, type.bits / 4) : hex(value);
}

function formatAs(result: Result, format: FormatSpecifier, context: EvaluationContext): string {
  const { value, type } = result;
  switch (format) {
    case 'x':
      return hex(value);
    case 'd':
      return String(BigInt.asIntN(type.bits, value));
    case 'u':
      return String(value);
    case 'b':
      return `0b${value.toString(2)}`;
    case 'o':
      return `0o${value.toString(8)}`;
    case 'c':
      return `'${String.fromCharCode(Number(value & 0xffn))}'`;
    case 's':
      return JSON.stringify(readText(context.vcpu, result.space ?? 'linear', value));
  }
}
