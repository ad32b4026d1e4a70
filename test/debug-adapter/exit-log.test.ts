/** The exit log as views ask for it, and the way back to an exit. */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { Client, lineOf } from './client.ts';

const tiny = resolve(import.meta.dirname, '../../samples/tiny-hypervisor/tiny-hypervisor.asm');
const CPUID_LINE = lineOf(readFileSync(tiny, 'utf8'), '; VM exit: CPUID. Who is there?');

/** Stopped at the fifth VM exit. */
async function afterExits(options: Record<string, unknown> = {}): Promise<Client> {
  const dap = new Client();
  await dap.launch({ program: tiny, ...options });
  await dap.request('setExceptionBreakpoints', { filters: ['vm-exit'] });
  await dap.request('configurationDone');
  await dap.stopped();
  for (let exit = 1; exit < 5; exit++) await dap.continue();
  return dap;
}

it('tells of each exit, with the line of its instruction', async () => {
  const dap = await afterExits();
  const log = await dap.request('ringside/exitLog', {});
  expect(log).toMatchObject({ total: 5, kept: 5, hasMore: false, canGoBack: true });
  expect(log.exits.map(({ number }) => number)).toEqual([4, 3, 2, 1, 0]);
  expect(log.exits.at(-1)).toMatchObject({
    name: 'CPUID',
    symbol: expect.stringContaining('guest_code'),
    source: { path: tiny, line: CPUID_LINE },
    rip: expect.stringMatching(/^0x/),
    roundTrip: { waitedNs: 0 },
  });
  expect(log.reasons.reduce((sum, { count }) => sum + count, 0)).toBe(5);
  const cpuid = await dap.request('ringside/exitLog', { reasons: [10], limit: 1 });
  expect(cpuid.exits.map(({ reason }) => reason)).toEqual([10]);
});

it('goes back to an exit, which is explained as when it happened', async () => {
  const dap = await afterExits();
  await dap.request('ringside/goToExit', { number: 0 });
  const stop = await dap.stopped();
  expect(stop).toMatchObject({ reason: 'exception', description: 'Back at a VM exit' });
  expect(stop.text).toContain('VM exit: CPUID (10)');
  const { exceptionId, description, details } = await dap.request('exceptionInfo', { threadId: 1 });
  expect(exceptionId).toBe('vm-exit');
  expect(description).toContain('exits unconditionally');
  expect(details?.stackTrace).toContain('reason = 10');
  expect((await dap.request('ringside/exitLog', {})).total).toBe(1);
  expect(await dap.where()).toContain('vm_exit');
  await dap.continue();
  expect((await dap.request('ringside/exitLog', {})).total).toBe(2);
});

it('lists the VMCSs, and compares one with itself at an earlier exit', async () => {
  const dap = await afterExits();
  const { vmcss } = await dap.request('ringside/vmcsList', {});
  expect(vmcss).toMatchObject([{ launchState: 'launched', currentOn: [0], isShadow: false }]);
  const rip = await dap.evaluate('vmcs.guest_rip,x');
  const { differences, address } = await dap.request('ringside/compareVmcs', { exit: 0 });
  expect(address).toBe(vmcss[0]?.address);
  const [first] = (await dap.request('ringside/exitLog', {})).exits.slice(-1);
  const change = differences.find(({ field }) => field === 'Guest RIP');
  expect(change).toMatchObject({ before: first?.rip, group: expect.any(String), widthBits: 64 });
  expect(BigInt(change?.now ?? 0)).toBe(BigInt(rip));
  expect((await dap.request('ringside/compareVmcs', { exit: 4 })).differences).toEqual([]);
  expect((await dap.request('ringside/exitLog', {})).total).toBe(5);
  expect((await dap.request('ringside/vmcs', { address: address })).vmcs?.address).toBe(address);
});

it('tells which rules a VM entry would break now', async () => {
  const dap = await afterExits();
  expect(await dap.request('ringside/checkVmEntry', {})).toMatchObject({ instruction: 'VMRESUME', isPossible: true });
  await dap.request('ringside/setVmcsField', { field: 'Guest RFLAGS', value: '0' });
  const { violated } = await dap.request('ringside/checkVmEntry', {});
  expect(violated).toMatchObject([{ fields: [{ name: 'Guest RFLAGS', value: '0x0' }], text: expect.any(String) }]);
});

it('says why it cannot', async () => {
  const dap = await afterExits();
  expect(await dap.failure('ringside/goToExit', { number: 77 })).toContain('no way back to VM exit 77');
  expect(await dap.failure('ringside/compareVmcs', { exit: 77 })).toContain('no way back to VM exit 77');
  const without = await afterExits({ history: false });
  expect((await without.request('ringside/exitLog', {})).canGoBack).toBe(false);
  expect(await without.failure('ringside/goToExit', { number: 0 })).toContain('"history": true');
});
