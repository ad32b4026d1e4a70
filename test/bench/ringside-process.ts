/**
 * The process that runs one guest under Ringside, so that every run begins with nothing compiled and a guest that
 * hangs can be killed: `node ringside-process.mjs ELF COMMAND-LINE`. Each finished work is a line of JSON on stdout; the
 * last line says how the guest ended.
 */
import { bootGuest, MIB } from '../support/guests.ts';
import { MEMORY_MIB } from './emulator.ts';
import { WorkMarks } from './work-marks.ts';

const [elf = '', commandLine = ''] = process.argv.slice(2);
const guest = await bootGuest(elf, { commandLine, memoryBytes: MEMORY_MIB * MIB });
const { machine } = guest;
const marks = new WorkMarks();
let reported = 0;

function report(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

machine.onOutput = (_source, bytes) => {
  const now = { ms: performance.now(), instructions: machine.instructionCount };
  marks.feed(String.fromCharCode(...bytes), now);
  for (; reported < marks.works.length; reported++) report(marks.works[reported]);
};

let failure: string | undefined;
try {
  const stop = machine.run();
  const detail = 'explanation' in stop ? stop.explanation : 'what' in stop ? stop.what : '';
  const rip = `at RIP 0x${machine.vcpus[machine.currentVcpu]?.rip.toString(16)}`;
  failure = marks.failure(`${[stop.kind, detail].filter((part) => part !== '').join(': ')} ${rip}`);
} catch (error) {
  failure = marks.failure(error instanceof Error ? error.message : String(error));
}
report({ ended: true, failure });
