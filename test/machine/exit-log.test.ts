/** The log of VM exits: what it says of each, that it follows the run back and forth, and that nothing changes it. */
import { expect, test } from 'vitest';
import type { ExitLogView, ExitQuery } from '../../engine/machine/machine-api.ts';
import { PRIMARY, SECONDARY } from '../../engine/vmx/controls.ts';
import { KEPT_EXITS } from '../../engine/vmx/exit-log.ts';
import { guestFromSource } from '../vmm/run-guest.ts';
import { bareHypervisor, EPT_ROOT, SKIP } from '../vmx/bare-hypervisor.ts';

/** CPUID twice, an access that EPT denies once, and in the end a VMCALL, which ends the run. */
const exits = (rounds = 1) =>
  bareHypervisor({
    primary: PRIMARY['HLT exiting'],
    secondary: SECONDARY['Enable EPT'],
    fields: { 'EPT pointer': EPT_ROOT | 0x1e },
    handlers: {
      10: SKIP,
      // The page of the first GByte is made writable.
      48: `or qword [${EPT_ROOT + 0x1000}], 2\n mov qword [0x9100], ${EPT_ROOT | 0x1e}\n mov qword [0x9108], 0\n mov eax, 1\n invept rax, [0x9100]`,
    },
    setUp: `mov qword [${EPT_ROOT + 0x1000}], 0xb5`,
    guest: `
  mov ebp, ${rounds}
.again:
  mov eax, 7
  mov ecx, 1
  cpuid
  mov dword [0x5000], 1
  dec ebp
  jnz .again`,
  });

const run = async (rounds = 1) => (await exits(rounds)).machine;
const words = ({ exits }: ExitLogView): string[] =>
  exits.map(({ number, name, subject }) => `${number} ${name}${subject && `, ${subject}`}`).reverse();

test('each exit, and what it was about', async () => {
  const machine = await run();
  machine.run();
  const log = machine.exitLog();
  expect(words(log)).toEqual(['0 CPUID, leaf 0x7', '1 EPT violation, guest-physical 0x5000', '2 VMCALL, RAX = 0x7']);
  expect(log).toMatchObject({ total: 3, kept: 3, hasMore: false });
  const [last, violation] = log.exits;
  expect(violation).toMatchObject({
    reason: 48,
    entryFailure: false,
    vcpu: 0,
    vmcs: 0x23_0000n,
    information: [{ name: 'Exit qualification', value: 0x5aan }],
  });
  expect(violation?.instructionAddress).toBe(violation?.rip);
  // The guest that is not entered again.
  expect(last).not.toHaveProperty('roundTrip');
});

test('a round trip counts the instructions of the handler, VM entry not among them', async () => {
  const machine = await run();
  machine.history.checkpoint();
  machine.run();
  machine.history.goToExit(0);
  const mode = () => machine.vcpus[0]?.mode().vmxOperation;
  let steps = 0;
  for (; mode() === 'root'; steps++) machine.step();
  expect(machine.exitLog().exits[0]?.roundTrip).toEqual({ instructions: steps - 1, waitedNs: 0 });
});

test('sums by reason', async () => {
  const machine = await run(50);
  machine.run();
  const [cpuid, vmcall, violation] = machine.exitLog().reasons;
  const [{ roundTrip } = {}] = machine.exitLog({ reasons: [10] }).exits;
  const each = roundTrip?.instructions ?? 0;
  expect(cpuid).toEqual({ reason: 10, name: 'CPUID', count: 50, roundTrips: 50, roundTripInstructions: 50 * each });
  expect(vmcall).toMatchObject({ reason: 18, count: 1, roundTrips: 0, roundTripInstructions: 0 });
  expect(violation).toMatchObject({ reason: 48, count: 1, roundTrips: 1 });
});

test('by reason, and page by page', async () => {
  const machine = await run(6);
  machine.run();
  const numbers = (query: ExitQuery) => machine.exitLog(query).exits.map(({ number }) => number);
  expect(numbers({ reasons: [10], limit: 3 })).toEqual([6, 5, 4]);
  expect(numbers({ reasons: [10], before: 4 })).toEqual([3, 2, 0]);
  expect(machine.exitLog({ limit: 3 }).hasMore).toBe(true);
});

test('the last ones are kept, and all are counted', async () => {
  const machine = await run(5000);
  machine.run();
  const { kept, total, exits } = machine.exitLog({ limit: 10_000 });
  expect(total).toBe(5002);
  expect(kept).toBeGreaterThanOrEqual(KEPT_EXITS);
  expect(kept).toBeLessThan(KEPT_EXITS + 256);
  expect(exits).toHaveLength(kept);
  expect(exits.at(-1)?.number).toBe(total - kept);
});

test.each([1, 7, 1000])('the same however the run is cut, in slices of %d', async (instructions) => {
  const [whole, cut] = [await run(400), await run(400)];
  whole.run();
  while (cut.run({ instructions }).kind === 'limit');
  expect(cut.exitLog({ limit: 1000 })).toEqual(whole.exitLog({ limit: 1000 }));
});

test('going back to an exit, exits that came later are gone, and come again', async () => {
  const machine = await run(3000);
  machine.history.checkpoint();
  machine.run({ instructions: 20_000 });
  machine.history.checkpoint();
  machine.run();
  const log = machine.exitLog({ limit: 10_000 });
  for (const number of [2500, 1700, 2900]) {
    const entry = log.exits.find((exit) => exit.number === number);
    expect(machine.history.goToExit(number)).toBe(true);
    expect(machine.exitLog().total).toBe(number + 1);
    expect(machine.exitLog().exits[0]).toEqual({ ...entry, roundTrip: undefined });
    expect(machine.vcpus[0]?.readVmcs('Guest RIP')).toBe(entry?.rip);
    expect(machine.instructionCount).toBe(entry?.instructions);
    machine.run();
    expect(machine.exitLog({ limit: 10_000 }).exits.slice(0, 1000)).toEqual(log.exits.slice(0, 1000));
    expect(machine.exitLog().reasons).toEqual(log.reasons);
  }
});

test('what was to be seen at an exit, without leaving the present', async () => {
  const machine = await run(20);
  machine.history.checkpoint();
  machine.setFilter('vm-exit', true);
  for (let exit = 0; exit < 9; exit++) machine.run();
  machine.setFilter('vm-exit', false);
  const [hash, log, position] = [machine.stateHash(), machine.exitLog(), machine.history.position];
  const vcpu = machine.vcpus[0];
  const seen = machine.history.lookAtExit(3, () => ({
    total: machine.exitLog().total,
    rcx: vcpu?.readVmcs('Guest RIP'),
  }));
  expect(seen).toEqual({ total: 4, rcx: log.exits.find(({ number }) => number === 3)?.rip });
  expect([machine.stateHash(), machine.exitLog(), machine.history.position]).toEqual([hash, log, position]);
  expect(machine.history.lookAtExit(9, () => true)).toBeUndefined();
});

test('VMCSs are known by VMCLEAR and VMPTRLD, and forgotten when the run goes back', async () => {
  const machine = await run();
  machine.history.checkpoint();
  const { position } = machine.history;
  machine.run();
  const known = [
    {
      structure: 'VMCS',
      address: 0x23_0000n,
      launchState: 'launched',
      currentOn: [0],
      isShadow: false,
      hasRevision: true,
    },
  ];
  expect(machine.vmcss()).toEqual(known);
  machine.history.goTo(position);
  expect(machine.vmcss()).toEqual([]);
});

test('where the history begins later than an exit, nothing changes', async () => {
  const machine = await run(3);
  machine.run({ instructions: 5000 });
  const { total } = machine.exitLog();
  machine.history.checkpoint();
  machine.run();
  const hash = machine.stateHash();
  expect(total).toBeGreaterThan(0);
  expect(machine.history.goToExit(0)).toBe(false);
  expect(machine.history.goToExit(99)).toBe(false);
  expect(machine.stateHash()).toBe(hash);
});

test('under the built-in hypervisor, back to where the handling of an exit begins', async () => {
  const { machine } = await guestFromSource(`
bits 64
org 0x100000
  mov ecx, 5
.again:
  push rcx
  mov eax, ecx
  cpuid
  pop rcx
  loop .again
  mov al, 1
  out 0xf4, al`);
  machine.history.checkpoint();
  machine.run();
  const third = machine.exitLog({ reasons: [10] }).exits.at(2);
  expect(machine.history.goToExit(third?.number ?? 0)).toBe(true);
  expect(machine.vcpus[0]?.handlerFrames()[0]?.name).toBe('VM exit: CPUID');
  expect(third?.subject).toBe('leaf 0x3');
  machine.step();
  machine.step();
  expect(machine.exitLog().total).toBe((third?.number ?? 0) + 1);
});
