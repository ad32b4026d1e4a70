/**
 * AMD-V in bare guests, as QEMU's TCG shows it. What that does not have, it cannot judge: nRIP, decode assists, filters of
 * PAUSE.
 */
import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';
import { testJudgedGuest } from '../support/judged-guests.ts';
import { svmGuests } from './svm-guests.ts';

const cpu = { model: 'epyc', features: { NRIPS: false, DecodeAssists: false, LA57: true } } as const;

for (const name of svmGuests) {
  describe(name, () => {
    const source = fileURLToPath(new URL(`guests/${name}.asm`, import.meta.url));
    testJudgedGuest({ source, judges: ['qemu'], options: { cpu } });
  });
}
