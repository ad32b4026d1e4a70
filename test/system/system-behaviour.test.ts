/**
 * System behaviour of the CPU in bare guests, as Bochs shows it; QEMU's TCG, where Bochs lacks a feature. Of the others it is
 * no judge: it knows neither segment limits nor RF nor the enhancements of virtual-8086 mode. UMIP, SMEP and SMAP both have.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { testJudgedGuest } from '../support/judged-guests.ts';
import { bootSourceFile } from '../support/source-guests.ts';
import { systemGuests } from './system-guests.ts';

/** The same under the built-in hypervisor, where the guest's address space is the hypervisor's to leave alone. */
const alsoUnderHypervisor: readonly string[] = ['five-level-paging'];

for (const [name, judges, bochsModel] of systemGuests) {
  describe(name, () => {
    const source = fileURLToPath(new URL(`guests/${name}.asm`, import.meta.url));
    testJudgedGuest({ source, judges, bochsModel });
    if (!alsoUnderHypervisor.includes(name)) return;
    test('under the built-in hypervisor', () => {
      const { machine, output } = bootSourceFile(source, { mode: 'protected', virtualization: 'hardware' });
      expect(machine.run({ instructions: 20_000_000 })).toMatchObject({ kind: 'exited', code: 0 });
      expect(output()).toBe(readFileSync(source.replace(/asm$/, 'txt'), 'latin1'));
    });
  });
}
