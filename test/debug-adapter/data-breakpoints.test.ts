/** Data breakpoints on what is not plain memory, as a client sets them. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { describe, expect, it } from 'vitest';
import { Client, lineOf, type StoppedBody } from './client.ts';

const samples = resolve(import.meta.dirname, '../../samples');
const tiny = `${samples}/tiny-hypervisor/tiny-hypervisor.asm`;
const paging = `${samples}/paging/paging.asm`;
const lineIn = (path: string, marker: string) => lineOf(readFileSync(path, 'utf8'), marker);

type Info = Partial<P.DataBreakpointInfoArguments> & { readonly name: string };
type Set_ = Partial<P.DataBreakpoint> & { readonly on: Info };

/** Sets data breakpoints by what dataBreakpointInfo says of them. */
async function set(dap: Client, ...wanted: readonly Set_[]): Promise<P.Breakpoint[]> {
  const breakpoints: P.DataBreakpoint[] = [];
  for (const { on, ...options } of wanted) {
    const { dataId, description } = await dap.request('dataBreakpointInfo', on);
    if (dataId === null) throw new Error(description);
    breakpoints.push({ dataId, ...options });
  }
  return (await dap.request('setDataBreakpoints', { breakpoints })).breakpoints;
}

async function reverse(dap: Client): Promise<StoppedBody> {
  await dap.request('reverseContinue', { threadId: 1 });
  return dap.stopped();
}

const write = { accessType: 'write' } as const;

async function inTiny(virtualization: 'none' | 'hardware' = 'none'): Promise<Client> {
  const dap = new Client();
  await dap.launchStopped({ program: tiny, virtualization });
  return dap;
}

/** The reference of a scope, or of what is in it. */
async function scope(dap: Client, ...path: string[]): Promise<number> {
  const frameId = (await dap.top()).id;
  const [first, ...rest] = path;
  const { scopes } = await dap.request('scopes', { frameId });
  let reference = scopes.find(({ name }) => name === first)?.variablesReference ?? 0;
  for (const part of rest) {
    const { variables } = await dap.request('variables', { variablesReference: reference });
    reference = variables.find(({ name }) => name === part)?.variablesReference ?? 0;
  }
  return reference;
}

describe('a data breakpoint from the Variables view', () => {
  it('on a control register: stops at the write, and says what it was', async () => {
    const dap = await inTiny();
    const variablesReference = await scope(dap, 'Control');
    await set(dap, { on: { name: 'CR4', variablesReference }, ...write });
    const stopped = await dap.continue();
    expect(stopped).toMatchObject({ reason: 'data breakpoint', description: 'Paused on data breakpoint' });
    expect(stopped.text).toMatch(/^CR4 is written by MOV at \S+: 0x[0-9a-f]+ → 0x2[0-9a-f]+$/);
  });
  it('on an MSR, by the name of its row', async () => {
    const dap = await inTiny();
    const variablesReference = await scope(dap, 'MSRs');
    await set(dap, { on: { name: 'IA32_FEATURE_CONTROL', variablesReference }, accessType: 'readWrite' });
    expect((await dap.continue()).text).toMatch(/^IA32_FEATURE_CONTROL is read by RDMSR at \S+: 0x0$/);
    expect((await dap.continue()).text).toMatch(/^IA32_FEATURE_CONTROL is written by WRMSR at \S+: 0x0 → 0x5$/);
  });
  it('on a VMCS field: each exit, and back again', async () => {
    const dap = await inTiny();
    await dap.setBreakpoints(tiny, { line: lineIn(tiny, 'vmlaunch  ') });
    await dap.continue();
    await dap.setBreakpoints(tiny);
    const variablesReference = await scope(dap, 'VMCS', 'VM-Exit Information');
    await set(dap, { on: { name: 'Exit reason', variablesReference }, ...write });
    expect((await dap.continue()).text).toMatch(/^Exit reason of the VMCS is written by VM exit 10 \(CPUID\).*→ 0xa$/);
    expect((await dap.continue()).text).toMatch(/by VM exit 18 \(VMCALL\).*0xa → 0x12$/);
    expect((await reverse(dap)).text).toMatch(/by VM exit 10 \(CPUID\)/);
  });
  it('not on a general-purpose register', async () => {
    const dap = await inTiny();
    const variablesReference = await scope(dap, 'General');
    const info = await dap.request('dataBreakpointInfo', { name: 'RAX', variablesReference });
    expect(info).toMatchObject({ dataId: null, description: expect.stringContaining('a register') });
  });
});

describe('a data breakpoint by expression', () => {
  const all = [
    ['cr3', 'register:cr3', 'CR3'],
    ['cr0.pg', 'register:cr0', 'CR0'],
    ['IA32_EFER', 'msr:0xc0000080', 'IA32_EFER'],
    ['msr:ia32_lstar', 'msr:0xc0000082', 'IA32_LSTAR'],
    ['msr:0x10', 'msr:0x10', 'IA32_TIME_STAMP_COUNTER'],
    ['vmcs.guest_rip', 'vmcs:Guest RIP', 'Guest RIP of the VMCS'],
    ['vmcs:GUEST_CR3', 'vmcs:Guest CR3', 'Guest CR3 of the VMCS'],
    ['port:3F8h', 'port:0x3f8/1', 'port 0x3f8'],
    ['gpa:0x1000', 'guest-physical:0x1000/4@0', 'guest-physical 0x1000 (4 bytes)'],
    ['hpa:0x2000', 'host-physical:0x2000/4@0', 'host-physical 0x2000 (4 bytes)'],
  ] as const;
  it.each(all)('%s', async (name, dataId, description) => {
    const dap = await inTiny();
    for (const asAddress of [false, true]) {
      expect(await dap.request('dataBreakpointInfo', { name, asAddress })).toMatchObject({ dataId, description });
    }
    const { breakpoints } = await dap.request('setDataBreakpoints', { breakpoints: [{ dataId }] });
    expect(breakpoints).toMatchObject([{ verified: true, message: description }]);
  });
  it.each([
    ['msr:0x12345678', 'no such MSR'],
    ['port:0x10000', 'no such port'],
    ['vmcs:guest_rap', 'no such field'],
  ])('%s is refused: %s', async (name, problem) => {
    const dap = await inTiny();
    const info = await dap.request('dataBreakpointInfo', { name });
    expect(info).toMatchObject({ dataId: null, description: expect.stringContaining(problem) });
  });
  it('on a device of a bare machine that lies in memory', async () => {
    const dap = await inTiny();
    const dataId = 'host-physical:0xfee00000/4@0';
    const { breakpoints } = await dap.request('setDataBreakpoints', { breakpoints: [{ dataId }] });
    expect(breakpoints).toMatchObject([{ verified: true }]);
  });
  it('not on memory that is no RAM, where the built-in hypervisor runs the guest', async () => {
    const dap = await inTiny('hardware');
    const dataId = 'host-physical:0xfee00000/4@0';
    const { breakpoints } = await dap.request('setDataBreakpoints', { breakpoints: [{ dataId }] });
    expect(breakpoints).toMatchObject([{ verified: false, message: expect.stringContaining('without RAM') }]);
  });
  it('on a page-table entry: written by the program, A and D by the processor', async () => {
    const dap = new Client();
    await dap.launch({ program: paging });
    await dap.setBreakpoints(paging, { line: lineIn(paging, "show_page '4 KiB page'") });
    await dap.request('configurationDone');
    await dap.stopped();
    await dap.setBreakpoints(paging);
    const [set_] = await set(dap, { on: { name: 'pte:0x8000000000' }, ...write });
    expect(set_?.message).toMatch(/^the \S+ entry at 0x[0-9a-f]+, of linear 0x8000000000$/);
    const texts = [];
    for (let stop = 0; stop < 3; stop++) texts.push((await dap.continue()).text);
    expect(texts).toEqual([
      expect.stringMatching(/is written by the page walk for linear address 0x8000000000,.*003 → 0x[0-9a-f]+023$/),
      expect.stringMatching(/is written by the page walk for linear address 0x8000000000,.*023 → 0x[0-9a-f]+063$/),
      expect.stringMatching(/is written by MOV at main.*063 → 0x[0-9a-f]+003$/),
    ]);
    expect((await reverse(dap)).text).toBe(texts[1]);
  });
  it('with a condition', async () => {
    const dap = await inTiny();
    await set(dap, { on: { name: 'port:0xe9' }, ...write, condition: 'al == 10' });
    await dap.continue();
    expect(await dap.evaluate('al,d')).toBe('10');
  });
});

describe('a function breakpoint that names data', () => {
  it('is a data breakpoint beside those on code, in any order', async () => {
    const dap = await inTiny();
    const { breakpoints } = await dap.request('setFunctionBreakpoints', {
      breakpoints: [{ name: 'write IA32_FEATURE_CONTROL' }, { name: 'vm_exit' }, { name: 'read vmcs:guest_rap' }],
    });
    expect(breakpoints).toMatchObject([
      { verified: true, message: 'IA32_FEATURE_CONTROL' },
      { verified: true },
      { verified: false, message: expect.stringContaining('no such field') },
    ]);
    const stopped = await dap.continue();
    expect(stopped).toMatchObject({ reason: 'data breakpoint', hitBreakpointIds: [breakpoints[0]?.id] });
    const next = await dap.continue();
    expect(next).toMatchObject({ reason: 'function breakpoint', hitBreakpointIds: [breakpoints[1]?.id] });
  });
  it('is there again after a restart', async () => {
    const dap = await inTiny();
    await dap.request('setFunctionBreakpoints', { breakpoints: [{ name: 'access IA32_FEATURE_CONTROL' }] });
    const first = (await dap.continue()).text;
    await dap.request('restart');
    await dap.stopped();
    expect((await dap.continue()).text).toBe(first);
  });
});

it('the filter "stale translation used" says which invalidation is missing', async () => {
  const dap = new Client();
  await dap.launch({ program: paging });
  await dap.request('setExceptionBreakpoints', { filters: ['stale-translation'] });
  await dap.request('configurationDone');
  const stopped = await dap.stopped();
  expect(stopped).toMatchObject({ reason: 'exception', description: 'Paused on stale translation used' });
  expect(stopped.text).toMatch(/^Stale translation used: read of 0x8000000000, which the TLB has at 0x/);
  const { description } = await dap.request('exceptionInfo', { threadId: 1 });
  expect(description).toContain('INVLPG 0x8000000000 is missing after the change');
});
