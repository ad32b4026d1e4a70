/** The recorded runs of the guests: made by `npm run lockstep -- --record`, replayed by lockstep.test.ts. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Departures } from './compare.ts';
import { QEMU_DEPARTURES } from './qemu/registers.ts';
import type { Step } from './state.ts';
import { readTrace, writeTrace } from './trace.ts';

export type Judge = 'kvm' | 'qemu';
/** By name, whom a guest's run is heard from. */
export const GUESTS: Readonly<Record<string, Judge>> = {
  real: 'kvm',
  protected: 'kvm',
  rings: 'qemu',
  long: 'qemu',
  'random-16': 'qemu',
  'random-32': 'qemu',
  'random-32-ring-3': 'qemu',
  'random-64': 'qemu',
  'random-64-ring-3': 'qemu',
  'random-compatibility': 'qemu',
  'random-compatibility-ring-3': 'qemu',
};

/** What they do not show. */
export const DEPARTURES: Readonly<Record<Judge, Departures>> = { kvm: {}, qemu: QEMU_DEPARTURES };

const fileOf = (name: string): string => path.resolve(`test/lockstep/data/${name}.txt.gz`);

export const readRecorded = (name: string): Step[] => readTrace(gunzipSync(readFileSync(fileOf(name))).toString());

export function recordTrace(name: string, steps: readonly Step[]): void {
  writeFileSync(fileOf(name), gzipSync(writeTrace(steps), { level: 9 }));
}
