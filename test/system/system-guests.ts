/** The guests about system behaviour, and who judges what they print. */
import type { Judge } from '../support/judged-guests.ts';

const LATER_BOCHS = 'tigerlake';

export const systemGuests: readonly (readonly [name: string, judges: readonly Judge[], bochsModel?: string])[] = [
  ['alignment', ['bochs']],
  ['alignment-64', ['bochs']],
  ['code-segment-limit', ['bochs']],
  ['debug', ['bochs']],
  ['event-priorities', ['bochs']],
  ['five-level-paging', ['qemu']],
  ['implicit-accesses', ['qemu']],
  ['protection-keys', ['qemu']],
  ['real-mode', ['bochs']],
  ['long-mode', ['bochs']],
  ['privileges', ['bochs']],
  ['supervisor-mode-prevention', ['qemu', 'bochs'], LATER_BOCHS],
  ['task-switch', ['bochs']],
  ['user-mode-instruction-prevention', ['qemu', 'bochs'], LATER_BOCHS],
  ['user-mode-instruction-prevention-32', ['bochs'], LATER_BOCHS],
  ['vector-extensions', ['bochs']],
  ['virtual-8086', ['bochs']],
  ['virtual-8086-extensions', ['bochs']],
];
