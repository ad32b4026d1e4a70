import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { available } from '../support/judges.ts';
import { runElfUnderBochs, runUnderBochs, SAMPLES } from './judges.ts';

describe.skipIf(!available('nasm', 'bochs'))('Bochs prints what is expected of the sample', () => {
  // The judge of VMX: QEMU's TCG has none. After a change to the sample: `vitest -u` on this file.
  test('tiny-hypervisor', async () => {
    const { output } = await runUnderBochs('tiny-hypervisor');
    await expect(output).toMatchFileSnapshot(path.join(SAMPLES, 'tiny-hypervisor/expected-output.txt'));
  });

  test('c-hypervisor', async () => {
    const { output } = await runElfUnderBochs('c-hypervisor');
    await expect(output).toMatchFileSnapshot(path.join(SAMPLES, 'c-hypervisor/expected-output.txt'));
  });

  // A second opinion. `paging` is not asked: Bochs's CPU of this model has no 1 GiB pages.
  test('sensitive', async () => {
    const { output } = await runUnderBochs('sensitive');
    expect(output).toBe(readFileSync(path.join(SAMPLES, 'sensitive/expected-output.txt'), 'latin1'));
  });
});
