/** Runs a case on the engine's interpreter to its end, and notes what would make another processor's result differ. */

import { type Instruction, Mnemonic, RflagsBits } from 'iced-x86';
import { Unimplemented } from '../../engine/cpu/events.ts';
import { SoftwareException } from '../../engine/cpu/interrupt-instructions.ts';
import { CS } from '../../engine/cpu/state.ts';
import { type LinearAddress, low32, plus } from '../../engine/isa/linear-address.ts';
import { type Attempts, VectorMachine, type VectorOutcome } from '../support/vector-machine.ts';
import { type Mode, STATUS_FLAGS } from '../vectors/layout.ts';
import { definedFlags, isResultUndefined } from '../vectors/record/defined-flags.ts';
import { oracleDifferences, otherExecutions } from './executions.ts';
import { codeOf, type FuzzCase, withInstruction } from './fuzz-case.ts';
import { CHANGES_MORE, decodesOtherwise, reasonNotHeld, TELLS_OF_THE_MACHINE } from './not-held.ts';

const NEVER = { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 };
const INT3 = 0xcc;
/** Instructions, and these with all iterations of repeated ones, after which a case is given up. */
const MAX_INSTRUCTIONS = 300;
const MAX_STEPS = 70_000;
/** There are so many handlers for forms of instructions only: a new machine begins anew. */
const CASES_OF_A_MACHINE = 6000;

/** `system`: at an instruction that would change more of the machine than a case starts from. */
type End = 'ended' | 'endless' | 'unimplemented' | 'system';

interface Stop {
  /** `ended`: at INT3 or with a fault, so that it can be held against a real CPU. */
  readonly end: End;
  /** What is not implemented, by its name. */
  readonly what?: string;
  /** Instructions, each iteration of a repeated one, and the fault. */
  readonly steps: number;
}

/** What came of a case. */
export interface Run extends Stop {
  readonly outcome: VectorOutcome;
  /** How the engine's other executions end in another way, in words. */
  readonly disagreements: readonly string[];
  /** Why the result may not be held against another processor's. */
  readonly notHeld: string | undefined;
  /** The status flags that are defined at the end. */
  readonly flagsMask: number;
  /** Mnemonics and forms, in the order of execution. */
  readonly executed: readonly string[];
}

/** iced-x86's bits of the status flags, and RFLAGS's. */
const FLAG_BITS: readonly (readonly [number, number])[] = [
  [RflagsBits.CF, 1],
  [RflagsBits.PF, 4],
  [RflagsBits.AF, 0x10],
  [RflagsBits.ZF, 0x40],
  [RflagsBits.SF, 0x80],
  [RflagsBits.DF, 0x400],
  [RflagsBits.OF, 0x800],
];
const rflags = (bits: number): number => FLAG_BITS.reduce((all, [bit, flag]) => all | (bits & bit ? flag : 0), 0);

/** What is undefined after the instructions so far, and whether one of them asked for it. */
class Definedness {
  undefinedFlags = 0;
  /** Before the last instruction: what holds if that faulted. */
  undefinedBefore = 0;
  notHeld: string | undefined;
  tellsOfTheMachine = false;
  /** The instruction that comes next would change what a case does not bring back. */
  changesMore = false;
  readonly executed: string[] = [];

  before(instruction: Instruction, mode: Mode, gpr: readonly bigint[], input: FuzzCase['input']): void {
    const mnemonic = Mnemonic[instruction.mnemonic] as string;
    this.executed.push(mnemonic);
    const reason = reasonNotHeld(instruction, mode, gpr);
    this.notHeld ??= reason;
    this.tellsOfTheMachine ||= reason === TELLS_OF_THE_MACHINE;
    this.changesMore = reason !== undefined && CHANGES_MORE.has(reason);
    const state = { ...input, gpr: [...gpr] };
    if (isResultUndefined(instruction, state)) this.notHeld ??= 'the result is undefined';
    if (rflags(instruction.rflagsRead) & this.undefinedFlags) this.notHeld ??= 'reads flags that are undefined';
    this.undefinedBefore = this.undefinedFlags;
    const defined = definedFlags(mode, instruction, state) & STATUS_FLAGS;
    // A shift by 0 changes no flag.
    const modified = /^(R|S)[hoca][lr]d?$/.test(mnemonic) ? 0 : rflags(instruction.rflagsModified);
    this.undefinedFlags = (this.undefinedFlags & ~modified) | (STATUS_FLAGS & ~defined);
  }
}

export class FuzzMachines {
  readonly #machines = new Map<Mode, { machine: VectorMachine; cases: number }>();

  #machine(mode: Mode): VectorMachine {
    let entry = this.#machines.get(mode);
    if (!entry || entry.cases >= CASES_OF_A_MACHINE)
      this.#machines.set(mode, (entry = { machine: new VectorMachine(mode, NEVER), cases: 0 }));
    entry.cases++;
    return entry.machine;
  }

  run(fuzzCase: FuzzCase): Run {
    const machine = this.#machine(fuzzCase.mode);
    const definedness = new Definedness();
    const attempts = machine.start(fuzzCase.input, codeOf(fuzzCase));
    let stop: Stop = { end: 'ended', steps: 0 };
    const outcome = attempts.run(() => {
      stop = stopOf(machine, fuzzCase, definedness);
    });
    const isComparable = stop.end === 'ended' && !definedness.tellsOfTheMachine;
    const disagreements = isComparable ? disagreementsOf(fuzzCase, attempts, outcome, stop.steps) : [];
    attempts.end();
    // An instruction that stopped the run was not taken back as a fault is: begin anew.
    if (stop.end === 'unimplemented') this.#machines.delete(fuzzCase.mode);
    return {
      outcome: withoutTrap(outcome),
      ...stop,
      disagreements,
      notHeld: definedness.notHeld,
      flagsMask: flagsMask(definedness, outcome),
      executed: definedness.executed,
    };
  }
}

function stopOf(machine: VectorMachine, fuzzCase: FuzzCase, definedness: Definedness): Stop {
  try {
    return interpret(machine, fuzzCase, definedness);
  } catch (event) {
    if (!(event instanceof Unimplemented)) throw event;
    return { end: 'unimplemented', what: event.what, steps: 0 };
  }
}

function disagreementsOf(fuzzCase: FuzzCase, attempts: Attempts, outcome: VectorOutcome, steps: number): string[] {
  const others = otherExecutions(attempts, outcome, steps);
  return steps === 1 ? [...others, ...oracleDifferences(fuzzCase, outcome)] : others;
}

/** A divide error leaves the flags undefined as a division does; another fault leaves them as they were. */
function flagsMask({ undefinedFlags, undefinedBefore }: Definedness, { exception }: VectorOutcome): number {
  const ofDivision = exception?.vector === 0 ? STATUS_FLAGS & ~0x400 : 0;
  return STATUS_FLAGS & ~undefinedFlags & ~(exception ? undefinedBefore : 0) & ~ofDivision;
}

/** INT3 with prefixes ends a case as the bare one does, behind its prefixes; INTO's #OF is a trap. */
function withoutTrap(outcome: VectorOutcome): VectorOutcome {
  const { exception, rip } = outcome;
  if (!(exception instanceof SoftwareException)) return outcome;
  const next = rip + BigInt(exception.instructionLengthBytes);
  return exception.vector === 3 ? { ...outcome, exception: undefined, rip: next - 1n } : { ...outcome, rip: next };
}

function interpret(machine: VectorMachine, fuzzCase: FuzzCase, definedness: Definedness): Stop {
  const { state, executor, mmu } = machine.host;
  let [instructions, steps] = [0, 0];
  let last: LinearAddress = -1;
  for (; !machine.faulted; steps++) {
    const { rip } = state;
    const linear = fuzzCase.mode === 64 ? rip : low32(plus(state.segment(CS).base, rip));
    if (rip !== last) {
      const bytes = mmu.peek(linear, 15);
      if (bytes[0] === INT3) break;
      if (++instructions > MAX_INSTRUCTIONS) return { end: 'endless', steps };
      look(bytes, machine, fuzzCase, definedness);
      if (definedness.changesMore) return { end: 'system', steps };
      last = rip;
    } else if (steps > MAX_STEPS) return { end: 'endless', steps };
    executor.run(1);
  }
  return { end: 'ended', steps };
}

/** Notes what the next instruction leaves undefined. */
function look(bytes: Uint8Array, { host }: VectorMachine, { mode, input }: FuzzCase, definedness: Definedness): void {
  const gpr = Array.from({ length: 16 }, (_, n) => host.state.gpr(n));
  if (decodesOtherwise(bytes, mode)) definedness.notHeld ??= 'AMD processors decode it in another way';
  withInstruction(bytes, mode, (instruction) => {
    if (!instruction.isInvalid) definedness.before(instruction, mode, gpr, input);
  });
}
