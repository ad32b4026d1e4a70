import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { available } from '../support/judges.ts';
import { QEMU_SAMPLES, readExpected, runUnderQemu, SAMPLES } from './judges.ts';

// The committed output of each sample is what QEMU prints. After a change to a sample: `vitest -u` on this file.
describe.skipIf(!available('nasm', 'qemu-system-x86_64'))('QEMU prints what is expected of the sample', () => {
  test.each(QEMU_SAMPLES)('%s', async (sample) => {
    const { output, exitCode } = await runUnderQemu(sample);
    await expect(output).toMatchFileSnapshot(path.join(SAMPLES, sample, 'expected-output.txt'));
    expect(exitCode).toBe(readExpected(sample).exitCode);
  });
});
