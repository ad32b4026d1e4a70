import { UserError } from '../errors.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/**
 * Bytes of a size as users write it: `64M`, `1G`, `512K`, `65536`, `64 MiB`, or a number.
 *
 * @param where the setting, for the message
 */
export function parseSize(value: unknown, where: string): number {
  const match = /^([0-9]+)\s*([KMG]?)(?:i?B)?$/i.exec(String(value).trim());
  const unit = UNITS[(match?.[2] ?? '').toUpperCase()];
  const bytes = Number(match?.[1]) * (unit ?? Number.NaN);
  if ((typeof value !== 'string' && typeof value !== 'number') || !Number.isSafeInteger(bytes)) {
    throw new UserError('The size is not understood', {
      expected: 'a number with K, M or G, as "64M"',
      found: JSON.stringify(value),
      where,
    });
  }
  return bytes;
}

/** True for text that can only be a size, not a path. */
export function looksLikeSize(text: string): boolean {
  return /^[0-9]+\s*[KMG]?(?:i?B)?$/i.test(text.trim());
}
