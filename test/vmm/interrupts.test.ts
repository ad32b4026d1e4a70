/** Interrupts for guests of the built-in hypervisor. */
import { describe, expect, test } from 'vitest';
import { startTimer, TIMER_INTERRUPTS } from '../support/interrupt-controller.ts';
import { interruptTable } from '../support/interrupt-table.ts';
import { END, exits, long } from './long-guest.ts';
import { runToEnd } from './run-guest.ts';

/** 64-bit code at ring 0: an IDT with one handler, and the PIC programmed to vector 20h for IRQ 0. */
const INTERRUPTS = `
  lidt [idtr]
  ${TIMER_INTERRUPTS}
`;
/** Its handler. */
const COUNT_TICKS = `
handler:
  inc byte [ticks]
  push rax
  mov al, 0x20
  out 0x20, al
  pop rax
  iretq
ticks: db 0
`;
const IDT = interruptTable({ 32: 'handler' });

describe('interrupts', () => {
  test('HLT waits for the timer; its interrupt is injected by the VM entry', async () => {
    const guest = await long(`
      ${INTERRUPTS}
      ${startTimer('periodic', 0x1000)}
      sti
      .wait:
      hlt
      cmp byte [ticks], 3
      jb .wait
      mov al, [ticks] ${END}
      ${COUNT_TICKS}
      ${IDT}`);
    expect(runToEnd(guest)).toMatchObject({ kind: 'exited', code: 3 });
    expect(exits(guest).HLT).toBe(3);
    // 3 periods of 1000h ticks at 1.193182 MHz, in nanoseconds.
    expect(guest.machine.host.clock.nowNs).toBeGreaterThan(3 * 3_432_000);
  });

  test('an interrupt for a guest that runs takes a VM exit', async () => {
    const guest = await long(`
      ${INTERRUPTS}
      ${startTimer('periodic', 1024)}
      sti
      .spin:
      cmp byte [ticks], 2
      jb .spin
      mov al, [ticks] ${END}
      ${COUNT_TICKS}
      ${IDT}`);
    expect(runToEnd(guest)).toMatchObject({ kind: 'exited', code: 2 });
    expect(exits(guest)['External interrupt']).toBe(2);
    expect(exits(guest)['Interrupt window']).toBeUndefined();
  });

  test('an interrupt that finds IF = 0 waits for the interrupt window', async () => {
    const guest = await long(`
      ${INTERRUPTS}
      ${startTimer('once', 50)}
      mov ecx, 100000
      .busy:
      loop .busy
      sti
      nop
      mov al, [ticks] ${END}
      ${COUNT_TICKS}
      ${IDT}`);
    expect(runToEnd(guest)).toMatchObject({ kind: 'exited', code: 1 });
    expect(exits(guest)).toMatchObject({ 'External interrupt': 1, 'Interrupt window': 1 });
  });

  test('an EPT violation while an interrupt is delivered does not lose the interrupt', async () => {
    const guest = await long(`
      ${INTERRUPTS}
      mov rsp, 0x700000               ; a stack that EPT does not map yet
      ${startTimer('once', 50)}
      sti
      hlt
      mov al, [ticks] ${END}
      handler:
      inc byte [ticks]
      iretq
      ticks: db 0
      ${IDT}`);
    expect(runToEnd(guest)).toMatchObject({ kind: 'exited', code: 1 });
    expect(exits(guest)['EPT violation']).toBe(1);
  });

  test('HLT with interrupts disabled is the end', async () => {
    const guest = await long('cli\n hlt');
    const stop = runToEnd(guest);
    expect(stop.kind === 'halted' && stop.explanation).toContain('interrupts are disabled');
    expect(guest.machine.vcpus[0]?.handlerFrames().map(({ name }) => name)).toEqual(['halted', 'VM exit: HLT']);
  });
});
