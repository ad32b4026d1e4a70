/** Assembly that sets up the interrupt controllers of guests, and the timer that interrupts. */

/** The first 8259 initialized: IRQ 0 alone, at vector 20h. In any mode; AL is lost. */
export const TIMER_INTERRUPTS = `
  mov al, 0x11
  out 0x20, al
  mov al, 0x20
  out 0x21, al
  mov al, 4
  out 0x21, al
  mov al, 1
  out 0x21, al
  mov al, 0xfe
  out 0x21, al
`;

/** Modes of a counter of the 8254, as its control word has them: interrupt on terminal count, and rate generator. */
const COUNTER_MODE = { once: 0x30, periodic: 0x34 } as const;

/** Counter 0 of the 8254, on IRQ 0: starts it, with a count of 1 to FFFFH, or 0 for 10000H. AL is lost. */
export const startTimer = (mode: keyof typeof COUNTER_MODE, count: number): string => `
  mov al, ${COUNTER_MODE[mode]}
  out 0x43, al
  mov al, ${count & 0xff}
  out 0x40, al
  mov al, ${count >> 8}
  out 0x40, al
`;
