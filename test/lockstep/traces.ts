/** The recorded runs of the guests: made by `npm run lockstep -- --record`, replayed by lockstep.test.ts. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Step } from './state.ts';
import { readTrace, writeTrace } from './trace.ts';

export const GUESTS = ['real', 'protected'] as const;

const fileOf = (name: string): string => path.resolve(`test/lockstep/data/${name}.txt.gz`);

export const readRecorded = (name: string): Step[] => readTrace(gunzipSync(readFileSync(fileOf(name))).toString());

export function record(name: string, steps: readonly Step[]): void {
  writeFileSync(fileOf(name), gzipSync(writeTrace(steps), { level: 9 }));
}
