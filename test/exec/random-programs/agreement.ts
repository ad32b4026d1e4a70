/** Runs a program interpreted and compiled, side by side, and finds the first stop at which they differ. */

import { setImmediate } from 'node:timers/promises';
import { DEFAULT_HOT_SPOTS, type HotSpotOptions } from '../../../engine/exec/compiler/hot-spots.ts';
import type { RunOptions, Stop, WatchTarget } from '../../../engine/index.ts';
import { Machine } from '../../../engine/machine/machine.ts';
import { architecturalState } from '../../../engine/machine/platform.ts';
import { Random } from '../../machine/hostile/random.ts';
import type { AssembledProgram } from './program.ts';
import { data } from './writer.ts';

/** How far a program runs at most. */
export interface Extent {
  readonly instructions: number;
  readonly stops: number;
}
/** Enough for a program to show what it can. */
export const WHOLE: Extent = { instructions: 60_000, stops: 200 };
const FINAL: readonly Stop['kind'][] = ['exited', 'halted', 'shutdown', 'unimplemented'];

const NEVER: HotSpotOptions = { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 };
const AT_ONCE: readonly [string, HotSpotOptions] = ['compiled at once', { hotAfter: 1, watchedBlocks: 2 }];
const WHEN_HOT: readonly [string, HotSpotOptions] = ['compiled when hot', DEFAULT_HOT_SPOTS];
/** Compiled by the host between the runs, several together. */
const AT_LEISURE: readonly [string, HotSpotOptions] = [
  'compiled at leisure',
  { hotAfter: 1, watchedBlocks: 2, warmAfter: -1 },
];

export interface Run {
  readonly difference: Difference | undefined;
  readonly instructions: number;
  readonly regions: number;
  /** How the last stop came. */
  readonly end: Stop['kind'];
}

export interface Difference {
  readonly execution: string;
  /** Number of the stop, from 0, and the instructions until then in the interpreter. */
  readonly stop: number;
  readonly instructions: number;
  /** What differs, in words. */
  readonly what: readonly string[];
}

interface Contestant {
  readonly name: string;
  readonly machine: Machine;
}

export async function runBoth(program: AssembledProgram, extent: Extent): Promise<Run> {
  const machine = new Machine(program.config, { hotSpots: NEVER });
  // Most of the time goes into making code, so that what finds less has fewer programs.
  const compilers = [[AT_ONCE, WHEN_HOT], [AT_ONCE, AT_LEISURE], [AT_ONCE]][program.seed % 3] ?? [];
  const compiled = compilers.map(([name, hotSpots]) => ({
    name,
    machine: new Machine(program.config, { hotSpots }),
  }));
  const random = new Random(program.seed + 7);
  const longest = random.pick([20, 200, 1000, 5000]);
  let stop: Stop = { kind: 'limit' };
  let difference: Difference | undefined;
  for (let stops = 0; stops < extent.stops && machine.instructionCount < extent.instructions && !difference; stops++) {
    treat(random, program, [machine, ...compiled.map((contestant) => contestant.machine)]);
    const slice = { instructions: 1 + random.below(random.once(10) ? 5000 : longest) };
    stop = machine.run(slice);
    const expected = { stop, machine, number: stops };
    for (const contestant of compiled)
      difference ??= compare(contestant, runOrThrow(contestant.machine, slice), expected);
    if (FINAL.includes(stop.kind)) break;
    if (compilers.includes(AT_LEISURE)) await setImmediate();
  }
  const regions = compiled.reduce((sum, contestant) => sum + contestant.machine.host.executor.regions.compiledSoFar, 0);
  return { difference, instructions: machine.instructionCount, regions, end: stop.kind };
}

/** A compiler that throws differs, too. */
function runOrThrow(machine: Machine, slice: RunOptions): Stop | { readonly thrown: string } {
  try {
    return machine.run(slice);
  } catch (error) {
    return { thrown: error instanceof Error ? `${error.message}, cause: ${error.cause}` : `${error}` };
  }
}

/** What a debugger does between slices, to all machines alike. */
function treat(random: Random, { labels, mode }: AssembledProgram, machines: readonly Machine[]): void {
  const label = () => BigInt(labels[random.below(labels.length)] ?? 0);
  if (random.once(6)) {
    const breakpoints = Array.from({ length: random.below(4) }, label);
    for (const machine of machines) machine.setBreakpoints(breakpoints);
  }
  if (random.once(12)) {
    const target: WatchTarget = {
      kind: 'memory',
      address: BigInt(data[mode] + random.below(0x2000)),
      lengthBytes: 1 + random.below(16),
    };
    const watches = random.once(2) ? [] : [{ target, read: random.once(2), write: true }];
    for (const machine of machines) machine.setWatches(watches);
  }
  if (random.once(20)) {
    const [address, byte] = [label(), Uint8Array.of(random.pick([0x90, random.below(256)]))];
    for (const machine of machines) machine.vcpus[0]?.poke('host-physical', address, byte);
  }
}

function compare(
  { name, machine }: Contestant,
  stop: ReturnType<typeof runOrThrow>,
  expected: { readonly stop: Stop; readonly machine: Machine; readonly number: number },
): Difference | undefined {
  const what: string[] = [];
  const note = (subject: string, found: string, wanted: string): void => {
    if (found !== wanted) what.push(`${subject}: interpreter ${wanted}, ${name} ${found}`);
  };
  note('stop', text(stop), text(expected.stop));
  note('instructions', `${machine.instructionCount}`, `${expected.machine.instructionCount}`);
  if (!isSame(stateOf(machine), stateOf(expected.machine))) what.push('CPU state');
  note('memory', ...memoryDifference(machine, expected.machine));
  note('devices', devices(machine), devices(expected.machine));
  note('TLB', text(machine.vcpus[0]?.tlb()), text(expected.machine.vcpus[0]?.tlb()));
  if (what.length === 0) return undefined;
  for (const register of expected.machine.vcpus[0]?.registerNames() ?? []) {
    const value = (of: Machine) => `0x${of.vcpus[0]?.readRegister(register)?.toString(16)}`;
    note(register, value(machine), value(expected.machine));
  }
  return { execution: name, stop: expected.number, instructions: expected.machine.instructionCount, what };
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const stateOf = ({ host }: Machine): Uint8Array => architecturalState(host.state.bytes);
const devices = ({ platform }: Machine): string => text([platform.pc.saveState(), platform.apics?.saveState()]);

/** The first byte that differs, in both. */
function memoryDifference({ host: found }: Machine, { host: wanted }: Machine): [string, string] {
  const [a, b] = [found.physical.bytes, wanted.physical.bytes];
  if (isSame(a, b)) return ['', ''];
  const at = a.findIndex((byte, index) => byte !== b[index]);
  const show = (byte: number | undefined) => `[0x${at.toString(16)}] = 0x${byte?.toString(16)}`;
  return [show(a[at]), show(b[at])];
}

const text = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? part.toString(16) : part)) ?? '';
