/** An x87 exception reported the way of the PC/AT: FERR#, IRQ 13, port F0H. */
import { expect, test } from 'vitest';
import { bootSource } from '../support/source-guests.ts';

/** `instruction` meets the pending exception, first outside of the handler and then in it. */
const source = (instruction: string): string => `
bits 16
org 0x7c00
  xor ax, ax
  mov ds, ax
  mov word [0x2d * 4], handler
  mov word [0x2d * 4 + 2], ax
  mov al, 0x11
  out 0x20, al
  out 0xa0, al
  mov al, 0x20
  out 0x21, al
  mov al, 0x28
  out 0xa1, al
  mov al, 4
  out 0x21, al
  mov al, 2
  out 0xa1, al
  mov al, 1
  out 0x21, al
  out 0xa1, al
  mov al, 0xfb
  out 0x21, al
  mov al, 0xdf
  out 0xa1, al
  fninit
  fldcw [control]
  fldz
  fld1
  fdiv st0, st1       ; unmasked division by zero
  mov cx, 100
wait_here:
  dec cx
  jnz wait_here
  sti
  ${instruction}      ; waits for the handler
  fnstsw ax
  shr ax, 11
  and al, 7           ; four values on the stack: TOP is 4
  shl al, 4
  or al, [count]
  out 0xf4, al
control: dw 0x37b
count: db 0
handler:
  inc byte [count]
  out 0xf0, al
  ${instruction}      ; IGNNE# lets it execute
  fnclex
  mov al, 0x20
  out 0xa0, al
  out 0x20, al
  iret
`;

test('IRQ 13 comes once, the instruction after the failed one waits for it, and the handler may use the FPU', () => {
  const { machine } = bootSource(source('fld1'), { mode: 'real' });
  const stop = machine.run({ instructions: 100_000 });
  // Two values before, one pushed by the handler, one by the instruction that waited.
  expect(stop).toMatchObject({ kind: 'exited', code: 0x41 });
});

test('an MMX instruction waits for the handler too, and executes in it', () => {
  const { machine } = bootSource(source('paddb mm0, mm1'), { mode: 'real' });
  // MMX instructions leave TOP at 0.
  expect(machine.run({ instructions: 100_000 })).toMatchObject({ kind: 'exited', code: 1 });
});

test('while no interrupt can come, an MMX instruction is begun again and time passes', () => {
  const text = source('paddb mm0, mm1').replace('sti', 'cli');
  const { machine, label } = bootSource(text, { mode: 'real' });
  expect(machine.run({ instructions: 10_000 })).toEqual({ kind: 'limit' });
  expect(machine.instructionCount).toBe(10_000);
  expect(machine.vcpus[0]?.peek('linear', label('count'), 1)[0]).toBe(0);
});
