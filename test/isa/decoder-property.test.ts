/**
 * Whatever the bytes are: the engine executes them as the decoder says, or raises #UD, or #GP for what is too long, or
 * stops visibly by a name. Nothing else.
 */
import fc from 'fast-check';
import { FlowControl, type Instruction } from 'iced-x86';
import { describe, expect, test } from 'vitest';
import { cpuModels, findCpuModel, nominalFeatures } from '../../engine/cpu/cpu-models.ts';
import { Unimplemented } from '../../engine/cpu/events.ts';
import { createCpuModel } from '../../engine/cpu/model.ts';
import { availabilityOf, featuresOf, type InstructionAvailability } from '../../engine/isa/availability.ts';
import { instructionBytes } from '../fuzz/bytes.ts';
import { withInstruction } from '../fuzz/fuzz-case.ts';
import { VectorMachine } from '../support/vector-machine.ts';
import { initialInstructionPointer } from '../vectors/layout.ts';
import { initialState, type Mode } from '../vectors/read-vectors.ts';
import { Random } from '../vectors/record/random.ts';

const NEVER = { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 };
const RUNS = 500;
const RUNS_OF_A_MODEL = 150;
/** System instructions leave their traces, so that a machine serves for a few cases only. */
const CASES_OF_A_MACHINE = 100;
const [UD, GP] = [6, 13];

/** Of the form of an opcode map, or plainly random. */
const someBytes = (mode: Mode) =>
  fc.oneof(
    fc.integer({ min: 1 }).map((seed) => instructionBytes(new Random(`property ${seed}`), mode)),
    fc.uint8Array({ minLength: 15, maxLength: 15 }),
  );

interface Attempt {
  readonly vector: number | undefined;
  readonly stop: string | undefined;
  readonly rip: number;
}

function attempts(mode: Mode, model?: string): (bytes: Uint8Array) => Attempt {
  const make = () => new VectorMachine(mode, NEVER, model === undefined ? undefined : { model });
  let [machine, cases] = [make(), 0];
  return (bytes) => {
    if (++cases % CASES_OF_A_MACHINE === 0) machine = make();
    let stop: string | undefined;
    const { exception, rip } = machine.execute(initialState(mode), bytes, (executor) => {
      try {
        executor.run(1);
      } catch (event) {
        if (!(event instanceof Unimplemented)) throw event;
        stop = event.what;
      }
    });
    if (stop !== undefined) machine = make();
    return { vector: exception?.vector, stop, rip: Number(rip) };
  };
}

interface Expected {
  readonly isInvalid: boolean;
  /** Where the next instruction is, if the bytes are one that goes on there. */
  readonly next: number | undefined;
}

/** What the decoder says of the bytes, to a CPU that has what `availability` says. */
function expectedOf(bytes: Uint8Array, mode: Mode, availability?: InstructionAvailability): Expected {
  const expect = (instruction: Instruction): Expected => {
    const isThere = !availability || featuresOf(instruction).every((feature) => availability.has(feature));
    const goesOn = instruction.flowControl === FlowControl.Next && !instruction.isStringInstruction;
    const next = initialInstructionPointer(mode) + instruction.length;
    return { isInvalid: instruction.isInvalid || !isThere, next: goesOn ? next : undefined };
  };
  return withInstruction(bytes, mode, expect, availability?.decoderOptions);
}

function holds(mode: Mode, model: string | undefined, numRuns: number): void {
  const attempt = attempts(mode, model);
  const spec = model === undefined ? undefined : findCpuModel(model);
  const has = spec && createCpuModel({ hasFeature: nominalFeatures(spec, {}), localApic: false }).has;
  const availability = has && availabilityOf(has);
  const check = (bytes: Uint8Array): void => {
    const { vector, stop, rip } = attempt(bytes);
    const { isInvalid, next } = expectedOf(bytes, mode, availability);
    if (isInvalid && stop === undefined) expect([UD, GP]).toContain(vector);
    if (!isInvalid && vector === undefined && stop === undefined && next !== undefined) expect(rip).toBe(next);
    if (stop !== undefined) expect(stop).toMatch(/^[A-Za-z].{3,}/);
    // A CPU that is named has nothing that is missing.
    if (model !== undefined) expect(stop).toBeUndefined();
  };
  fc.assert(fc.property(someBytes(mode), check), { numRuns, seed: mode });
}

describe('whatever fifteen bytes', () => {
  for (const mode of [16, 32, 64] as const) {
    test(`${mode}-bit code`, () => holds(mode, undefined, RUNS));
    test.each(cpuModels.map(({ name }) => name))(`${mode}-bit code of the CPU model %s`, (model) => {
      holds(mode, model, RUNS_OF_A_MODEL);
    });
  }
});

describe('what is too long', () => {
  const attempt = attempts(64);
  const prefixed = (count: number, rest: number[]) =>
    Uint8Array.from([...new Array<number>(count).fill(0x66), ...rest]);
  test.each([
    { name: 'fifteen bytes are not', bytes: prefixed(14, [0x90]), vector: undefined },
    { name: 'sixteen are', bytes: prefixed(14, [0x01, 0xc0]), vector: GP },
    { name: 'and if LOCK is wrong besides', bytes: prefixed(13, [0xf0, 0x01, 0xc0]), vector: GP },
    { name: 'and if VEX must not follow', bytes: prefixed(14, [0xc5, 0xf8, 0x77]), vector: GP },
    { name: 'prefixes alone are', bytes: prefixed(15, []), vector: GP },
    { name: 'a wrong LOCK in a short one is #UD', bytes: Uint8Array.of(0xf0, 0x01, 0xc0), vector: UD },
  ])('$name', ({ bytes, vector }) => {
    expect(attempt(bytes).vector).toBe(vector);
  });
});

test('in 64-bit mode a prefix for SS, CS, DS or ES does not decide between #SS and #GP', () => {
  const attempt = attempts(64);
  // ADD [RAX], AL and ADD [RBP], AL; both registers are not canonical.
  for (const prefix of [0x26, 0x2e, 0x36, 0x3e]) {
    expect(attempt(Uint8Array.of(prefix, 0x00, 0x00)).vector).toBe(13);
    expect(attempt(Uint8Array.of(prefix, 0x00, 0x45, 0x00)).vector).toBe(12);
  }
});
