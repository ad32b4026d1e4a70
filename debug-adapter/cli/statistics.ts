import type { MachineControl } from '../engine-target.ts';

/** One line of JSON for --stats json. */
export function statisticsLine(control: MachineControl, seconds: number): string {
  const { instructions, exitsByReason, tlbHits, tlbMisses } = control.statistics();
  const mips = seconds > 0 ? instructions / seconds / 1e6 : 0;
  return JSON.stringify({
    instructions,
    seconds: Number(seconds.toFixed(6)),
    mips: Number(mips.toFixed(3)),
    exits: Object.values(exitsByReason).reduce((sum, count) => sum + count, 0),
    exitsByReason,
    tlbHits,
    tlbMisses,
  });
}
