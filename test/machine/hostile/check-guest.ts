/**
 * What must hold for every guest, however hostile: each run returns, and soon; nothing throws; looking changes nothing;
 * and neither slices, nor stops, nor looking change what the guest does.
 */
import { createMachine, type Machine, type Stop, stopFilters } from '../../../engine/index.ts';
import type { HostileGuest } from './hostile-guest.ts';
import { Random } from './random.ts';
import { at } from './tables.ts';

/** Instructions that a program runs at most. */
const INSTRUCTIONS = 2000;
/** Calls of `run`, and their time, after which a program that does not get further is given up. */
const IDLE_CALLS = 100;
const IDLE_MS = 1000;
/** A call of `run` for so few instructions takes milliseconds; this is for a machine that is busy with other things. */
const WATCHDOG_MS = 3000;

/** Stops after which nothing more can run. */
const FINAL: readonly Stop['kind'][] = ['exited', 'halted', 'shutdown', 'unimplemented'];

const STORM = 'storm';

export interface Outcome {
  readonly stop: string;
  readonly instructions: number;
  readonly hash: string;
  /** TLB, mode and registers: what a hash does not tell apart when they differ. */
  readonly state: string;
}

/** What is done to the guest between its slices, and how long these are. */
interface Treatment {
  readonly slice: () => number;
  readonly prepare?: (machine: Machine) => void;
  readonly between?: (machine: Machine) => void;
}

/** Throws an error that names the seed where one of the invariants is broken. */
export function checkGuest(guest: HostileGuest): Outcome {
  const expected = run(guest, { slice: () => INSTRUCTIONS });
  for (const [how, treatment] of Object.entries(treatments(new Random(guest.seed)))) {
    compare(guest, how, run(guest, treatment), expected);
  }
  return expected;
}

export function treatments(random: Random): Readonly<Record<string, Treatment>> {
  const slice = () => 1 + random.below(random.pick([3, 100, 1000]));
  return {
    'in slices': { slice },
    'looked at': { slice, between: (machine) => void (random.once(5) && look(machine)) },
    'with everything armed': { slice, prepare: arm, between: rearm(random) },
  };
}

function compare({ name }: HostileGuest, how: string, found: Outcome, expected: Outcome): void {
  // A storm of exceptions or a REP of billions retires nothing: how far it got is no property of the guest.
  if (found.stop === STORM || expected.stop === STORM) return;
  for (const what of ['stop', 'instructions', 'state', 'hash'] as const) {
    if (found[what] === expected[what]) continue;
    const difference = what === 'state' ? firstDifference(`${found.state}`, `${expected.state}`) : '';
    const both = what === 'state' ? difference : `expected ${expected[what]}, found ${found[what]}`;
    throw new Error(`${name}, ${how}: ${what} differs after ${expected.instructions} instructions: ${both}`);
  }
}

function firstDifference(found: string, expected: string): string {
  let i = 0;
  while (found[i] === expected[i]) i++;
  const around = (text: string): string => text.slice(Math.max(0, i - 120), i + 80);
  return `expected …${around(expected)}…, found …${around(found)}…`;
}

/** Up to an instruction count, which every treatment meets exactly, or to the end. */
function run(guest: HostileGuest, { slice, prepare, between }: Treatment): Outcome {
  const machine = createMachine(guest.config);
  prepare?.(machine);
  let stop: Stop = { kind: 'limit' };
  const idle = { calls: 0, since: performance.now() };
  while (machine.instructionCount < INSTRUCTIONS && !FINAL.includes(stop.kind)) {
    const before = machine.instructionCount;
    stop = timed(guest, machine, Math.min(slice(), INSTRUCTIONS - before));
    if (machine.instructionCount > before) Object.assign(idle, { calls: 0, since: performance.now() });
    else if (++idle.calls > IDLE_CALLS || performance.now() - idle.since > IDLE_MS) return outcome(machine, STORM);
    between?.(machine);
  }
  return outcome(machine, FINAL.includes(stop.kind) ? JSON.stringify(stop) : 'limit');
}

const outcome = (machine: Machine, stop: string): Outcome => ({
  stop,
  instructions: machine.instructionCount,
  hash: machine.stateHash(),
  state: stateOf(machine),
});

function timed({ name }: HostileGuest, machine: Machine, instructions: number): Stop {
  const begun = performance.now();
  const stop = machine.run({ instructions });
  const took = performance.now() - begun;
  if (took > WATCHDOG_MS) {
    throw new Error(`${name}: a run of ${instructions} instructions took ${Math.round(took)} ms at ${where(machine)}`);
  }
  return stop;
}

export const where = (machine: Machine): string =>
  `RIP 0x${machine.vcpus[0]?.rip.toString(16)}, instruction ${machine.instructionCount}`;

const plain = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? value.toString(16) : value);

export function stateOf(machine: Machine): string {
  const [vcpu] = machine.vcpus;
  return JSON.stringify([vcpu?.mode(), vcpu?.registers(), vcpu?.tlb()], plain);
}

// ---- looking ---------------------------------------------------------------------------------------------------------

const LINEAR = [
  0n,
  0x8000n,
  BigInt(at.data),
  0xfee0_0000n,
  0xfeb0_0000n,
  0xffff_ffffn,
  0x8000_0000_0000n,
  2n ** 64n - 1n,
];
const SPACES = ['linear', 'guest-physical', 'host-physical'] as const;

/** Asks for everything that views show. */
function look(machine: Machine): void {
  const before = machine.stateHash();
  for (const vcpu of machine.vcpus) {
    stateOf(machine);
    vcpu.vmcs();
    vcpu.readVmcs('Guest RIP');
    vcpu.handlerFrames();
    for (const name of vcpu.registerNames()) vcpu.readRegister(name);
    for (const linear of [vcpu.rip, vcpu.instructionAddress, ...LINEAR]) {
      for (const access of ['read', 'write', 'execute'] as const) vcpu.translate(linear, access);
      for (const space of SPACES) vcpu.peek(space, linear, 40);
    }
    const { guest, ept } = vcpu.pagingRoots();
    for (const root of [guest, ept]) {
      if (root)
        for (const node of vcpu.pagingChildren(root).slice(0, 4)) if (node.table) vcpu.pagingChildren(node.table);
    }
  }
  machine.virtqueues();
  machine.statistics();
  const after = machine.stateHash();
  if (after !== before) throw new Error(`looking changed the state at ${where(machine)}`);
}

// ---- stops -----------------------------------------------------------------------------------------------------------

/** Every filter, with conditions that look at the event and seldom hold; breakpoints and watches where code and data are. */
function arm(machine: Machine): void {
  let events = 0;
  for (const filter of stopFilters) {
    machine.setFilter(filter, true, (event) => {
      if (event.title === '' || event.explanation.length === 0) throw new Error(`${event.filter} explains nothing`);
      return ++events % 5 === 0;
    });
  }
  machine.onEvent = (event) => void JSON.stringify(event, plain);
}

function rearm(random: Random): (machine: Machine) => void {
  return (machine) => {
    if (!random.once(4)) return;
    const code = () => BigInt(at.code + random.below(0x1000));
    machine.setBreakpoints(Array.from({ length: 5 }, code));
    const lengthBytes = 1 + random.below(64);
    const memory = (base: number) => {
      const address = BigInt(base + random.below(0x1000));
      return { kind: 'memory', address, lengthBytes } as const;
    };
    machine.setWatches([
      { target: memory(at.data), read: random.once(2), write: true },
      { target: memory(at.code), read: false, write: true },
    ]);
  };
}
