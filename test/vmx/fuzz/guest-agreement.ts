/** A random guest interpreted, compiled, and cut into other slices: the state has to be the same at every stop. */
import { assemble } from '../../../debug-adapter/assembler/index.ts';
import { DEFAULT_HOT_SPOTS, type HotSpotOptions } from '../../../engine/exec/compiler/hot-spots.ts';
import type { MachineConfig, Stop } from '../../../engine/index.ts';
import { Machine } from '../../../engine/machine/machine.ts';
import { Random } from '../../machine/hostile/random.ts';
import { source } from '../bare-hypervisor.ts';
import { randomGuest } from './random-guest.ts';

const NEVER: HotSpotOptions = { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 };
const AT_ONCE: HotSpotOptions = { ...DEFAULT_HOT_SPOTS, hotAfter: 1, watchedBlocks: 2 };
/** More than any guest needs, unless it traps after each instruction. */
const INSTRUCTIONS = 400_000;
const [TURNS, SLICES] = [5, 12];

function configOf(text: string): MachineConfig {
  const { image, origin, diagnostics } = assemble({ path: 'guest.asm', text }, { readFile: () => undefined });
  const [error] = diagnostics.filter(({ severity }) => severity === 'error');
  if (error || !image) throw new Error(`${error?.line}: ${error?.message}`);
  return {
    program: { segments: [{ address: origin, bytes: image }], entry: { mode: 'long', address: origin } },
    memoryBytes: 4 * 2 ** 20,
    cpus: 1,
    virtualization: 'none',
  };
}

const told = (stop: Stop, machine: Machine): string =>
  `${stop.kind} ${'code' in stop ? stop.code : ''} after ${machine.instructionCount}, state ${machine.stateHash()}`;

export interface GuestRun {
  readonly instructions: number;
  readonly regions: number;
  /** Exit code of the hypervisor: the exit reason that nothing handles; undefined if it still runs. */
  readonly code: number | undefined;
}

/** Runs to the end, or so far, in slices of any length. */
function inPieces(random: Random, machine: Machine): Stop {
  let stop: Stop = { kind: 'limit' };
  const longest = random.pick([50, 700, 9000]);
  while (stop.kind === 'limit' && machine.instructionCount < INSTRUCTIONS) {
    stop = machine.run({ instructions: 1 + random.below(longest) });
  }
  return stop;
}

/** Throws what differs. */
export function tryGuest(seed: number): GuestRun {
  const random = new Random(seed);
  const config = configOf(source(randomGuest(random)));
  const interpreted = new Machine(config, { hotSpots: NEVER });
  const compiled = new Machine(config, { hotSpots: AT_ONCE });
  let stop: Stop = { kind: 'limit' };
  for (let turn = 0; turn < TURNS && stop.kind === 'limit'; turn++) {
    let other: Stop = stop;
    for (let rest = SLICES; rest > 0 && stop.kind === 'limit'; rest--) {
      const isLast = rest === 1 && turn === TURNS - 1;
      const slice = { instructions: isLast ? INSTRUCTIONS : 1 + random.below(3000) };
      stop = interpreted.run(slice);
      other = compiled.run(slice);
    }
    const [wanted, found] = [told(stop, interpreted), told(other, compiled)];
    if (found !== wanted) throw new Error(`turn ${turn}: interpreted ${wanted}, compiled ${found}`);
  }
  if (stop.kind === 'exited') {
    const cut = new Machine(config, { hotSpots: AT_ONCE });
    const [wanted, found] = [told(stop, interpreted), told(inPieces(random, cut), cut)];
    if (found !== wanted) throw new Error(`in other slices: ${found}, not ${wanted}`);
  }
  return {
    instructions: interpreted.instructionCount,
    regions: compiled.host.executor.regions.compiledSoFar,
    code: stop.kind === 'exited' ? stop.code : undefined,
  };
}
