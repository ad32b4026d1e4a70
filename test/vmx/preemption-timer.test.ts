import { describe, expect, it } from 'vitest';
import { EXIT, PIN, PRIMARY } from '../../engine/vmx/controls.ts';
import { addTo, type BareHypervisor, bareHypervisor, exitsOf, write } from './bare-hypervisor.ts';

const TIMER = 52;
const VMCALL = 18;
const VALUE = 'VMX-preemption timer value';
const pin = PIN['Activate VMX-preemption timer'];
const timer = (value: number, guest: string, more: Partial<BareHypervisor> = {}): BareHypervisor => ({
  pin,
  fields: { [VALUE]: value },
  guest,
  ...more,
});
/** Instructions of one byte each: RIP counts them. */
const nops = (count: number): string => `times ${count} nop`;
/** Counts of the timer are 32 instructions. */
const COUNT = 32;

describe('VMX-preemption timer', () => {
  it('exits once the TSC has gone through as many counts', async () => {
    const [exit] = await exitsOf(timer(4, nops(200)));
    expect(exit?.reason).toBe(TIMER);
    // VM entry itself takes part of a count.
    expect(exit?.rip).toBeGreaterThan(3 * COUNT - 1);
    expect(exit?.rip).toBeLessThan(4 * COUNT);
  });
  it('one count more is exactly 32 instructions more', async () => {
    const rips = [];
    for (const value of [4, 5, 7]) rips.push((await exitsOf(timer(value, nops(400))))[0]?.rip ?? 0);
    const [four = 0, five = 0, seven = 0] = rips;
    expect([five - four, seven - five]).toEqual([COUNT, 2 * COUNT]);
  });
  it('a value of 0 exits before the first instruction', async () => {
    expect(await exitsOf(timer(0, nops(10)))).toMatchObject([{ reason: TIMER, rip: 0 }]);
  });
  it('does not exit before its time', async () => {
    expect(await exitsOf(timer(100, nops(200)))).toMatchObject([{ reason: VMCALL }]);
  });
  it.each([0, 1])('its value is saved if the control is %i', async (control) => {
    const exit = control ? EXIT['Save VMX-preemption timer value'] : 0;
    const reload = `mov [0x300000], rcx`;
    const handlers = { [VMCALL]: `mov eax, 0x482e\n vmread rcx, rax\n ${reload}\n ${addTo('Guest RIP', 3)}` };
    const run = await bareHypervisor(timer(100, `${nops(320)}\n vmcall\n mov eax, 1\n cpuid`, { exit, handlers }));
    run.machine.run({ instructions: 100_000 });
    expect([90, 89, 100]).toContain(run.machine.host.physical.readU32(0x30_0000));
    expect(run.machine.host.physical.readU32(0x30_0000) === 100).toBe(control === 0);
  });
  it('a saved value of 0 goes with its own exit', async () => {
    const exit = EXIT['Save VMX-preemption timer value'];
    // The guest is resumed with what was saved: it exits at once again.
    const handlers = {
      [TIMER]: 'inc dword [0x300000]\n cmp dword [0x300000], 2\n jb resume\n mov al, 77\n out 0xf4, al',
    };
    const exits = await exitsOf(timer(2, nops(200), { exit, handlers }));
    expect(exits).toHaveLength(2);
    expect(exits[0]?.rip).toBe(exits[1]?.rip);
  });
  it('wakes a guest that halts, with the state saved as HLT', async () => {
    expect(await exitsOf(timer(1000, 'hlt\n nop'))).toMatchObject([{ reason: TIMER, rip: 1, activity: 1 }]);
  });
  it('ends the shutdown state of a guest', async () => {
    const fields = { [VALUE]: 10, 'Guest activity state': 2 };
    expect(await exitsOf({ pin, fields, guest: 'nop' })).toMatchObject([{ reason: TIMER, activity: 2 }]);
  });
  it('takes priority over an open interrupt window', async () => {
    const primary = PRIMARY['Interrupt-window exiting'];
    const fields = { [VALUE]: 0, 'Guest RFLAGS': 0x202 };
    expect(await exitsOf({ pin, primary, fields, guest: 'nop' })).toMatchObject([{ reason: TIMER, rip: 0 }]);
  });
  it('gives way to the trap of TF', async () => {
    const fields = { [VALUE]: 0, 'Guest pending debug exceptions': 0x4000, 'Exception bitmap': 2 };
    expect(await exitsOf({ pin, fields, guest: 'nop' })).toMatchObject([{ reason: 0 }]);
  });
  it.each([1, 7, 1000])('exits at the same places and in the same state in slices of %i', async (slice) => {
    const handlers = {
      [TIMER]: `${write(VALUE, 3)}\n inc dword [0x300000]\n cmp dword [0x300000], 20\n jb resume\n mov al, 77\n out 0xf4, al`,
    };
    const program = timer(5, 'mov ecx, 1000\n .again: inc eax\n push rax\n pop rax\n loop .again', { handlers });
    const whole = await bareHypervisor(program);
    whole.machine.run({ instructions: 100_000 });
    const cut = await bareHypervisor(program);
    while (cut.machine.run({ instructions: slice }).kind === 'limit');
    expect(cut.exits()).toEqual(whole.exits());
    expect(cut.exits()).toHaveLength(20);
    expect(cut.machine.stateHash()).toBe(whole.machine.stateHash());
  });
  it('comes again at its place when time is gone back', async () => {
    const { machine, exits } = await bareHypervisor(timer(20, nops(2000)));
    machine.history.checkpoint();
    machine.run({ instructions: 10_000 });
    const first = exits();
    machine.history.stepBack();
    machine.run({ instructions: 10_000 });
    expect(exits()).toEqual(first);
  });
});

it('an open interrupt window ends HLT state that VM entry brought about', async () => {
  const primary = PRIMARY['Interrupt-window exiting'];
  const fields = { 'Guest RFLAGS': 0x202, 'Guest activity state': 1 };
  expect(await exitsOf({ primary, fields, guest: 'nop' })).toMatchObject([{ reason: 7, rip: 0, activity: 1 }]);
});
