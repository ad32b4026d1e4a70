/** The hypervisor in C, debugged by its sources: its own, and its guests'. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { Client, lineOf } from '../debug-adapter/client.ts';
import { SAMPLES } from './judges.ts';

const FOLDER = path.join(SAMPLES, 'c-hypervisor');
const lineIn = (file: string, marker: string): number => lineOf(readFileSync(path.join(FOLDER, file), 'utf8'), marker);

async function stoppedAt(file: string, marker: string): Promise<Client> {
  const dap = new Client();
  await dap.launchStopped({ program: path.join(FOLDER, 'c-hypervisor.elf'), entryMode: 'long' });
  await dap.setBreakpoints(path.join(FOLDER, file), { line: lineIn(file, marker) });
  await dap.continue();
  await dap.setBreakpoints(path.join(FOLDER, file));
  return dap;
}

const callers = async (dap: Client): Promise<string[]> => (await dap.frames()).map(({ name }) => name);
const mode = async (dap: Client) => (await dap.request('ringside/cpuMode', {})).vcpus[0];

describe('c-hypervisor, by its sources', () => {
  test('in a handler the call stack leads from C down to the guest', async () => {
    const dap = await stoppedAt('memory.c', 'STOP HERE');
    const names = await callers(dap);
    const hypervisor = ['ept_map', 'handle_ept_violation', 'handle_exit', 'run_slice', 'schedule', 'main', 'start_64'];
    expect(names.slice(0, hypervisor.length)).toEqual(hypervisor);
    expect(names.at(-1)).toBe('guest_16');
    expect(await dap.evaluate('vmcs.guest_physical_address,x')).toBe('0x7c00');
  });

  test('stepping over the VM entry in C runs the guest up to its exit', async () => {
    const dap = await stoppedAt('vcpu.c', 'STOP HERE, and step over');
    await dap.next();
    expect((await callers(dap))[0]).toBe('vcpu_run');
    expect((await mode(dap))?.vmxOperation).toBe('root');
    expect(await dap.evaluate('vmcs.exit_reason,d')).toBe('48');
  });

  test('a breakpoint in the real-mode guest stops in non-root operation, and a step leads to the hypervisor', async () => {
    const dap = await stoppedAt('guest-16.S', 'VM exit: HLT');
    expect(await mode(dap)).toMatchObject({ vmxOperation: 'non-root', operatingMode: 'real-address mode' });
    expect(await callers(dap)).toEqual(['sleep']);
    await dap.stepIn();
    expect((await callers(dap))[0]).toBe('vm_exit');
    await dap.stepOut();
    expect((await callers(dap))[0]).toBe('vcpu_run');
  });

  test('the 64-bit guest is debugged in C, across a VM exit that injects an exception', async () => {
    const dap = await stoppedAt('guest-64.c', 'rdmsr(IA32_VMX_BASIC)');
    expect(await callers(dap)).toEqual(['try_msrs', 'guest_64']);
    await dap.request('setFunctionBreakpoints', { breakpoints: [{ name: 'general_protection' }] });
    await dap.continue();
    expect((await callers(dap))[0]).toBe('general_protection');
    expect((await mode(dap))?.vmxOperation).toBe('non-root');
  });
});
