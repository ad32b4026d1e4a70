/** What comes first at an instruction boundary (SDM volume 3, "Priority Among Concurrent Events" and chapter "VM Exits"). */
import { describe, expect, it } from 'vitest';
import { PIN, PRIMARY, SECONDARY } from '../../engine/vmx/controls.ts';
import { type BareHypervisor, bareHypervisor, exitsOf } from './bare-hypervisor.ts';

const [EVENT, INIT, INTERRUPT_WINDOW, NMI_WINDOW, MTF, TIMER, VMCALL] = [0, 3, 7, 8, 37, 52, 18];
const NMI = 0x8000_0202;
const DB = 0x8000_0301;
const BLOCKED_BY_STI = 1;
const BLOCKED_BY_MOV_SS = 2;
const IF = 0x202;
const TF = 0x102;

const mtf = PRIMARY['Monitor trap flag'];
const timer = PIN['Activate VMX-preemption timer'];
const nmiExiting = PIN['NMI exiting'];

/** The processor sends itself something by its local APIC, whose registers are mapped one to one; then comes a boundary. */
const ICR = 0xfee0_0300;
const send = (command: number) => `mov ebx, ${ICR}\n mov eax, ${command}\n mov [rbx], eax`;
/** Bytes of the instructions before the store, and with it. */
const BEFORE_SEND = 10;
const AFTER_SEND = 12;
const NMI_COMMAND = 0x4400;
const INIT_COMMAND = 0x4500;

/** What exits leave pending is the host's then, which has a handler for NMIs. */
const NMI_VECTOR = 2;

const first = async (program: BareHypervisor) => (await exitsOf(program))[0];

describe('INIT', () => {
  it('exits', async () => {
    expect(await first({ guest: send(INIT_COMMAND) })).toMatchObject({ reason: INIT, rip: AFTER_SEND });
  });
  it('before the trap of TF', async () => {
    // Each instruction before it has a trap, which the guest's handler would have; so it is stepped at the store only.
    const guest = `mov ebx, ${ICR}\n mov eax, ${INIT_COMMAND}\n push ${TF}\n popfq\n mov [rbx], eax`;
    expect(await first({ guest, fields: { 'Exception bitmap': 2 } })).toMatchObject({ reason: INIT });
  });
  it('before the VM exit of the monitor trap flag', async () => {
    const fields = { 'Guest RIP': `guest + ${BEFORE_SEND}`, 'Guest interruptibility state': 0 };
    const setUp = `mov ebx, ${ICR}\n mov eax, ${INIT_COMMAND}`;
    expect(await first({ primary: mtf, fields, setUp, guest: send(INIT_COMMAND) })).toMatchObject({ reason: INIT });
  });
});

/** The guest begins with the store itself. */
const atStore = (command: number, program: Omit<BareHypervisor, 'guest' | 'setUp'>): BareHypervisor => ({
  ...program,
  fields: { 'Guest RIP': `guest + ${BEFORE_SEND}`, ...program.fields },
  vectors: [NMI_VECTOR],
  setUp: `mov ebx, ${ICR}\n mov eax, ${command}`,
  guest: `${send(command)}\n nop\n nop`,
});

describe('after an instruction that brings an NMI', () => {
  const nmi = (program: Omit<BareHypervisor, 'guest' | 'setUp'>) => first(atStore(NMI_COMMAND, program));
  it('the NMI exits', async () => {
    expect(await nmi({ pin: nmiExiting })).toMatchObject({ reason: EVENT, interruption: NMI, rip: AFTER_SEND });
  });
  it('the monitor trap flag comes first', async () => {
    expect(await nmi({ pin: nmiExiting, primary: mtf })).toMatchObject({ reason: MTF, rip: AFTER_SEND });
  });
  it('the trap of TF comes first', async () => {
    const fields = { 'Guest RFLAGS': TF, 'Exception bitmap': 2 };
    expect(await nmi({ pin: nmiExiting, fields })).toMatchObject({
      reason: EVENT,
      interruption: DB,
      qualification: 0x4000n,
    });
  });
  it('an open NMI window comes first', async () => {
    const program = {
      pin: nmiExiting | PIN['Virtual NMIs'],
      primary: PRIMARY['NMI-window exiting'],
      fields: { 'Guest interruptibility state': BLOCKED_BY_MOV_SS },
    };
    expect(await nmi(program)).toMatchObject({ reason: NMI_WINDOW, rip: AFTER_SEND });
  });
  it('an open interrupt window comes later', async () => {
    const program = {
      pin: nmiExiting,
      primary: PRIMARY['Interrupt-window exiting'],
      fields: { 'Guest interruptibility state': BLOCKED_BY_STI, 'Guest RFLAGS': IF },
    };
    expect(await nmi(program)).toMatchObject({ reason: EVENT, interruption: NMI });
  });
  it('the preemption timer that expires there comes first', async () => {
    const found = [];
    for (let nops = 0; nops < 40; nops++) {
      const guest = `times ${nops} nop\n ${send(NMI_COMMAND)}\n times 64 nop`;
      const exit = await first({
        pin: nmiExiting | timer,
        // Within 32 instructions, as the timer counts with bit 5 of the TSC.
        fields: { 'VMX-preemption timer value': 1 },
        vectors: [NMI_VECTOR],
        guest,
      });
      found.push([exit?.reason, (exit?.rip ?? 0) - nops]);
    }
    expect(found).toContainEqual([EVENT, AFTER_SEND]);
    expect(found).toContainEqual([TIMER, AFTER_SEND]);
    expect(found.filter(([, rip]) => (rip ?? 0) > AFTER_SEND)).toEqual([]);
  });
});

describe('interrupts', () => {
  const wait = 'call start_timer\n mov ecx, 60000\n .wait: loop .wait\n sti\n nop\n cli';
  it('an open window comes before an external interrupt', async () => {
    const run = await bareHypervisor({ primary: PRIMARY['Interrupt-window exiting'], guest: wait });
    run.machine.run({ instructions: 100_000 });
    expect(run.exits()[0]?.reason).toBe(INTERRUPT_WINDOW);
    expect(run.ticks()).toBe(0);
  });
  it('a virtual interrupt comes before an external one', async () => {
    // The external one exits although IF is 0; so the virtual one is there first, and the other comes at its handler.
    const program: BareHypervisor = {
      pin: PIN['External-interrupt exiting'],
      primary: PRIMARY['Use TPR shadow'],
      secondary: SECONDARY['Virtual-interrupt delivery'],
      fields: { 'Virtual-APIC address': 0x27_0000, 'Guest interrupt status': 0x20, 'Guest RFLAGS': IF },
      setUp: 'call start_timer\n mov ecx, 60000\n .wait: loop .wait',
      guest: 'nop',
    };
    const exit = await first(program);
    expect(exit?.reason).toBe(1);
    expect(exit?.rip).toBeLessThan(0);
  });
});

describe('wait-for-SIPI state', () => {
  const STARTUP = 6;
  const fields = { 'Guest activity state': 3, 'VMX-preemption timer value': 5 };
  it('not even the preemption timer exits', async () => {
    const { machine, exits } = await bareHypervisor({ pin: timer, fields, guest: 'nop' });
    expect(machine.run({ instructions: 100_000 })).toMatchObject({ kind: 'halted' });
    expect(exits()).toEqual([]);
  });
  it('a start-up IPI exits with its vector, and the state saved', async () => {
    const { machine, exits } = await bareHypervisor({ fields, guest: 'nop' });
    machine.run({ instructions: 100_000 });
    machine.platform.apics?.of(0).receive(STARTUP, 0x9a);
    machine.run({ instructions: 100_000 });
    expect(exits()).toMatchObject([{ reason: 4, qualification: 0x9an, activity: 3, rip: 0 }]);
  });
  it('INIT is blocked', async () => {
    const { machine, exits } = await bareHypervisor({ fields, guest: 'nop' });
    machine.run({ instructions: 100_000 });
    machine.platform.apics?.of(0).receive(5, 0, true);
    expect(machine.run({ instructions: 100_000 })).toMatchObject({ kind: 'halted' });
    expect(exits()).toEqual([]);
  });
});

it('without any of them nothing comes', async () => {
  expect(await first({ guest: 'nop\n nop' })).toMatchObject({ reason: VMCALL });
});
