/**
 * The hypervisors that are broken on purpose: each fails as its README says, Ringside shows what the README promises, and
 * mended it runs to its end. What stands in quotation marks in the README is looked for in what the debug adapter tells.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { Client, lineOf } from '../debug-adapter/client.ts';
import { available } from '../support/judges.ts';
import { runUnderBochs, SAMPLES } from './judges.ts';

const FOLDER = path.join(SAMPLES, 'broken-hypervisors');
const fileOf = (name: string): string => path.join(FOLDER, `${name}.asm`);
const sourceOf = (name: string): string => readFileSync(fileOf(name), 'utf8');

/** Brings the guest to where the README stops, and returns what is to be seen there. */
type Look = (dap: Client, name: string) => Promise<string>;

interface Bug {
  readonly look: Look;
  /** The last line that it prints, and its exit code; a guest that hangs has neither. */
  readonly ends?: readonly [line: string, exitCode: number];
}

const explanation = async (dap: Client): Promise<string> => {
  const { description, details } = await dap.request('exceptionInfo', { threadId: 1 });
  return `${description}\n${details?.stackTrace}`;
};

const atFilter =
  (filterId: string, condition?: string): Look =>
  async (dap) => {
    const filter = { filterId, ...(condition === undefined ? {} : { condition }) };
    await dap.request('setExceptionBreakpoints', { filters: [], filterOptions: [filter] });
    await dap.continue();
    return explanation(dap);
  };

const atLine = async (dap: Client, name: string, marker: string): Promise<void> => {
  await dap.setBreakpoints(fileOf(name), { line: lineOf(sourceOf(name), marker) });
  await dap.continue();
  await dap.setBreakpoints(fileOf(name));
};

const entryFailure = atFilter('vm-entry-failure');

/** An exit that comes again as it was. */
const exitLoop: Look = async (dap, name) => {
  const first = await atFilter('vm-exit')(dap, name);
  await dap.continue();
  const second = await explanation(dap);
  expect(second).toBe(first);
  return second;
};

const staleEntry: Look = async (dap, name) => {
  await atLine(dap, name, 'STOP HERE');
  const { entries } = await dap.request('ringside/tlb', {});
  const stale = entries.filter(({ stale, kind }) => stale !== undefined && kind === 'combined');
  expect(stale).toHaveLength(1);
  const used = await atFilter('stale-translation')(dap, name);
  return `${stale[0]?.stale?.reason}\n${used}`;
};

const changedRegister: Look = async (dap, name) => {
  await atLine(dap, name, 'STEP OVER');
  const before = await dap.evaluate('rbx,x');
  await dap.next();
  expect(await dap.evaluate('rip,x')).toBe(await dap.evaluate('rbx,x'));
  return `rbx = ${before}, then rbx = guest RIP`;
};

const whoWroteTheEntry: Look = async (dap, name) => {
  const wrong = await atFilter('vm-exit', 'reason == 49')(dap, name);
  const { dataId } = await dap.request('dataBreakpointInfo', {
    name: 'ept_table + 0x1FC * 8',
    asAddress: true,
    bytes: 8,
  });
  await dap.request('setExceptionBreakpoints', { filters: [] });
  await dap.request('setDataBreakpoints', { breakpoints: [{ dataId: dataId ?? '', accessType: 'write' }] });
  await dap.request('reverseContinue', { threadId: 1 });
  expect((await dap.stopped()).reason).toBe('data breakpoint');
  await dap.request('setDataBreakpoints', { breakpoints: [] });
  const { source, line } = await dap.top();
  return `${wrong}\n${readFileSync(source?.path ?? '', 'utf8').split('\n')[line - 1]}`;
};

const tscOffset: Look = async (dap, name) => {
  await atLine(dap, name, 'STEP OVER');
  const offset = BigInt(await dap.evaluate('vmcs.tsc_offset,x'));
  return `TSC offset is ${offset < 1n << 63n ? 'positive' : 'negative'}`;
};

const bugs: Readonly<Record<string, Bug>> = {
  'host-tr': { look: entryFailure, ends: ['A VMX instruction failed, VM-instruction error 00000008', 3] },
  'cr4-vmxe': { look: entryFailure, ends: ['No handler for exit reason 80000021', 2] },
  'vmlaunch-again': { look: entryFailure, ends: ['A VMX instruction failed, VM-instruction error 00000004', 3] },
  'inject-with-if-clear': { look: entryFailure, ends: ['No handler for exit reason 80000021', 2] },
  'sti-shadow': { look: entryFailure, ends: ['No handler for exit reason 80000021', 2] },
  'rip-not-advanced': { look: exitLoop },
  'ept-violation-loop': { look: exitLoop },
  'missing-invept': { look: staleEntry, ends: ['The guest sees its old page', 1] },
  'missing-invvpid': { look: staleEntry, ends: ['The guest sees the page that it has unmapped', 1] },
  'lost-registers': { look: changedRegister, ends: ['The guest has its sum wrong', 1] },
  'lost-event': { look: atFilter('vm-exit', 'reason == 48'), ends: ['The interrupt never came', 1] },
  'host-stack': { look: whoWroteTheEntry, ends: ['No handler for exit reason 00000031', 2] },
  'msr-bitmap': {
    look: atFilter('privileged-instruction', 'instruction == "WRMSR" && non_root == 1'),
    ends: ['The guest has changed the IA32_LSTAR of the hypervisor', 1],
  },
  'tsc-offset': { look: tscOffset, ends: ['The guest is older than its first instruction', 1] },
};
const names = Object.keys(bugs);

/** The README's row of a program, and what of it stands in quotation marks. */
function promised(name: string): string[] {
  const rows = readFileSync(path.join(FOLDER, 'README.md'), 'utf8').split('\n');
  const row = rows.find((line) => line.startsWith(`| [${name}](${name}.asm) |`));
  const shown = row?.split(' | ')[4] ?? '';
  return [...shown.matchAll(/"([^"]+)"/g)].map(([, phrase]) => phrase ?? '');
}

async function toEnd(dap: Client): Promise<{ output: string; exitCode: number }> {
  await dap.request('setExceptionBreakpoints', { filters: [] });
  await dap.request('continue', { threadId: 1 });
  const { exitCode } = (await dap.event('exited')).body;
  return { output: dap.console('stdout'), exitCode };
}

describe('hypervisors that are broken on purpose', () => {
  test('are all in the README and here', () => {
    const programs = readdirSync(FOLDER).filter((file) => file.endsWith('.asm'));
    expect(programs.map((file) => file.replace('.asm', '')).sort()).toEqual([...names].sort());
    for (const name of names) expect(promised(name), name).not.toHaveLength(0);
  });

  test.each(names)('%s: Ringside shows what the README promises', async (name) => {
    const { look, ends } = bugs[name] as Bug;
    const dap = new Client();
    await dap.launchStopped({ program: fileOf(name) });
    const seen = await look(dap, name);
    for (const phrase of promised(name)) expect(seen).toContain(phrase);
    if (!ends) return;
    const { output, exitCode } = await toEnd(dap);
    expect(output.trimEnd().split('\n').at(-1)).toContain(ends[0]);
    expect(exitCode).toBe(ends[1]);
  });

  test.each(names)('%s, mended, runs to its end', async (name) => {
    const mended = sourceOf(name).replace(/^;%define FIXED/m, '%define FIXED');
    const dap = new Client({ [fileOf(name)]: mended });
    await dap.launchStopped({ program: fileOf(name) });
    const { output, exitCode } = await toEnd(dap);
    expect(output).toMatch(/^The (guest|hypervisor) [^\n]+\n$/);
    expect(exitCode).toBe(0);
  });
});

/** Bochs forgets translations at more occasions than it has to, so that there a missing invalidation goes unnoticed. */
const judged = names.filter((name) => bugs[name]?.ends && bugs[name]?.look !== staleEntry);

describe.skipIf(!available('nasm', 'bochs'))('Bochs says the same of the bug', () => {
  test.each(judged)('%s', async (name) => {
    const { output } = await runUnderBochs(`broken-hypervisors/${name}`);
    expect(output.split('\n')[0]).toContain(bugs[name]?.ends?.[0]);
  });
});
