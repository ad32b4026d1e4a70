/** Assembly that sets up the interrupt controllers of guests. */

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
