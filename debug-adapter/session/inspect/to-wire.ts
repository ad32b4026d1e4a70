import { hex } from '../../hexadecimal.ts';
import type { Wire } from '../../protocol/wire.ts';

/** Plain data of the engine as it travels in a message. */
export function toWire<T>(value: T): Wire<T> {
  return convert(value) as Wire<T>;
}

function convert(value: unknown): unknown {
  if (typeof value === 'bigint') {
    return hex(value);
  }
  if (Array.isArray(value)) {
    return value.map(convert);
  }
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, property]) => property !== undefined)
        .map(([name, property]) => [name, convert(property)]),
    );
  }
  return value;
}
