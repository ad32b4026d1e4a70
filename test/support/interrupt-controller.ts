/** Lines of assembly that several guests begin with. */

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

/** A present 64-bit interrupt gate in the table at `idt` that leads to a label. RAX is lost. */
export const interruptGate = (vector: number, label: string): string => `
  mov rax, ${label}
  mov [idt + ${vector} * 16], ax
  mov word [idt + ${vector} * 16 + 2], 8
  mov word [idt + ${vector} * 16 + 4], 0x8e00
  shr rax, 16
  mov [idt + ${vector} * 16 + 6], ax
`;
