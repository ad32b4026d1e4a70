/**
 * System behaviour of the CPU in bare guests, as Bochs shows it; QEMU's TCG, where Bochs lacks a feature. Of the others it is
 * no judge: it knows neither segment limits nor RF nor the enhancements of virtual-8086 mode.
 */
import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';
import { type Judge, testJudgedGuest } from '../support/judged-guests.ts';

const guests: readonly (readonly [name: string, judges: readonly Judge[]])[] = [
  ['alignment', ['bochs']],
  ['debug', ['bochs']],
  ['protection-keys', ['qemu']],
  ['real-mode', ['bochs']],
  ['long-mode', ['bochs']],
  ['privileges', ['bochs']],
  ['task-switch', ['bochs']],
  ['vector-extensions', ['bochs']],
  ['virtual-8086', ['bochs']],
  ['virtual-8086-extensions', ['bochs']],
];

for (const [name, judges] of guests) {
  describe(name, () => {
    testJudgedGuest({ source: fileURLToPath(new URL(`guests/${name}.asm`, import.meta.url)), judges });
  });
}
