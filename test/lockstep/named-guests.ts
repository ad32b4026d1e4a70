/** Guests by name: those written by hand, and random ones of which runs were recorded with what they were in RAM. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Departures } from './compare.ts';
import { guestFromRam, guestFromSource } from './guest.ts';
import { RANDOM_DEPARTURES } from './random/departures.ts';
import { randomGuest } from './random/guest.ts';
import type { Guest, Step } from './state.ts';
import { DEPARTURES, type Judge, recordTrace } from './traces.ts';

const RANDOM = /^random-(.*)$/;
const ENTRY = 0x1000;
const RECORDED_SEED = 1;

const ramFileOf = (name: string): string => path.resolve(`test/lockstep/data/${name}.ram.gz`);

/** The guest as its run was recorded. */
export const recordedGuest = (name: string): Guest =>
  RANDOM.test(name)
    ? guestFromRam(name, new Uint8Array(gunzipSync(readFileSync(ramFileOf(name)))), ENTRY)
    : guestFromSource(name);

/** The guest as it is made now. */
export function madeGuest(name: string, judge: Judge): Guest {
  const kind = RANDOM.exec(name)?.[1];
  return kind === undefined ? guestFromSource(name) : randomGuest(RECORDED_SEED, kind, judge);
}

export const departuresOf = (name: string, judge: Judge): Departures =>
  (RANDOM.test(name) ? RANDOM_DEPARTURES : DEPARTURES)[judge];

export function record(name: string, { ram }: Guest, steps: readonly Step[]): void {
  if (RANDOM.test(name)) writeFileSync(ramFileOf(name), gzipSync(ram, { level: 9 }));
  recordTrace(name, steps);
}
