/** Holds Ringside's machine against the steps of another one; the first difference with what led to it. */
import { codeSize, linearOfRip } from '../../engine/cpu/modes.ts';
import { DEFAULT_EXTENDED_STATE } from '../vectors/extended-state.ts';
import { STATUS_FLAGS } from '../vectors/layout.ts';
import { definedFlags } from '../vectors/record/defined-flags.ts';
import { decode, format } from '../vectors/record/encodings.ts';
import { LockstepMachine } from './ringside.ts';
import { type Change, GPRS, type Guest, registerOf, STATE_NAMES, type State, type Step } from './state.ts';

const HISTORY = 16;
const TF_RF = 0x1_0100n;
const UNUSABLE = 0x1_0000n;
const ALL_FLAGS = 0xffff_ffff;

/** Parts of the state that a judge does not show as a processor has them, with the reason in README.md. */
export type Departure = (name: string, ours: State, theirs: State) => boolean;
/** Of what a judge writes to memory: whether the bits may differ that `difference` has. */
export type MemoryDeparture = (address: number, difference: number, ours: State) => boolean;

export interface Departures {
  readonly state?: readonly Departure[];
  readonly memory?: readonly MemoryDeparture[];
}

/** Descriptors of a segment register that cannot be used are left over from something else: processors differ. */
export const unusableSegment: Departure = (name, ours) => {
  const [segment, part] = name.split('.');
  return part !== undefined && (registerOf(ours, `${segment}.attributes`) & UNUSABLE) !== 0n;
};

interface Executed {
  readonly text: string;
  /** The bits of RFLAGS that the manual defines. */
  readonly flags: number;
}

export interface CompareOptions {
  readonly watched?: boolean;
  readonly departures?: Departures;
  /** Called with each valid instruction before it is executed. */
  readonly onInstruction?: (mode: 16 | 32 | 64, code: number) => void;
}

/** Follows the steps; the first difference with its history, in words, or undefined. */
export function firstDifference(
  guest: Guest,
  steps: readonly Step[],
  { watched = true, departures = {}, onInstruction }: CompareOptions = {},
): string | undefined {
  const start = steps[0]?.state ?? guest.start;
  const machine = new LockstepMachine({ ...guest, start }, watched);
  const allowed = [unusableSegment, ...(departures.state ?? [])];
  const history: string[] = [];
  for (const [n, theirs] of steps.slice(1).entries()) {
    const before = machine.state();
    const { text, flags } = nextInstruction(machine, before, onInstruction);
    const ours = stepAs(machine, theirs);
    const changes = forgive(machine, ours, theirs, departures.memory ?? []);
    history.push(`${n + 1}: ${text}  ${stateChanges(before, ours.state)}`);
    // What ends a run is an exit of its judge, not a step.
    if (theirs.end === 'halted' || theirs.end === 'shut down') {
      if (ours.end === theirs.end) return undefined;
      return report(guest, history, [`end: expected ${theirs.end}, found ${ours.end ?? 'none'}`]);
    }
    if (theirs.end) return report(guest, history, [`the judge cannot go on: ${theirs.end}`]);
    const differences = [...stateDifferences(ours, theirs, flags, allowed), ...memoryDifferences(changes, theirs)];
    if (differences.length > 0) return report(guest, history, differences);
    machine.adopt(theirs.state, ['rflags']);
  }
  return undefined;
}

/**
 * One step, or as many as the other machine took for one: a repeated instruction is one to its end, and a processor does
 * not trap between a load of SS and the end of the next instruction.
 */
function stepAs(machine: LockstepMachine, theirs: Step): Step {
  const start = registerOf(machine.state(), 'rip');
  let step = machine.step();
  const changes = [...step.changes];
  const isThere = () => registerOf(step.state, 'rip') === registerOf(theirs.state, 'rip');
  const goesOn = () => registerOf(step.state, 'rip') === start || (machine.isInMovSsShadow && !isThere());
  while (goesOn() && !step.end && !theirs.end) {
    step = machine.step();
    changes.push(...step.changes);
  }
  return { ...step, changes };
}

/** What the step changed, without what may differ; in that the machine goes on from what the other one holds. */
function forgive(
  machine: LockstepMachine,
  ours: Step,
  theirs: Step,
  allowed: readonly MemoryDeparture[],
): ReadonlyMap<number, number> {
  const [expected, got] = [bytesOf(theirs.changes), bytesOf(ours.changes)];
  for (const address of allowed.length > 0 ? new Set([...expected.keys(), ...got.keys()]) : []) {
    const before = machine.byteBefore(address);
    const [wanted, byte] = [expected.get(address) ?? before, got.get(address) ?? before];
    if (byte === wanted || !allowed.some((departure) => departure(address, byte ^ wanted, ours.state))) continue;
    // What only the other machine writes is left out: it would not be what this one has to read there.
    if (got.has(address)) machine.adoptByte(address, wanted);
    if (wanted === before) got.delete(address);
    else got.set(address, wanted);
  }
  return got;
}

function nextInstruction(
  machine: LockstepMachine,
  before: State,
  onInstruction: CompareOptions['onInstruction'],
): Executed {
  const { state, mmu } = machine.host;
  const bytes = mmu.peek(linearOfRip(state), 15);
  const instruction = decode(bytes, codeSize(state));
  const place = `${registerOf(before, 'cs').toString(16)}:${registerOf(before, 'rip').toString(16)}`;
  const text = `${place} ${instruction.isInvalid ? '(bad)' : format(instruction)}`;
  if (!instruction.isInvalid) onInstruction?.(codeSize(state), instruction.code);
  const flags = instruction.isInvalid ? ALL_FLAGS : flagsToCompare(codeSize(state), instruction, before);
  instruction.free();
  return { text, flags };
}

function flagsToCompare(mode: 16 | 32 | 64, instruction: Parameters<typeof definedFlags>[1], before: State): number {
  const input = {
    gpr: GPRS.map((name) => registerOf(before, name)),
    rip: registerOf(before, 'rip'),
    flags: Number(registerOf(before, 'rflags')),
    segments: [],
    memory: [],
    extended: DEFAULT_EXTENDED_STATE,
  };
  return (definedFlags(mode, instruction, input) | ~STATUS_FLAGS) >>> 0;
}

function stateDifferences(ours: Step, theirs: Step, flags: number, allowed: readonly Departure[]): string[] {
  const found: string[] = [];
  for (const name of STATE_NAMES) {
    const mask = name === 'rflags' ? BigInt(flags) & ~TF_RF : -1n;
    const [expected, got] = [registerOf(theirs.state, name) & mask, registerOf(ours.state, name) & mask];
    if (expected === got || allowed.some((departure) => departure(name, ours.state, theirs.state))) continue;
    found.push(`${name}: expected ${expected.toString(16)}, found ${got.toString(16)}`);
  }
  return found;
}

function memoryDifferences(got: ReadonlyMap<number, number>, theirs: Step): string[] {
  const found: string[] = [];
  const expected = bytesOf(theirs.changes);
  for (const at of new Set([...expected.keys(), ...got.keys()])) {
    if (expected.get(at) === got.get(at)) continue;
    found.push(`byte ${at.toString(16)}: expected ${hex(expected.get(at))}, found ${hex(got.get(at))}`);
  }
  return found;
}

const hex = (byte: number | undefined): string => (byte === undefined ? 'no change' : byte.toString(16));

/** The last value of each byte. */
const bytesOf = (changes: readonly Change[]): Map<number, number> =>
  new Map(changes.flatMap(({ address, bytes }) => [...bytes].map((byte, n) => [address + n, byte] as const)));

const stateChanges = (before: State, after: State): string =>
  STATE_NAMES.filter((name) => registerOf(before, name) !== registerOf(after, name))
    .map((name) => `${name}=${registerOf(after, name).toString(16)}`)
    .join(' ');

function report(guest: Guest, history: readonly string[], differences: readonly string[]): string {
  return [`${guest.name}:`, ...history.slice(-HISTORY), ...differences.map((line) => `  ${line}`)].join('\n');
}
