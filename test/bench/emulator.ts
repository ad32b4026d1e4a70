/** What the benchmark asks of anything that can run a guest: Ringside, and the machines it is compared with. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type Clock, processMs } from './clock.ts';
import type { Feature } from './guests.ts';
import { type Work, WorkMarks } from './work-marks.ts';

/** One run of one guest: the work it did, and why it did not come to its end, if so. */
export interface GuestRun {
  readonly works: readonly Work[];
  readonly failure: string | undefined;
  /** The most memory that the process had resident, if the host tells. */
  readonly peakMib: number | undefined;
}

export interface GuestImage {
  /** Path of the Multiboot ELF32 file. */
  readonly elf: string;
  /** What follows the program's name on the Multiboot command line. */
  readonly commandLine: string;
}

export interface Emulator {
  readonly name: string;
  /** Programs that must be installed. */
  readonly programs: readonly string[];
  readonly lacks: readonly Feature[];
  run(guest: GuestImage, settings: RunSettings): Promise<GuestRun>;
}

export interface RunSettings {
  readonly clock: Clock;
  /** No run takes longer, on the wall. */
  readonly limitSeconds: number;
}

/** RAM of every machine: the guests use up to 256 MiB. */
export const MEMORY_MIB = 256;

/** Starts a program whose standard output is the guest's console, and ends it when the guest says that it exits. */
export function runConsole(
  program: string,
  options: readonly string[],
  { clock, limitSeconds }: RunSettings,
): Promise<GuestRun> {
  return new Promise((resolve, reject) => {
    const marks = new WorkMarks();
    const child = spawn(program, options, { stdio: ['ignore', 'pipe', 'pipe'] });
    const limit = endAfter(child, limitSeconds);
    let peakMib: number | undefined;
    child.stdout.setEncoding('latin1').on('data', (text: string) => {
      marks.feed(text, { ms: processMs(clock, child.pid), instructions: undefined });
      if (marks.exitCode === undefined) return;
      peakMib ??= peakMemoryMib(child.pid);
      child.kill('SIGKILL');
    });
    const errors = lastLines(child);
    child.on('error', reject);
    child.on('close', (status, signal) => {
      const how = limit.reached() ? `stopped after ${limitSeconds} s` : `ended with ${status ?? signal}`;
      limit.clear();
      resolve({ works: marks.works, failure: marks.failure(`${program} ${how}${errors()}`), peakMib });
    });
  });
}

/** As Linux keeps it, of a process that is still there. */
function peakMemoryMib(pid: number | undefined): number | undefined {
  try {
    const kib = /^VmHWM:\s*(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return kib === undefined ? undefined : Number(kib) / 1024;
  } catch {
    return undefined;
  }
}

/** Kills the process after a time. */
export function endAfter(child: ChildProcess, seconds: number) {
  let reached = false;
  const timer = setTimeout(() => {
    reached = true;
    child.kill('SIGKILL');
  }, seconds * 1000);
  return { reached: () => reached, clear: () => clearTimeout(timer) };
}

/** The end of what the process writes to stderr, for a message. */
export function lastLines(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.setEncoding('latin1').on('data', (more: string) => {
    text = (text + more).slice(-300);
  });
  return () => (text.trim() === '' ? '' : ` (${text.trim().split('\n').at(-1)})`);
}
