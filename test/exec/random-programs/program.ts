/**
 * A random program of a seed: functions that call one another, loops, jump tables, code that changes, faults, interrupts.
 * The frame is that of the hostile guests, whose recovery goes on with the next piece when something is beyond repair.
 */
import { assemble } from '../../../debug-adapter/assembler/index.ts';
import type { MachineConfig } from '../../../engine/index.ts';
import { programSource } from '../../machine/hostile/frame.ts';
import { INT3 } from '../../machine/hostile/hostile-guest.ts';
import { Random } from '../../machine/hostile/random.ts';
import { at, type EntryMode, tables } from '../../machine/hostile/tables.ts';
import { block, TABLE_FUNCTIONS } from './statements.ts';
import { handlers, setUp } from './surroundings.ts';
import { cell, type Writer, wide } from './writer.ts';

const MODES: readonly EntryMode[] = ['long', 'long', 'protected', 'real'];
const SIZES = { real: 2, protected: 4, long: 8 } as const;
const FUNCTIONS = 7;
const MAIN_PIECES = 3;

export interface RandomProgram {
  readonly seed: number;
  readonly mode: EntryMode;
  /** The source. */
  readonly lines: readonly string[];
}

export interface AssembledProgram extends RandomProgram {
  readonly config: MachineConfig;
  /** Addresses of all labels, in the order of the source. */
  readonly labels: readonly number[];
}

export function randomProgram(seed: number): RandomProgram {
  const random = new Random(seed);
  const mode = MODES[seed % MODES.length] as EntryMode;
  const functions = Array.from({ length: FUNCTIONS }, (_, index) => `function${index}`);
  let labels = 0;
  const writer = (after: number): Writer => ({
    random,
    mode,
    size: SIZES[mode],
    label: () => `label${labels++}`,
    functions,
    callees: functions.slice(after),
  });
  const mains = Array.from({ length: MAIN_PIECES }, () => mainPiece(writer(0)));
  const rest = [
    ...handlers(mode),
    ...functions.flatMap((name, index) => functionOf(name, writer(index + 1))),
    ...swappedPages(writer(FUNCTIONS)),
    `functions: ${{ 2: 'dw', 4: 'dd', 8: 'dq' }[SIZES[mode]]} ${functions.slice(-TABLE_FUNCTIONS).join(', ')}`,
  ];
  // The frame begins with the second piece.
  const pieces = [mains[0] as string[], [...setUp(mode, random), `jmp ${at.recover}`, ...rest], ...mains.slice(1)];
  const source = programSource(
    mode,
    pieces.map((lines) => lines.join('\n')),
  );
  return { seed, mode, lines: source.split('\n') };
}

function mainPiece(w: Writer): string[] {
  const ring3 = w.mode === 'long' && w.random.once(4) ? ['call to_ring3'] : [];
  const interrupts = w.random.once(2) ? ['sti'] : [];
  return [`mov byte [${cell(w.mode).depth}], 0`, ...interrupts, ...ring3, ...block(w, 3, 4 + w.random.below(6))];
}

function functionOf(name: string, w: Writer): string[] {
  const bp = wide(w, 'bp');
  const align = w.random.once(5) ? ['align 4096'] : [];
  return [...align, `${name}:`, `push ${bp}`, ...block(w, 2, 2 + w.random.below(5)), `pop ${bp}`, 'ret'];
}

/** The page at `swapped` and the one after it, which `remap` puts in its place. */
function swappedPages(w: Writer): string[] {
  const page = () => [...block(w, 1, 2 + w.random.below(3)), 'ret'];
  return ['align 8192', 'swapped:', ...page(), 'align 4096', ...page(), 'align 4096'];
}

/** @throws Error with the assembler's messages */
export function assembleRandom(program: RandomProgram): AssembledProgram {
  const { mode, lines } = program;
  const { image, origin, symbols, diagnostics } = assemble(
    { path: 'random-program.asm', text: lines.join('\n') },
    { readFile: () => undefined },
  );
  const errors = diagnostics.filter(({ severity }) => severity === 'error');
  if (!image || errors.length > 0) throw new Error(`seed ${program.seed}: ${JSON.stringify(errors.slice(0, 3))}`);
  return {
    ...program,
    labels: symbols.map(({ value }) => Number(value)).filter((address) => address >= at.code && address < at.data),
    config: {
      program: {
        segments: [INT3, { address: origin, bytes: image }, ...tables(mode)],
        entry: { mode, address: at.code },
      },
      memoryBytes: 0x20_0000,
      cpus: 1,
      virtualization: 'none',
    },
  };
}
