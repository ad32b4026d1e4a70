/** Tries programs of consecutive seeds; a finding is shrunk and told as a text. */
import { type Difference, type Extent, runBoth, WHOLE } from './agreement.ts';
import { assembleRandom, type RandomProgram, randomProgram } from './program.ts';

export interface Tally {
  programs: number;
  instructions: number;
  regions: number;
  /** Programs by how they ended. */
  readonly ends: Record<string, number>;
}

/** @throws Error with the seed, the shrunk program and the first stop at which the executions differ */
export async function tryProgram(seed: number, tally: Tally, extent: Extent = WHOLE): Promise<void> {
  const program = randomProgram(seed);
  const { difference, instructions, regions, end } = await runBoth(assembleRandom(program), extent);
  if (difference) throw new Error(await report(program, difference));
  tally.programs++;
  tally.instructions += instructions;
  tally.regions += regions;
  tally.ends[end] = (tally.ends[end] ?? 0) + 1;
}

export const emptyTally = (): Tally => ({ programs: 0, instructions: 0, regions: 0, ends: {} });

async function report(program: RandomProgram, before: Difference): Promise<string> {
  const { lines, difference } = await shrink(program, before);
  const { execution, stop, instructions, what } = difference;
  return [
    `seed ${program.seed} (${program.mode}): ${execution} and interpreted differ at stop ${stop}, instruction ${instructions}:`,
    ...what,
    'The program, without what is not needed for that:',
    ...withoutIdleLabels(lines),
  ].join('\n');
}

/** Labels that nobody names had to stay only because breakpoints are set at the n-th one. */
function withoutIdleLabels(lines: readonly string[]): readonly string[] {
  const names = new Map<string, number>();
  for (const [name] of lines.join('\n').matchAll(/\blabel\d+\b/g)) names.set(name, (names.get(name) ?? 0) + 1);
  const kept = lines.filter((line) => names.get(/^(label\d+):/.exec(line)?.[1] ?? '') !== 1);
  return kept.length < lines.length ? withoutIdleLabels(kept) : lines;
}

/** How long a finding may be shrunk. */
const SHRINK_MS = 90_000;

/** Leaves out runs of lines, shorter and shorter ones, while the executions still differ. */
async function shrink(
  program: RandomProgram,
  before: Difference,
): Promise<{ lines: readonly string[]; difference: Difference }> {
  const until = performance.now() + SHRINK_MS;
  let { lines } = program;
  let difference = before;
  for (let length = lines.length >> 1; length > 0; length = (await removed(length)) ? length : length >> 1);
  return { lines, difference };

  async function removed(length: number): Promise<boolean> {
    let any = false;
    for (let start = 0; start < lines.length && performance.now() < until; ) {
      const fewer = lines.filter((line, index) => index < start || index >= start + length || isNeeded(line));
      const found = fewer.length < lines.length ? await differenceOf({ ...program, lines: fewer }) : undefined;
      if (found) {
        [lines, difference, any] = [fewer, found, true];
      } else start += length;
    }
    return any;
  }
}

/** Labels stay, for those who name them; so do the directives that give the rest its place. */
const isNeeded = (line: string): boolean => /^\s*(\w|\.)+:|^(bits|org|align|times)\b/.test(line);

async function differenceOf(program: RandomProgram): Promise<Difference | undefined> {
  try {
    return (await runBoth(assembleRandom(program), WHOLE)).difference;
  } catch {
    return undefined;
  }
}
