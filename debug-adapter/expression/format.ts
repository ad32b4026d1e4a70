import { hex } from '../program/byte-reader.ts';
import type { EvaluationContext, Result } from './context.ts';
import { signedValue } from './evaluate.ts';
import { readText } from './memory-value.ts';
import type { FormatSpecifier } from './syntax.ts';

export interface FormatOptions {
  readonly format: FormatSpecifier | undefined;
  /** The client asks for hexadecimal. */
  readonly hex: boolean;
}

/** A result as users see it: what came from the machine in hexadecimal, what was computed also in decimal. */
export function formatResult(result: Result, options: FormatOptions, context: EvaluationContext): string {
  if (result.text !== undefined) {
    return JSON.stringify(result.text);
  }
  if (options.format !== undefined) {
    return formatAs(result, options.format, context);
  }
  const shownHex = padded(result);
  const decimal = String(signedValue(result));
  const near = context.symbols?.describe(result.value);
  if (result.symbol !== undefined || (near !== undefined && result.value > 0xffn && result.isRaw === true)) {
    return `${shownHex} <${result.symbol ?? near}>`;
  }
  return options.hex || result.value < 10n
    ? result.isRaw || options.hex
      ? shownHex
      : decimal
    : `${shownHex} (${decimal})`;
}

/** All digits of what has a width of its own. */
function padded({ value, type, isRaw }: Result): string {
  return isRaw && type.bits < 64 ? `0x${value.toString(16).padStart(type.bits / 4, '0')}` : hex(value);
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
