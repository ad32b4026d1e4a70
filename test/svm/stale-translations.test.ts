/** The filter "stale translation used" with AMD-V: what it says is missing. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { bootSourceFile } from '../support/source-guests.ts';

const SOURCE = fileURLToPath(new URL('guests/stale.asm', import.meta.url));

test('a nested entry that the host changed, and a change of the guest’s own', () => {
  const { machine, label } = bootSourceFile(SOURCE, { mode: 'protected', cpu: { model: 'epyc' } });
  machine.setFilter('stale-translation', true);
  const next = () => {
    const stop = machine.run({ instructions: 1_000_000 });
    if (stop.kind !== 'event') throw new Error(`stopped by ${stop.kind}`);
    return stop.event;
  };
  const nested = next();
  expect(nested.title).toBe('Stale translation used: read of 0x800000, which the TLB has at 0x800000');
  expect(nested.values).toMatchObject({ table: 'nested', now: 0x80_1000n, non_root: 1n });
  const changed = `last written by MOV at 0x${label('change').toString(16)}`;
  expect(nested.explanation).toEqual([
    expect.stringContaining('the tables now lead to 0x801000'),
    expect.stringMatching(new RegExp(`^The nested paging entry at 0x\\w+ was ${changed}`)),
    expect.stringMatching(/translations of ASID 1 .* VMRUN with TLB_CONTROL 1 or 3 is missing/),
  ]);
  // With TLB_CONTROL 3, nothing is stale.
  const own = next();
  expect(own.title).toContain('read of 0x8000000000');
  expect(own.explanation.at(-1)).toMatch(/^INVLPG 0x8000000000 is missing.*INVLPGA for that address and ASID 1/);
  expect(machine.run({ instructions: 1_000_000 }).kind).toBe('exited');
});
