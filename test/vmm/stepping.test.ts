/** The stages of an exit, as a debugger that steps sees them, and the events that filters stop at. */
import { describe, expect, test } from 'vitest';
import type { MachineEvent } from '../../engine/machine/machine-api.ts';
import { type GuestRun, guestFromSource, runToEnd } from './run-guest.ts';

const long = (body: string, options = {}) => guestFromSource(`bits 64\norg 0x100000\n${body}`, options);

const vcpuOf = ({ machine }: GuestRun) => {
  const [vcpu] = machine.vcpus;
  if (!vcpu) throw new Error('no vCPU');
  return vcpu;
};
const frames = (guest: GuestRun) =>
  vcpuOf(guest)
    .handlerFrames()
    .map(({ name, half }) => `${half}: ${name}`);

/** Steps until the guest runs again; the innermost stages on the way. */
function stagesOf(guest: GuestRun): string[] {
  const stages: string[] = [];
  for (let steps = 0; frames(guest).length > 0 && steps < 20; steps++) {
    stages.push(frames(guest)[0] ?? '');
    guest.machine.step();
  }
  return stages;
}

describe('stepping over an exit', () => {
  test('an access to a port goes through both halves and back', async () => {
    const guest = await long("mov al, 'x'\n out 0xe9, al\n mov al, 1\n hlt");
    guest.machine.step();
    expect(vcpuOf(guest).mode().vmxOperation).toBe('non-root');
    guest.machine.step();
    expect(vcpuOf(guest).mode().vmxOperation).toBe('root');
    expect(vcpuOf(guest).readVmcs('Guest RIP')).toBe(0x10_0002n);
    expect(stagesOf(guest)).toEqual([
      'kernel: VM exit: I/O instruction',
      'kernel: handle I/O instruction',
      'kernel: KVM_EXIT_IO',
      'user: debug-console: write',
      'kernel: VM entry',
    ]);
    expect(guest.output()).toBe('x');
    expect(vcpuOf(guest).mode().vmxOperation).toBe('non-root');
    expect(vcpuOf(guest).rip).toBe(0x10_0004n);
  });

  test('the output appears with the stage of the device, not before', async () => {
    const guest = await long("mov al, 'x'\n out 0xe9, al\n hlt");
    for (let step = 0; step < 5; step++) guest.machine.step();
    expect(frames(guest)[0]).toBe('user: debug-console: write');
    expect(guest.output()).toBe('');
    guest.machine.step();
    expect(guest.output()).toBe('x');
  });

  test('a first touch of memory is mapped by the kernel half', async () => {
    const guest = await long('mov byte [0x600000], 1\n hlt');
    guest.machine.step();
    expect(stagesOf(guest)).toEqual([
      'kernel: VM exit: EPT violation',
      'kernel: handle EPT violation',
      'kernel: map guest memory',
      'kernel: VM entry',
    ]);
    expect(vcpuOf(guest).rip).toBe(0x10_0000n);
    guest.machine.step();
    expect(vcpuOf(guest).rip).toBe(0x10_0008n);
  });

  test('a device register in memory reaches the device model', async () => {
    const guest = await long('mov ebx, 0xfeb00000\n mov eax, [rbx]\n hlt', { devices: { console: true } });
    guest.machine.step();
    guest.machine.step();
    expect(stagesOf(guest)).toEqual([
      'kernel: VM exit: EPT violation',
      'kernel: handle EPT violation',
      'kernel: emulate instruction',
      'kernel: KVM_EXIT_MMIO',
      'user: virtio-console@0: read',
      'kernel: VM entry',
    ]);
    expect(vcpuOf(guest).readRegister('eax')).toBe(0x7472_6976n);
  });

  test('every stage explains itself', async () => {
    const guest = await long('in al, 0x40\n hlt');
    guest.machine.step();
    while (frames(guest).length > 0) {
      for (const { explanation } of vcpuOf(guest).handlerFrames()) expect(explanation).toMatch(/^[A-Z].{20,}\.$/s);
      guest.machine.step();
    }
  });

  test('running on from a stage finishes the exit', async () => {
    const guest = await long("mov al, 'x'\n out 0xe9, al\n mov al, 3\n mov dx, 0xf4\n out dx, al");
    guest.machine.step();
    guest.machine.step();
    guest.machine.step();
    expect(runToEnd(guest)).toMatchObject({ kind: 'exited', code: 3 });
    expect(guest.output()).toBe('x');
  });
});

describe('filters', () => {
  const collect = (guest: GuestRun): MachineEvent[] => {
    const events: MachineEvent[] = [];
    guest.machine.onEvent = (event) => void events.push(event);
    return events;
  };

  test('a condition chooses the VM exit; the stop is before its handling', async () => {
    const guest = await long("mov al, 'a'\n out 0xe9, al\n mov dx, 0x3f8\n out dx, al\n hlt");
    guest.machine.setFilter('vm-exit', true, ({ values }) => values.port === 0x3f8n);
    const stop = runToEnd(guest);
    expect(stop).toMatchObject({
      kind: 'event',
      event: {
        filter: 'vm-exit',
        title: 'VM exit: I/O instruction (30), OUT to port 0x3f8',
        values: { reason: 30n, direction: 'out', size: 1n, guest_rip: 0x10_0008n, instruction_length: 1n },
      },
    });
    expect(frames(guest)).toEqual(['kernel: VM exit: I/O instruction']);
    expect(guest.output()).toBe('a');
  });

  test('VM entries are told with their instruction; continuing from one reaches the next', async () => {
    const guest = await long('cpuid\n cpuid\n hlt');
    guest.machine.setFilter('vm-entry', true);
    expect(runToEnd(guest)).toMatchObject({ event: { values: { instruction: 'VMRESUME', guest_rip: 0x10_0002n } } });
    expect(frames(guest)).toEqual([]);
    expect(runToEnd(guest)).toMatchObject({ event: { values: { guest_rip: 0x10_0004n } } });
  });

  test('an invalid VMCS stops with every broken rule, and goes on once corrected', async () => {
    const guest = await long('cpuid\n mov al, 2\n mov dx, 0xf4\n out dx, al');
    const vcpu = vcpuOf(guest);
    guest.machine.step();
    const good = vcpu.readVmcs('Guest CR4') ?? 0n;
    expect(vcpu.writeVmcs('Guest CR4', good & ~0x2000n)).toBeUndefined();
    expect(vcpu.writeVmcs('Guest RFLAGS', 0n)).toBeUndefined();
    guest.machine.setFilter('vm-entry-failure', true);
    const stop = runToEnd(guest);
    if (stop.kind !== 'event') throw new Error(`stopped by ${stop.kind}`);
    expect(stop.event.filter).toBe('vm-entry-failure');
    expect(stop.event.explanation.join(' ')).toMatch(/Guest CR4.*Guest RFLAGS/s);
    guest.machine.setFilter('vm-entry-failure', false);
    expect(runToEnd(guest)).toMatchObject({ kind: 'shutdown' });
    vcpu.writeVmcs('Guest CR4', good);
    vcpu.writeVmcs('Guest RFLAGS', 2n);
    expect(runToEnd(guest)).toMatchObject({ kind: 'exited', code: 2 });
  });

  test('whoever listens hears of exits and entries in order', async () => {
    const guest = await long('cpuid\n mov byte [0x600000], 1\n hlt');
    const events = collect(guest);
    runToEnd(guest);
    const ofVmx = events.filter(({ filter }) => filter !== 'privileged-instruction');
    expect(ofVmx.map(({ filter, values }) => `${filter} ${values.reason ?? ''}`.trim())).toEqual([
      'vm-exit 10',
      'vm-entry',
      'vm-exit 48',
      'ept-violation 48',
      'vm-entry',
      'vm-exit 12',
    ]);
  });

  test('a virtqueue notification stops inside the device model', async () => {
    const guest = await long('mov ebx, 0xfeb00050\n mov dword [rbx], 0\n hlt', { devices: { console: true } });
    guest.machine.setFilter('virtqueue-notification', true);
    expect(runToEnd(guest)).toMatchObject({ kind: 'event', event: { filter: 'virtqueue-notification' } });
    expect(vcpuOf(guest).mode().vmxOperation).toBe('root');
    expect(runToEnd(guest)).toMatchObject({ kind: 'halted' });
  });

  test('a run with steps and stops ends in the same state as one without', async () => {
    const body = `
      mov ecx, 50
      .next: mov eax, ecx
      and al, 63
      add al, 32
      out 0xe9, al
      mov [0x600000 + rcx * 8], rcx
      loop .next
      cpuid
      hlt`;
    const straight = await long(body);
    runToEnd(straight);
    const stepped = await long(body);
    for (let step = 0; step < 400; step++) stepped.machine.step();
    runToEnd(stepped);
    expect(stepped.output()).toBe(straight.output());
    expect(stepped.machine.instructionCount).toBe(straight.machine.instructionCount);
    expect(stepped.machine.stateHash()).toBe(straight.machine.stateHash());
  });
});
