/** The sample hypervisor on AMD-V as the debugger sees it: events, modes, the VMCB, and the way back. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { MachineEvent, StopFilter, Vcpu } from '../../engine/machine/machine-api.ts';
import { bootSourceFile } from '../support/source-guests.ts';
import { SAMPLE } from './sample-file.ts';

const EXPECTED = fileURLToPath(new URL('../../samples/tiny-svm/expected-output.txt', import.meta.url));

function booted() {
  const guest = bootSourceFile(SAMPLE, { mode: 'protected', cpu: { model: 'epyc' } });
  const events: MachineEvent[] = [];
  guest.machine.onEvent = (event) => void events.push(event);
  return { ...guest, events, vcpu: guest.machine.vcpus[0] as Vcpu };
}

test('a filter stops at each kind of exit, with its values and why', () => {
  const { machine, events, vcpu, label } = booted();
  const stopAt = (filter: StopFilter, condition?: (event: MachineEvent) => boolean): MachineEvent => {
    machine.setFilter(filter, true, condition);
    expect(machine.run()).toMatchObject({ kind: 'event' });
    machine.setFilter(filter, false);
    return events.filter((event) => event.filter === filter).at(-1) as MachineEvent;
  };
  expect(stopAt('vm-entry').title).toBe('VM entry: VMRUN');
  expect(vcpu.mode()).toMatchObject({ virtualization: 'AMD-V', vmxOperation: 'non-root', vpid: 1 });
  expect(vcpu.rip).toBe(label('guest_code'));

  const exit = stopAt('vm-exit');
  expect(exit.title).toBe('VM exit: VMEXIT_CPUID (0x72)');
  expect(exit.explanation.join(' ')).toContain('bit 18 of “Intercept vector 3”');
  expect(vcpu.mode()).toMatchObject({ vmxOperation: 'root', vpid: 0, interruptibility: ['held back (GIF = 0)'] });
  expect((vcpu.readVmcs('nRIP') ?? 0n) - (vcpu.readVmcs('RIP') ?? 0n)).toBe(2n);

  const view = vcpu.vmcs();
  expect(view).toMatchObject({ structure: 'VMCB', launchState: 'host mode' });
  const field = (name: string) => view?.fields.find((one) => one.name === name);
  expect(field('EXITCODE')?.parts[0]?.value).toBe('VMEXIT_CPUID');
  expect(field('Intercept vector 4')?.parts.map(({ name }) => name)).toEqual(['VMRUN', 'VMMCALL']);
  expect(field('CS attributes')?.parts.find(({ name }) => name === 'L')?.value).toBe('1');

  expect(stopAt('hypercall').title).toContain('VMMCALL with RAX = 0x0');
  expect(stopAt('ept-violation').title).toBe('Nested page fault at guest-physical 0x800000');
  expect(field('NP_ENABLE')?.value).toBe(1n);
});

test('VMRUN that is refused says which rule is broken', () => {
  const { machine, events, vcpu, label } = booted();
  machine.setBreakpoints([label('run_guest')]);
  machine.run();
  vcpu.poke('host-physical', label('vmcb') + 0x10n, Uint8Array.of(2));
  machine.setBreakpoints([]);
  machine.setFilter('vm-entry-failure', true);
  expect(machine.run()).toMatchObject({ kind: 'event' });
  expect(events.at(-1)?.explanation.join(' ')).toContain('The VMRUN intercept must be set.');
});

test('both stages of a translation, and the entry that ends it', () => {
  const { machine, vcpu } = booted();
  machine.setFilter('vm-entry', true);
  machine.run();
  const { result, finalSteps } = vcpu.translate(0x80_0000n, 'write');
  expect(result).toMatchObject({ kind: 'nested page fault', because: 'the nested PTE 0 is not present' });
  expect(finalSteps.map(({ level }) => level)).toEqual(['PML4E', 'PDPTE', 'PDE', 'PTE']);
  expect(vcpu.translate(0x10_0000n).result).toMatchObject({ kind: 'mapped', physical: 0x10_0000 });
});

test('steps go back over #VMEXIT and VMRUN, and the run ends as before', () => {
  const { machine, output, vcpu } = booted();
  machine.history.checkpoint();
  machine.setFilter('ept-violation', true);
  machine.run();
  machine.setFilter('ept-violation', false);
  const modes = new Set<string>();
  const count = machine.instructionCount;
  for (let step = 0; step < 150; step++) {
    machine.history.stepBack();
    modes.add(vcpu.mode().vmxOperation);
  }
  expect([...modes].sort()).toEqual(['non-root', 'root']);
  expect(machine.instructionCount).toBeLessThan(count);
  expect(machine.run()).toMatchObject({ kind: 'exited', code: 0 });
  expect(output()).toBe(readFileSync(EXPECTED, 'latin1'));
});

test('cut into slices, it is the same run', () => {
  const [whole, cut] = [booted().machine, booted().machine];
  whole.run();
  for (let size = 1; cut.run({ instructions: size }).kind === 'limit'; size = ((size * 7) % 61) + 1);
  expect(cut.instructionCount).toBe(whole.instructionCount);
  expect(cut.stateHash()).toBe(whole.stateHash());
});

test('the log tells each exit by code, what it was about, and what it took', () => {
  const { machine, vcpu, label } = booted();
  machine.run();
  const { structure, total, kept, exits, reasons } = machine.exitLog({ limit: 1000 });
  expect([structure, total]).toEqual(['VMCB', kept]);
  const first = exits.at(-1);
  expect(first).toMatchObject({ number: 0, name: 'VMEXIT_CPUID', reason: 0x72, entryFailure: false, vcpu: 0 });
  expect(first?.subject).toMatch(/^leaf 0x[0-9a-f]+$/);
  expect(first?.vmcs).toBe(label('vmcb'));
  expect(first?.instructionAddress).toBe(first?.rip);
  expect(first?.roundTrip?.instructions).toBeGreaterThan(5);
  const fault = exits.find(({ name }) => name === 'VMEXIT_NPF');
  expect(fault?.subject).toMatch(/^guest-physical 0x8/);
  expect(fault?.information.map(({ name }) => name)).toEqual(['EXITINFO1', 'EXITINFO2', 'EXITINTINFO, bits 31:0']);
  expect(exits.find(({ name }) => name === 'VMEXIT_IOIO')?.subject).toMatch(/^(IN from|OUT to) port 0x500$/);
  expect(reasons.reduce((sum, { count }) => sum + count, 0)).toBe(total);
  const vmmcall = machine.exitLog({ reasons: [0x81] });
  expect(vmmcall.exits.map(({ name }) => name)).toContain('VMEXIT_VMMCALL');
  expect(vmmcall.exits).toHaveLength(reasons.find(({ reason }) => reason === 0x81)?.count ?? 0);
  expect(vcpu.mode().vmxOperation).not.toBe('off');
});

test('back to an exit of the log; the VMCB as it was then, and the list of those that VMRUN has named', () => {
  const { machine, vcpu, label } = booted();
  machine.history.checkpoint();
  expect(machine.vmcss()).toEqual([]);
  machine.run();
  const known = { structure: 'VMCB', launchState: 'host mode', currentOn: [0], isShadow: false, hasRevision: true };
  expect(machine.vmcss()).toEqual([{ ...known, address: label('vmcb') }]);
  const fault = machine.exitLog({ limit: 1000 }).exits.find(({ name }) => name === 'VMEXIT_NPF');
  const number = fault?.number ?? 0;
  const then = machine.history.lookAtExit(number, () => vcpu.vmcs(label('vmcb')));
  expect(then?.fields.find(({ name }) => name === 'RIP')?.value).toBe(fault?.rip);
  expect(machine.history.goToExit(number)).toBe(true);
  expect(machine.exitLog().total).toBe(number + 1);
  expect(machine.exitLog().exits[0]).toEqual({ ...fault, roundTrip: undefined });
  const told = machine.lastExit();
  expect(told?.title).toBe('VM exit: VMEXIT_NPF (0x400)');
  const words = told?.explanation.join(' ') ?? '';
  expect(words).toContain('NP_ENABLE is 1');
  expect(words).toMatch(/Nested P\w+ \d+ is not present\./);
  expect(words).toContain('The handler: Map the guest-physical address');
});

test('in front of the first VMRUN, the VMCB that it is going to enter can be seen and checked', () => {
  const { machine, vcpu, label } = booted();
  machine.setBreakpoints([label('run_guest')]);
  machine.run();
  expect([vcpu.vmcs(), vcpu.checkVmEntry().vmcs]).toEqual([undefined, undefined]);
  for (let step = 0; step < 2; step++) machine.step();
  expect(vcpu.vmcs()).toMatchObject({ structure: 'VMCB', address: label('vmcb'), launchState: 'host mode' });
  expect(vcpu.checkVmEntry()).toMatchObject({ instruction: 'VMRUN', vmcs: label('vmcb'), isPossible: true });
  expect(vcpu.writeVmcs('Guest ASID', 0n)).toBeUndefined();
  expect(vcpu.checkVmEntry().violated.map(({ id }) => id)).toEqual(['asid-zero']);
});

test('a privileged instruction in the guest says whether the VMCB intercepts it', () => {
  const { machine, events } = booted();
  machine.setFilter('privileged-instruction', true, ({ values }) => values.non_root === 1n);
  machine.run();
  const words = events.at(-1)?.explanation.join(' ') ?? '';
  expect(words).toMatch(
    /In guest mode: it (exits|does not exit).* bit \d+ of “Intercept vector [34]” of the VMCB is [01]\./,
  );
});
