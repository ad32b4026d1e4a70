/** Interrupt-descriptor tables for guests that are written in assembly. */

export interface InterruptTableOptions {
  /** Of the mode that the guest is in. */
  readonly bits?: 32 | 64;
  /** Where the source starts: its ORG. */
  readonly origin?: number;
}

/**
 * The table at `idt`, and at `idtr` what LIDT loads: interrupt gates of the vectors given, by code selector 8, to labels or other
 * addresses of the source; the other vectors have none.
 */
export function interruptTable(
  handlers: Readonly<Record<number, string>>,
  options: InterruptTableOptions = {},
): string {
  const { bits = 64, origin = 0x10_0000 } = options;
  const vectors = Math.max(...Object.keys(handlers).map(Number)) + 1;
  const gates = Array.from({ length: vectors }, (_, vector) => {
    const handler = handlers[vector];
    const offset = `(${origin} + ${handler} - $$)`;
    const low = handler === undefined ? 'dq 0' : `dw ${offset} & 0xffff, 8, 0x8e00, ${offset} >> 16`;
    return bits === 64 ? `${low}\n dq 0` : low;
  });
  return `align 16
idt:
${gates.join('\n')}
idtr: dw ${vectors * (bits / 4) - 1}
  ${bits === 64 ? 'dq' : 'dd'} idt
`;
}

/** Handlers of all vectors up to `last`, by the vector. */
export const allVectors = (last: number, handler: (vector: number) => string): Readonly<Record<number, string>> =>
  Object.fromEntries(Array.from({ length: last + 1 }, (_, vector) => [vector, handler(vector)]));
