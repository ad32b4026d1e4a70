/** The VM Exits view, over the engine's real log. */
import { describe, expect, it } from 'vitest';
import type { ExitQuery } from '../../engine/index.ts';
import { exitsView } from '../../extension/views/exits.ts';
import { bareHypervisor, SKIP } from '../vmx/bare-hypervisor.ts';
import { allIds, asking, childrenOf, rowAt, wire } from './support.ts';

/** So many CPUIDs, then VMCALL. */
async function view(rounds: number, reasons?: readonly number[]) {
  const { machine } = await bareHypervisor({
    handlers: { 10: SKIP },
    guest: `mov ebp, ${rounds}\nagain: xor eax, eax\ncpuid\ndec ebp\njnz again`,
  });
  machine.run();
  const source = { path: '/work/guest.asm', line: 7 };
  const answer = (query: ExitQuery) => {
    const log = wire(machine.exitLog(query));
    return { ...log, exits: log.exits.map((exit) => ({ ...exit, symbol: 'again+2', source })), canGoBack: true };
  };
  return exitsView(reasons)(asking({ 'ringside/exitLog': answer }));
}

describe('the VM exits view', () => {
  it('lists exits, newest first, each with what it was about and what it took', async () => {
    const content = await view(2);
    expect(content).toMatchObject({ description: '3 exits' });
    expect(content.rows.map(({ label }) => label)).toEqual(['By reason', '#2 VMCALL', '#1 CPUID', '#0 CPUID']);
    const first = await rowAt(content, 'exit/0');
    expect(first.description).toMatch(/^leaf 0x0 · again\+2 \(0x00100\w+\) · \d+ instructions$/);
    expect(first).toMatchObject({ exit: 0, source: { line: 7 }, spoken: expect.stringContaining('VM exit 0, CPUID') });
    expect(await childrenOf(first)).toContain('Source: guest.asm:7');
    expect((await rowAt(content, 'exit/2')).description).toContain('not entered again');
  });

  it('sums them up by reason, the most frequent first', async () => {
    const [first, second] = await childrenOf(await rowAt(await view(3), 'reasons'));
    expect(first).toMatch(/^CPUID \(10\): 3 · 75 % · \d+ instructions on average$/);
    expect(second).toBe('VMCALL (18): 1 · 25 %');
  });

  it('shows older ones when asked for, and those of some reasons only', async () => {
    const content = await view(150);
    const older = content.rows.at(-1);
    expect(older).toMatchObject({ label: 'Older exits', description: 'before #51' });
    const rows = (await older?.children?.()) ?? [];
    expect([rows[0]?.id, rows.at(-1)?.id]).toEqual(['exit/50', 'exit/0']);
    const filtered = await view(5, [18]);
    expect(filtered.message).toBe('Only VMCALL.');
    expect(filtered.rows.map(({ label }) => label)).toEqual(['By reason', '#5 VMCALL']);
  });

  it('has an id for each row that no other has', async () => {
    const ids = await allIds((await view(120)).rows, 3);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('says so where there is none', async () => {
    const none = {
      structure: 'VMCS' as const,
      total: 0,
      kept: 0,
      hasMore: false,
      exits: [],
      reasons: [],
      canGoBack: true,
    };
    expect(await exitsView()(asking({ 'ringside/exitLog': () => none }))).toMatchObject({
      message: expect.stringContaining('No VM exit yet.'),
    });
  });
});
