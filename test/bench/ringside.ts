/** Ringside as one of the emulators: a process of node for each run. */
import { spawn } from 'node:child_process';
import type { Armament } from './armament.ts';
import { type Emulator, endAfter, type GuestImage, type GuestRun, lastLines, type RunSettings } from './emulator.ts';
import type { Work } from './work-marks.ts';

type Line = Work | { readonly ended: true; readonly failure?: string; readonly peakMib: number };

/** @param program the bundle of ringside-process.ts */
export function ringside(program: string, name: string, armament: Armament): Emulator {
  const run = (guest: GuestImage, { clock, limitSeconds }: RunSettings) =>
    runProcess([program, guest.elf, guest.commandLine, clock, JSON.stringify(armament)], limitSeconds);
  return { name, programs: [], lacks: [], run };
}

function runProcess(command: readonly string[], limitSeconds: number): Promise<GuestRun> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, command, {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const limit = endAfter(child, limitSeconds);
    const errors = lastLines(child);
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
    child.on('error', reject);
    child.on('close', (status, signal) => {
      const lines = text.split('\n').slice(0, -1);
      const how = limit.reached()
        ? `stopped after ${limitSeconds} s`
        : `node ended with ${status ?? signal}${errors()}`;
      limit.clear();
      resolve(
        readRun(
          lines.map((line): Line => JSON.parse(line)),
          how,
        ),
      );
    });
  });
}

function readRun(lines: readonly Line[], withoutEnd: string): GuestRun {
  const works = lines.filter((line): line is Work => !('ended' in line));
  const end = lines.find((line) => 'ended' in line);
  if (end === undefined) return { works, failure: withoutEnd, peakMib: undefined };
  return { works, failure: end.failure, peakMib: end.peakMib };
}
