/**
 * What time is measured by. A busy computer makes everything take longer on the wall, but hardly uses more of the
 * processor for it.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** The wall's, or the processor time that all threads of the emulator's process have used. */
export const CLOCKS = ['wall', 'cpu'] as const;
export type Clock = (typeof CLOCKS)[number];

const NS_PER_MS = 1e6;
const US_PER_MS = 1e3;
/** USER_HZ is 100. */
const MS_PER_TICK = 10;
/** Fields of /proc/PID/stat (proc(5)), counted from that after the program's name. */
const USER_TIME = 11;
const SYSTEM_TIME = 12;

/** Milliseconds, by the clock of the process that asks. */
export function ownMs(clock: Clock): number {
  if (clock === 'wall') return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / US_PER_MS;
}

/** Milliseconds, by the clock of another process, which must not have been reaped. Processor time: on Linux only. */
export function processMs(clock: Clock, pid: number | undefined): number {
  if (clock === 'wall') return performance.now();
  return Math.max(msOfThreads(`/proc/${pid}/task`), msOfProcess(`/proc/${pid}/stat`));
}

/** Exact, but without threads that have ended. */
function msOfThreads(folder: string): number {
  const ns = readdirSync(folder).map((thread) => Number(firstWord(`${folder}/${thread}/schedstat`)));
  return ns.reduce((sum, one) => sum + one, 0) / NS_PER_MS;
}

/** A thread may end just then. */
function firstWord(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1').split(' ')[0];
  } catch {
    return '0';
  }
}

/** Of all threads that there ever were, also when the process has ended; in whole ticks. */
function msOfProcess(file: string): number {
  const afterName = readFileSync(file, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(afterName[USER_TIME]) + Number(afterName[SYSTEM_TIME])) * MS_PER_TICK;
}
