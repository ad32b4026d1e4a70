/** Steps across VM entries and exits, in a hypervisor of the user's and under the built-in one. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Client, lineOf } from './client.ts';

const samples = resolve(import.meta.dirname, '../../samples');
const tiny = `${samples}/tiny-hypervisor/tiny-hypervisor.asm`;
const tinySource = readFileSync(tiny, 'utf8');
const tinyAt = (marker: string) => lineOf(tinySource, marker);
const disk = `${samples}/virtio-block/virtio-block.asm`;

async function operation(dap: Client): Promise<string | undefined> {
  return (await dap.request('ringside/cpuMode', {})).vcpus[0]?.vmxOperation;
}

describe('a hypervisor of the user’s', () => {
  const VMLAUNCH = 'vmlaunch                        ; STEP INTO';
  const GUEST_CPUID = '; VM exit: CPUID. Who is there?';

  async function stoppedAt(marker: string): Promise<Client> {
    const dap = new Client();
    await dap.launch({ program: tiny, virtualization: 'none' });
    await dap.setBreakpoints(tiny, { line: tinyAt(marker) });
    await dap.request('configurationDone');
    await dap.stopped();
    await dap.setBreakpoints(tiny);
    return dap;
  }

  it('step in at VMLAUNCH leads into the guest', async () => {
    const dap = await stoppedAt(VMLAUNCH);
    expect(await operation(dap)).toBe('root');
    await dap.stepIn();
    expect(await operation(dap)).toBe('non-root');
    expect(await dap.where()).toContain('guest_code');
  });

  it('step over VMLAUNCH runs the guest up to its first exit', async () => {
    const dap = await stoppedAt(VMLAUNCH);
    await dap.next();
    expect(await operation(dap)).toBe('root');
    expect(await dap.where()).toContain('vm_exit');
    expect(await dap.evaluate('vmcs.exit_reason,d')).toBe('10');
    const names = (await dap.frames()).map(({ name }) => name);
    expect(names.at(-1)).toContain('guest_code');
  });

  it('step in at an instruction that exits leads into the hypervisor', async () => {
    const dap = await stoppedAt(GUEST_CPUID);
    expect(await operation(dap)).toBe('non-root');
    await dap.stepIn();
    expect(await operation(dap)).toBe('root');
    expect(await dap.where()).toContain('vm_exit');
  });

  it('step over an instruction that exits comes back to the guest', async () => {
    const dap = await stoppedAt(GUEST_CPUID);
    await dap.next();
    expect(await operation(dap)).toBe('non-root');
    expect(await dap.where()).toContain(`:${tinyAt(GUEST_CPUID) + 1} `);
  });

  it('stops at VM exits by their reason, and explains them', async () => {
    const dap = new Client();
    await dap.launch({ program: tiny });
    await dap.request('setExceptionBreakpoints', {
      filters: [],
      filterOptions: [{ filterId: 'vm-exit', condition: 'reason == 48 && guest_physical >= 0x11000' }],
    });
    await dap.request('configurationDone');
    expect(await dap.stopped()).toMatchObject({ reason: 'exception', text: expect.stringContaining('EPT violation') });
    const info = await dap.request('exceptionInfo', { threadId: 1 });
    expect(info.details?.stackTrace).toContain('guest_physical = 0x11000');
    expect(await dap.evaluate('vmcs.guest_physical_address')).toContain('0x0000000000011000'.replace(/^0x0+/, '0x'));
    await dap.request('continue', { threadId: 1 });
    expect((await dap.event('exited')).body.exitCode).toBe(0);
  });

  it('shows the VMCS, by groups, and what changed since the last stop', async () => {
    const dap = await stoppedAt('push    rax                     ; STOP HERE: every VM exit');
    await dap.setBreakpoints(tiny, { line: tinyAt('push    rax                     ; STOP HERE: every VM exit') });
    const first = await dap.request('ringside/vmcs', {});
    expect(first.vmcs?.fields.length).toBeGreaterThan(80);
    await dap.continue();
    const { changed } = await dap.request('ringside/vmcs', {});
    expect(changed).toContain('Exit reason');
    expect(changed).not.toContain('Host RIP');
    const { scopes } = await dap.request('scopes', { frameId: (await dap.top()).id });
    const vmcs = scopes.find(({ name }) => name === 'VMCS')?.variablesReference ?? 0;
    const groups = (await dap.request('variables', { variablesReference: vmcs })).variables;
    expect(groups.length).toBeGreaterThan(3);
    const fields = (await dap.request('variables', { variablesReference: groups[0]?.variablesReference ?? 0 }))
      .variables;
    expect(fields.length).toBeGreaterThan(3);
    expect(await dap.evaluate(fields[0]?.evaluateName ?? '')).toBeTruthy();
  });

  it('shows the guest’s EPT to the handler too, and says that it is not in use', async () => {
    const dap = await stoppedAt(GUEST_CPUID);
    const inGuest = await dap.request('ringside/pageTables', { kind: 'ept' });
    expect(inGuest).toMatchObject({ table: { structure: 'EPT' } });
    expect(inGuest.reason).toBeUndefined();
    await dap.stepIn();
    expect(await operation(dap)).toBe('root');
    const inHandler = await dap.request('ringside/pageTables', { kind: 'ept' });
    expect(inHandler).toEqual({ ...inGuest, reason: 'of the guest, by the current VMCS' });
  });

  it('lets its fields be changed', async () => {
    const dap = await stoppedAt('push    rax                     ; STOP HERE: every VM exit');
    const { value } = await dap.request('ringside/setVmcsField', { field: 'guest_rip', value: 'guest_code + 4' });
    expect(await dap.evaluate('vmcs.guest_rip,x')).toBe(value);
    await dap.evaluate('vmcs.guest_rip = 0x1234', 'repl');
    expect(await dap.evaluate('vmcs.GUEST_RIP,x')).toBe('0x1234');
    expect(await dap.failure('ringside/setVmcsField', { field: 'guest_ripp', value: '1' })).toContain(
      'vmcs.guest_rip?',
    );
  });

  it('data breakpoints see what the guest writes through EPT', async () => {
    const dap = await stoppedAt(GUEST_CPUID);
    const info = await dap.request('dataBreakpointInfo', { name: 'guest_stack', asAddress: true, bytes: 16 });
    const hpa = await dap.request('dataBreakpointInfo', { name: 'qword hpa:[0x5000 - 8]' });
    expect(hpa.dataId).toContain('host-physical');
    expect(info.dataId).not.toBeNull();
  });
});

describe('a guest of the built-in hypervisor', () => {
  async function stoppedAtExit(condition: string): Promise<Client> {
    const dap = new Client();
    await dap.launch({ program: disk, virtualization: 'hardware', devices: { disk: '64K' } });
    await dap.request('setExceptionBreakpoints', { filters: [], filterOptions: [{ filterId: 'vm-exit', condition }] });
    await dap.request('configurationDone');
    await dap.stopped();
    await dap.request('setExceptionBreakpoints', { filters: [] });
    return dap;
  }

  it('shows the stages of the handler above the guest, and steps through them', async () => {
    const dap = await stoppedAtExit('reason == 30');
    const halves: string[] = [];
    let names: string[] = [];
    for (let steps = 0; steps < 50; steps += 1) {
      names = (await dap.frames()).map(({ name }) => name);
      if (names.some((name) => name.includes('hypervisor')))
        halves.push(names.filter((n) => n.includes('hypervisor')).join(' | '));
      else if (steps > 0) break;
      await dap.stepIn();
    }
    expect(halves.join('\n')).toContain('kernel half');
    expect(halves.join('\n')).toContain('user half');
    expect(names.some((name) => name.includes('hypervisor'))).toBe(false);
  });

  it('shows the guest’s frames below the stages, as they were before the exit', async () => {
    const dap = new Client();
    await dap.launch({ program: disk, virtualization: 'hardware', devices: { disk: '64K' } });
    await dap.setBreakpoints(disk, { line: lineOf(readFileSync(disk, 'utf8'), '[rbx + QueueNotify], ecx') });
    await dap.request('configurationDone');
    await dap.stopped();
    const before = (await dap.frames()).map(({ name }) => name);
    expect(before).toEqual(['submit', 'block_request', 'write_and_read_back', 'main']);
    await dap.stepIn();
    for (let steps = 0; steps < 3; steps += 1) {
      const names = (await dap.frames()).map(({ name }) => name);
      expect(names[0]).toContain('hypervisor');
      expect(names.filter((name) => !name.includes('hypervisor'))).toEqual(before);
      await dap.stepIn();
    }
  });

  it('a stage has a text that says what it does', async () => {
    const dap = await stoppedAtExit('reason == 48');
    let top = await dap.top();
    for (let steps = 0; steps < 5 && !top.source?.sourceReference; steps += 1) {
      await dap.stepIn();
      top = await dap.top();
    }
    const sourceReference = top.source?.sourceReference ?? 0;
    const { content } = (await dap.request('source', { source: top.source ?? {}, sourceReference })) ?? { content: '' };
    expect(content.length).toBeGreaterThan(40);
  });

  it('step out of the handler leads to the guest, step over an exiting instruction behind it', async () => {
    const dap = await stoppedAtExit('reason == 30');
    await dap.stepOut();
    const address = (await dap.top()).instructionPointerReference;
    expect((await dap.frames()).some(({ name }) => name.includes('hypervisor'))).toBe(false);
    await dap.next();
    expect((await dap.top()).instructionPointerReference).not.toBe(address);
  });

  it('shows its virtqueues', async () => {
    const dap = new Client();
    await dap.launch({ program: disk, virtualization: 'hardware', devices: { disk: '64K' } });
    await dap.request('setExceptionBreakpoints', { filters: ['virtqueue-notification'] });
    await dap.request('configurationDone');
    expect((await dap.stopped()).reason).toBe('exception');
    const { devices } = await dap.request('ringside/virtqueues', {});
    expect(devices[0]?.queues[0]).toMatchObject({ ready: true });
    expect(devices[0]?.queues[0]?.availableRing?.idx).toBe(1);
  });
});

describe('every sample', () => {
  it.each([
    ['rings', {}],
    ['paging', {}],
    ['sensitive', {}],
  ])('%s steps by line from entry, and over its calls', async (name, options) => {
    const program = `${samples}/${name}/${name}.asm`;
    const dap = new Client();
    await dap.launchStopped({ program, virtualization: 'none', ...options });
    for (let steps = 0; steps < 40; steps += 1) {
      await dap.next();
      expect((await dap.top()).source?.path).toContain('samples');
    }
    await dap.request('disconnect');
  });
});
