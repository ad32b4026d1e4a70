/**
 * Interrupts of a machine whose program is a hypervisor of its own: with EPT and VPIDs off, the guest in the hypervisor's
 * own address space.
 */
import { expect, test } from 'vitest';
import { EXIT, PIN, PRIMARY } from '../../engine/vmx/controls.ts';
import { type BareHypervisor, bareHypervisor, encoding, writeAll } from '../vmx/bare-hypervisor.ts';
import { runToEnd } from './run-guest.ts';

/** The interrupt is over, and the guest goes on at its end; the window is closed. */
const handlers = {
  1: `mov al, 0x20\n out 0x20, al\n ${writeAll({ 'Guest RIP': 'guest_end', 'Guest activity state': 0 })}`,
  7: `mov eax, ${encoding('Primary processor-based VM-execution controls')}\n vmread rcx, rax\n and ecx, ~4\n vmwrite rax, rcx`,
};

async function exitsOf(program: BareHypervisor): Promise<{ log: number[][]; ticks: number }> {
  const run = await bareHypervisor({ handlers, ...program });
  expect(runToEnd(run)).toMatchObject({ kind: 'exited', code: 18 });
  return { log: run.exits().map(({ reason, interruption }) => [reason, interruption]), ticks: run.ticks() };
}

const VALID = 0x8000_0000;
const VMCALL = [18, 0];

test('an interrupt exits although RFLAGS.IF is 0, with its vector if the exit acknowledges it', async () => {
  const pin = PIN['External-interrupt exiting'];
  const guest = 'call start_timer\n jmp $';
  expect(await exitsOf({ pin, exit: EXIT['Acknowledge interrupt on exit'], guest })).toEqual({
    log: [[1, VALID + 0x20], VMCALL],
    ticks: 0,
  });
});

test('an interrupt wakes a guest that halts without an exit of its own', async () => {
  const pin = PIN['External-interrupt exiting'];
  const guest = 'call start_timer\n hlt\n jmp $';
  expect(await exitsOf({ pin, exit: EXIT['Acknowledge interrupt on exit'], guest })).toEqual({
    log: [[1, VALID + 0x20], VMCALL],
    ticks: 0,
  });
});

test('without the control the guest gets the interrupt through its IDT', async () => {
  expect(await exitsOf({ guest: 'call start_timer\n sti\n hlt\n cli' })).toEqual({ log: [VMCALL], ticks: 1 });
});

test('the interrupt window opens one instruction after STI', async () => {
  const primary = PRIMARY['Interrupt-window exiting'];
  expect(await exitsOf({ primary, guest: 'cli\n nop\n sti\n nop\n cli' })).toEqual({ log: [[7, 0], VMCALL], ticks: 0 });
});

test('the interrupt window opens at once after POPF', async () => {
  const primary = PRIMARY['Interrupt-window exiting'];
  expect(await exitsOf({ primary, guest: 'push 0x202\n popfq\n cli' })).toEqual({ log: [[7, 0], VMCALL], ticks: 0 });
});
