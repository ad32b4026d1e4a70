/** Runs guests on all emulators in turn, and holds what they compute against what is right. */
import type { Clock } from './clock.ts';
import type { Emulator, GuestImage, GuestRun } from './emulator.ts';
import type { Group, Guest, Size } from './guests.ts';
import type { Work } from './work-marks.ts';

/** No run takes longer, in seconds. */
const LIMIT_SECONDS: Readonly<Record<Size, number>> = { full: 600, quick: 60, long: 600 };

/** All samples of one piece of work. */
export interface WorkSamples {
  readonly guest: string;
  readonly group: Group;
  readonly work: string;
  /** Guest instructions, as Ringside counts them; undefined if it never came to the end of the work. */
  instructions: number | undefined;
  /** By emulator's name: seconds, a sample a round. */
  readonly seconds: Map<string, number[]>;
}

export interface Failure {
  readonly guest: string;
  readonly emulator: string;
  readonly message: string;
}

/** The memory that a guest's run takes. */
export interface MemorySamples {
  readonly guest: string;
  /** By emulator's name: the peak of its process in MiB, a sample a round. */
  readonly peakMib: Map<string, number[]>;
}

export interface Measurements {
  readonly samples: readonly WorkSamples[];
  readonly memory: readonly MemorySamples[];
  readonly failures: readonly Failure[];
}

export interface MeasureOptions {
  readonly size: Size;
  readonly rounds: number;
  readonly clock: Clock;
  /** The first is Ringside. */
  readonly emulators: readonly Emulator[];
  pathOf(guest: Guest): string;
  progress(text: string): void;
}

/**
 * The emulators take turns, there and back, so that whatever else the computer does, and however warm it has become, hits
 * all of them alike.
 */
export async function measureGuest(guest: Guest, options: MeasureOptions): Promise<Measurements> {
  const samples = Object.keys(guest.works).map(
    (work): WorkSamples => ({
      guest: guest.name,
      group: guest.group,
      work,
      instructions: undefined,
      seconds: new Map(),
    }),
  );
  const memory: MemorySamples = { guest: guest.name, peakMib: new Map() };
  const failures = new Map<string, Failure>();
  const able = options.emulators.filter(({ lacks }) => !guest.needs.some((feature) => lacks.includes(feature)));
  const image: GuestImage = { elf: options.pathOf(guest), commandLine: guest.commandLine[options.size] ?? '' };
  const settings = { clock: options.clock, limitSeconds: LIMIT_SECONDS[options.size] };
  for (let round = 1; round <= options.rounds; round++) {
    const turns = round % 2 === 1 ? able : [...able].reverse();
    for (const emulator of turns.filter(({ name }) => !failures.has(name))) {
      options.progress(`${guest.name} on ${emulator.name}, round ${round} of ${options.rounds}`);
      const run = await emulator.run(image, settings);
      if (run.peakMib !== undefined) add(memory.peakMib, emulator.name, run.peakMib);
      const message = takeRun(run, guest, options.size, emulator.name, samples);
      if (message !== undefined) failures.set(emulator.name, { guest: guest.name, emulator: emulator.name, message });
    }
  }
  return { samples, memory: [memory], failures: [...failures.values()] };
}

function add(samples: Map<string, number[]>, emulator: string, sample: number): void {
  samples.set(emulator, [...(samples.get(emulator) ?? []), sample]);
}

export function joined(all: readonly Measurements[]): Measurements {
  return {
    samples: all.flatMap(({ samples }) => samples),
    memory: all.flatMap(({ memory }) => memory),
    failures: all.flatMap(({ failures }) => failures),
  };
}

/** Adds a run's times to the samples; says what is wrong with the run, if anything. */
function takeRun(run: GuestRun, guest: Guest, size: Size, emulator: string, samples: WorkSamples[]) {
  const wrong = run.works.flatMap((work) => wrongChecksum(work, guest, size));
  if (wrong.length > 0) return wrong.join('; ');
  for (const work of run.works) {
    const sample = samples.find((one) => one.work === work.name);
    if (sample === undefined) continue;
    sample.instructions ??= work.instructions;
    if (work.instructions !== undefined && work.instructions !== sample.instructions) {
      return `${work.name} took ${work.instructions} instructions, in an earlier run ${sample.instructions}`;
    }
    add(sample.seconds, emulator, work.seconds);
  }
  const missing = samples.find((sample) => !run.works.some((work) => work.name === sample.work));
  return run.failure ?? (missing === undefined ? undefined : `${missing.work} was not done`);
}

function wrongChecksum({ name, checksum }: Work, guest: Guest, size: Size): string[] {
  const expected = guest.works[name]?.[size];
  return checksum === expected ? [] : [`${name} computed ${checksum}, expected ${expected ?? 'no such work'}`];
}
