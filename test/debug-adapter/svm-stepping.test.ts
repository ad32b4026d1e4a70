/** Steps across VMRUN and #VMEXIT, in a hypervisor of the user's on AMD-V. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { Client, lineOf } from './client.ts';

const program = resolve(import.meta.dirname, '../../samples/tiny-svm/tiny-svm.asm');
const source = readFileSync(program, 'utf8');
const VMRUN = '; STEP INTO: host → guest';
const BEHIND = '; STOP HERE: #VMEXIT';
const GUEST_CPUID = '; STEP INTO: guest → host';
const at = (marker: string) => `:${lineOf(source, marker)} `;

async function stoppedAt(marker: string): Promise<Client> {
  const dap = new Client();
  await dap.launch({ program, virtualization: 'none', cpu: { model: 'epyc' } });
  await dap.setBreakpoints(program, { line: lineOf(source, marker) });
  await dap.request('configurationDone');
  await dap.stopped();
  await dap.setBreakpoints(program);
  return dap;
}

async function mode(dap: Client): Promise<string | undefined> {
  const [vcpu] = (await dap.request('ringside/cpuMode', {})).vcpus;
  return vcpu && `${vcpu.virtualization} ${vcpu.vmxOperation} ${vcpu.vpid}`;
}

it('into the guest at VMRUN, out of it at what is intercepted', async () => {
  const dap = await stoppedAt(VMRUN);
  expect(await mode(dap)).toBe('AMD-V root 0');
  await dap.stepIn();
  expect(await mode(dap)).toBe('AMD-V non-root 1');
  expect(await dap.where()).toContain('guest_code');
  await dap.stepIn();
  expect(await dap.where()).toContain(at(GUEST_CPUID));
  await dap.stepIn();
  expect(await mode(dap)).toBe('AMD-V root 0');
  expect(await dap.where()).toContain(at(BEHIND));
  expect(await dap.evaluate('vmcb.exitcode')).toContain('72');
  expect((await dap.frames()).map(({ name }) => name).at(-1)).toContain('guest_code');
});

it('over VMRUN to its #VMEXIT, and over what is intercepted to the guest’s next instruction', async () => {
  const host = await stoppedAt(VMRUN);
  await host.next();
  expect(await host.where()).toContain(at(BEHIND));
  const guest = await stoppedAt(GUEST_CPUID);
  await guest.next();
  expect(await mode(guest)).toBe('AMD-V non-root 1');
  expect(await guest.where()).toContain(`:${lineOf(source, GUEST_CPUID) + 1} `);
});

it('VMCB fields can be watched by name, in hover and in expressions', async () => {
  const dap = await stoppedAt(BEHIND);
  for (const name of ['vmcb.exitcode', 'vmcb:EXITCODE', 'vmcs.EXITCODE']) {
    expect(await dap.request('dataBreakpointInfo', { name })).toMatchObject({
      dataId: 'vmcs:EXITCODE',
      description: 'EXITCODE of the VMCB',
    });
  }
  const info = await dap.request('dataBreakpointInfo', { name: 'vmcb:guest_rip' });
  expect(info).toMatchObject({ dataId: null, description: expect.stringContaining('The VMCB has no such field') });
  const breakpoint = { dataId: 'vmcs:EXITCODE', accessType: 'write' as const };
  await dap.request('setDataBreakpoints', { breakpoints: [breakpoint] });
  const stopped = await dap.continue();
  expect(stopped.text ?? stopped.description).toContain('#VMEXIT VMEXIT_');
});

it('the views: exits by code, the list of VMCBs, the check of VMRUN, the nested tables', async () => {
  const dap = await stoppedAt(BEHIND);
  const log = await dap.request('ringside/exitLog', {});
  expect(log).toMatchObject({ structure: 'VMCB', total: 1, exits: [{ name: 'VMEXIT_CPUID' }] });
  expect((await dap.request('ringside/vmcsList', {})).vmcss).toMatchObject([{ structure: 'VMCB', currentOn: [0] }]);
  const nested = await dap.request('ringside/pageTables', { kind: 'ept' });
  expect(nested).toMatchObject({ tree: 'Nested paging', reason: 'of the guest, by the VMCB' });
  expect(nested.table).toMatchObject({ structure: 'nested', level: 'PML4E' });
  expect(nested.nodes.length).toBeGreaterThan(0);
  const checked = await dap.request('ringside/checkVmEntry', {});
  expect(checked).toMatchObject({ instruction: 'VMRUN', isPossible: true });
});
