/** What random guests run in, by name. */
import type { Mode } from '../../vectors/layout.ts';
import type { Judge } from '../traces.ts';

export interface Kind {
  /** Of the code. */
  readonly mode: Mode;
  readonly isIa32e: boolean;
  readonly ring: 0 | 3;
}

export const KINDS: Readonly<Record<string, Kind>> = {
  '16': { mode: 16, isIa32e: false, ring: 0 },
  '32': { mode: 32, isIa32e: false, ring: 0 },
  '32-ring-3': { mode: 32, isIa32e: false, ring: 3 },
  '64': { mode: 64, isIa32e: true, ring: 0 },
  '64-ring-3': { mode: 64, isIa32e: true, ring: 3 },
  compatibility: { mode: 32, isIa32e: true, ring: 0 },
  'compatibility-ring-3': { mode: 32, isIa32e: true, ring: 3 },
};

/** Whether there is paging: a KVM without hardware of its own sets CR0.PG in IA-32e mode only. */
export const hasPaging = ({ mode, isIa32e }: Kind, judge: Judge): boolean =>
  isIa32e || (mode === 32 && judge === 'qemu');

/** A KVM without hardware of its own does not stop after an IRET to an outer ring, and has no far return to one. */
export const isJudged = ({ ring }: Kind, judge: Judge): boolean => ring === 0 || judge === 'qemu';
