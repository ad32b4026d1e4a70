/**
 * Where processors differ and each is right: what they do first of two things that both fail, and what is left when an
 * instruction has failed. Found by holding the same cases against Intel's CPUs and AMD's.
 */
import { opcodeIndex } from '../../engine/isa/prefixes.ts';
import { isIntelHere } from '../support/own-features.ts';
import type { VectorOutcome } from '../support/vector-machine.ts';
import type { Outcome } from '../vectors/record/harness.ts';
import { type FuzzCase, withInstruction } from './fuzz-case.ts';
import type { Run } from './fuzz-machine.ts';

/** A case, what the engine makes of it, and the CPU. */
interface Held {
  readonly fuzzCase: FuzzCase;
  readonly run: Run;
  readonly expected: Outcome;
}

interface Choice {
  readonly isOpen: (held: Held) => boolean;
  /** The differences that are left to the processor, as the judge words them; all, if not given. */
  readonly leaves?: RegExp;
}

/** The engine was fitted to what AMD's CPUs do of these: there they have to be as they are. */
const intels = (all: readonly Choice[]): Choice[] =>
  all.map(({ isOpen, ...choice }) => ({ ...choice, isOpen: (held) => isIntelHere() && isOpen(held) }));

const [BR, UD, SS, GP, PF] = [5, 6, 12, 13, 14];
/** With fewer prefixes, nothing is longer than an instruction may be. */
const SOME_PREFIXES = 4;
/** Prefixes of two and three bytes. */
const VEX = new Set([0xc5, 0xc4]);
/** FSW: an unmasked exception is pending (ES, B). */
const PENDING = 0x8080;
/** From here on, an operand may end behind 4 GiB. */
const LAST_BYTES = 0xffff_ff00n;

const last = ({ run }: Held): string => run.executed.at(-1) ?? '';
const isOneOf = (exception: VectorOutcome['exception'] | Outcome['exception'], vectors: readonly number[]): boolean =>
  exception !== undefined && vectors.includes(exception.vector);

const choices: readonly Choice[] = [
  // Which of the two operands of CMPS is read first.
  { isOpen: (held) => /^Cmps/.test(last(held)) && held.expected.exception !== undefined },
  // What is masked is accessed all the same, and the MMX state entered before that faults; ENTER may have stored some.
  { isOpen: (held) => held.expected.exception !== undefined && executed(held, /^(V?[Mm]askmov(q|dqu)|Enter.?)$/) },
  { isOpen: isLongAndUndefined },
  // Of an address that is misaligned and beyond the limit of SS, either may be told; Ringside says #SS.
  {
    isOpen: ({ fuzzCase, run, expected }) =>
      fuzzCase.mode !== 64 && isOneOf(expected.exception, [GP]) && isOneOf(run.outcome.exception, [SS]),
  },
  ...intels([
    // An operand that goes round the end of 4 GiB may be held against the limit or not (SDM volume 3, "Limit Checking").
    {
      isOpen: ({ fuzzCase, run, expected }) =>
        fuzzCase.mode === 32 &&
        isOneOf(run.outcome.exception, [SS, GP]) &&
        isOneOf(expected.exception, [PF]) &&
        (expected.exception?.linearAddress ?? 0n) >= LAST_BYTES,
    },
    // Where an unmasked exception keeps an x87 instruction from storing, Intel's CPUs do not look at its address.
    {
      isOpen: (held) =>
        /^F(bstp|st|stp|ist|istp|isttp)$/.test(last(held)) &&
        isOneOf(held.run.outcome.exception, [SS, GP, PF]) &&
        (held.expected.extended.fsw & PENDING) === PENDING,
    },
    // Intel's take the flags back of a repeated SCAS or CMPS that faults (SDM volume 2, "REP"), AMD's leave those of the last iteration.
    { isOpen: (held) => bothFault(held) && /^Scas/.test(last(held)), leaves: /^flags:/ },
    // Intel's have made a mask of all bits of each lane, as the manual has it, before a gather faults.
    { isOpen: (held) => bothFault(held) && /^Vp?gather/.test(last(held)), leaves: /^[xy]mm\d+:/ },
    // Which byte of the lanes that are stored is told of.
    { isOpen: (held) => bothFault(held) && /^Vp?maskmov/.test(last(held)), leaves: /^address of the fault:/ },
    // Intel's store some operands in pieces, of which the first may have a page.
    { isOpen: (held) => bothFault(held) && /^(Movbe|Fb?stp)$/.test(last(held)), leaves: /^byte at/ },
    // Intel's compare with the lower bound before they read the upper one.
    { isOpen: (held) => last(held) === 'Bound' && isOneOf(held.expected.exception, [BR]) },
    // Intel's have converted, and noted exceptions, before they find that there is no place for the result.
    { isOpen: (held) => bothFault(held) && last(held) === 'Vcvtps2ph', leaves: /^mxcsr/ },
    // Intel's enter the MMX state before an access that faults.
    { isOpen: (held) => bothFault(held) && /^Mov(ntq|[dq])$/.test(last(held)), leaves: /^fsw0?:/ },
    // Intel's have stored where to return before they find that CALL leads nowhere.
    { isOpen: (held) => bothFault(held) && last(held) === 'Call', leaves: /^byte at/ },
    // Intel's set these by instructions whose own exception is unmasked; AMD's, by those before it, too.
    { isOpen: ({ run }) => run.executed.length > 1, leaves: /^f[od]p:/ },
  ]),
];

/** Without the differences that are left to the processor. */
export function withoutChoices(held: Held, found: readonly string[]): string[] {
  const open = choices.filter(({ isOpen }) => isOpen(held));
  return found.filter((one) => !open.some(({ leaves }) => leaves === undefined || leaves.test(one)));
}

const executed = ({ run }: Held, pattern: RegExp): boolean => run.executed.some((mnemonic) => pattern.test(mnemonic));

const bothFault = ({ run, expected }: Held): boolean =>
  expected.exception !== undefined && run.outcome.exception?.vector === expected.exception.vector;

/**
 * How long an instruction is that does not exist, and so whether it is too long (#GP) or undefined (#UD), a processor
 * knows from tables of its own. Intel's raise #GP for some VEX forms, too.
 */
function isLongAndUndefined({ fuzzCase: { instructions, mode }, run: { outcome }, expected }: Held): boolean {
  const code = instructions.at(-1);
  const areBoth = [outcome.exception, expected.exception].every((exception) => isOneOf(exception, [UD, GP]));
  if (!code || !areBoth || outcome.rip !== expected.rip) return false;
  const prefixes = opcodeIndex(code, mode);
  const mayBeOpen = prefixes >= SOME_PREFIXES || (isIntelHere() && VEX.has(code[prefixes] ?? 0));
  return mayBeOpen && withInstruction(code, mode, ({ isInvalid }) => isInvalid);
}
