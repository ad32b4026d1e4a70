/**
 * The process that runs one guest under Ringside, so that every run begins with nothing compiled and a guest that
 * hangs can be killed: `node ringside-process.mjs ELF COMMAND-LINE CLOCK ARMAMENT`. Each finished work is a line of JSON on stdout; the
 * last line says how the guest ended.
 */
import { bootGuest, MIB } from '../support/guests.ts';
import { type Armament, ArmedRun } from './armament.ts';
import { type Clock, ownMs } from './clock.ts';
import { MEMORY_MIB } from './emulator.ts';
import { WorkMarks } from './work-marks.ts';

/** A work's marks are printed by as many instructions that are events. */
const EVENTS_OF_A_MARK = 500;

const [elf = '', commandLine = '', clock = '', armament = ''] = process.argv.slice(2);
const guest = await bootGuest(elf, { commandLine, memoryBytes: MEMORY_MIB * MIB });
const { machine } = guest;
const armed = new ArmedRun(machine, JSON.parse(armament) as Armament);
const marks = new WorkMarks();
let reported = 0;

function report(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

machine.onOutput = (_source, bytes) => {
  const now = { ms: ownMs(clock as Clock), instructions: machine.instructionCount };
  marks.feed(String.fromCharCode(...bytes), now);
  for (; reported < marks.works.length; reported++) report(marks.works[reported]);
};

let failure: string | undefined;
try {
  const stop = armed.run();
  const detail = 'explanation' in stop ? stop.explanation : 'what' in stop ? stop.what : '';
  const rip = `at RIP 0x${machine.vcpus[machine.currentVcpu]?.rip.toString(16)}`;
  failure = marks.failure(`${[stop.kind, detail].filter((part) => part !== '').join(': ')} ${rip}`);
} catch (error) {
  failure = marks.failure(error instanceof Error ? error.message : String(error));
}
failure ??= askedTooOften();
report({ ended: true, failure, peakMib: process.resourceUsage().maxRSS / 1024 });

/** A condition that is asked all the time measures something else than one that waits for its event. */
function askedTooOften(): string | undefined {
  const often = [...armed.asked].filter(([, times]) => times > EVENTS_OF_A_MARK * (marks.works.length + 1));
  const told = often.map(([filter, times]) => `${filter} occurred ${times} times`);
  return told.length === 0 ? undefined : `the guest is said not to do so, but ${told.join(', ')}`;
}
