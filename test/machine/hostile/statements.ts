/**
 * Random statements of a hostile guest, as assembly text: what a CPU and its devices are most easily confused by. Each
 * kind is a function; their weights are in the table.
 */
import { BITS, PIECES } from './frame.ts';
import type { Writer } from './operands.ts';
import { arithmetic, loop, memory, noise, selfModifying, string } from './ordinary-statements.ts';
import type { Random } from './random.ts';
import {
  controlRegister,
  debugRegister,
  descriptorTable,
  deviceMemory,
  farTransfer,
  flagsAndWaits,
  interrupt,
  interruptReturn,
  msr,
  pageTables,
  portAccess,
  segmentLoad,
} from './system-statements.ts';
import type { EntryMode } from './tables.ts';
import { vmx } from './vmx-statements.ts';

const kinds: readonly (readonly [weight: number, statement: (w: Writer) => string])[] = [
  [14, arithmetic],
  [10, memory],
  [4, string],
  [3, loop],
  [4, selfModifying],
  [4, noise],
  [4, controlRegister],
  [3, debugRegister],
  [4, msr],
  [4, descriptorTable],
  [5, segmentLoad],
  [4, farTransfer],
  [4, interruptReturn],
  [5, flagsAndWaits],
  [4, interrupt],
  [5, portAccess],
  [4, deviceMemory],
  [5, pageTables],
  [6, vmx],
];
const total = kinds.reduce((sum, [weight]) => sum + weight, 0);

function statement(w: Writer): string {
  let chosen = w.random.below(total);
  for (const [weight, make] of kinds) {
    chosen -= weight;
    if (chosen < 0) return make(w);
  }
  throw new Error('the weights do not add up');
}

/** The pieces of a program in its mode's code size. */
export function randomPieces(mode: EntryMode, random: Random): string[] {
  let labels = 0;
  const writer: Writer = { random, mode, label: () => `label${labels++}` };
  return Array.from({ length: PIECES }, () =>
    [`bits ${BITS[mode]}`, ...Array.from({ length: 1 + random.below(8) }, () => statement(writer))].join('\n'),
  );
}
