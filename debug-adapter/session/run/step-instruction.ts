/** Steps by one instruction, over or into what it calls, of one vCPU. Undefined means that the step is done. */
import { type DisassembledInstruction, MAXIMUM_INSTRUCTION_BYTES } from '../../disassembly/disassembler.ts';
import type { Stop, StopFilter } from '../../engine-target.ts';
import type { Debuggee } from '../debuggee.ts';
import type { Outcome } from '../outcome.ts';
import type { Session } from '../session.ts';
import { type Position, positionOf } from '../stack/position.ts';
import { type Destination, runUntil, stepOnce } from './run-until.ts';

export type Step = Generator<void, Outcome | undefined, void>;

export interface Stepping {
  readonly session: Session;
  readonly debuggee: Debuggee;
  readonly vcpu: number;
  /** The other vCPUs stand still. */
  readonly isSingle: boolean;
}

/** An instruction may exit several times before it completes, as each of its memory accesses may. */
const MAXIMUM_EXITS = 64;
/** The hypervisor's handler of one exit has a handful of stages. */
const MAXIMUM_STAGES = 10_000;
/** Between an event of a VM entry or exit and the first instruction behind it. */
const MAXIMUM_TRANSITION_STEPS = 4;

export function positionNow({ debuggee, vcpu }: Stepping): Position {
  return positionOf(debuggee.vcpu(vcpu));
}

export function instructionNow(
  { debuggee, vcpu }: Stepping,
  { address, codeSize }: Position,
): DisassembledInstruction | undefined {
  const bytes = debuggee.vcpu(vcpu).peek('linear', address, MAXIMUM_INSTRUCTION_BYTES);
  return debuggee.disassembler.decode(bytes, codeSize, address);
}

/** One instruction or handler stage, wherever it leads. */
// biome-ignore lint/correctness/useYield: a step like the others, that never takes long
export function* intoInstruction({ session, debuggee, vcpu }: Stepping): Step {
  return stepOnce(session, debuggee, vcpu);
}

/** One instruction; what it calls, and the handling of a VM exit that it causes, runs to its end. */
export function* overInstruction(stepping: Stepping): Step {
  const start = positionNow(stepping);
  if (start.stages > 0) {
    return yield* overStage(stepping, start.stages);
  }
  for (let exits = 0; exits < MAXIMUM_EXITS; exits += 1) {
    const instruction = instructionNow(stepping, start);
    const outcome = stepOnce(stepping.session, stepping.debuggee, stepping.vcpu);
    if (outcome !== undefined) {
      return outcome;
    }
    const now = positionNow(stepping);
    const isExit = now.stages > 0 || (start.vmx === 'non-root' && now.vmx === 'root');
    const rest = isExit ? yield* overExit(stepping, now) : yield* overCall(stepping, start, now, instruction);
    if (rest !== undefined || !isExit || positionNow(stepping).address !== start.address) {
      return rest;
    }
  }
  return undefined;
}

/** Runs until the guest of an exit goes on. */
function* overExit(stepping: Stepping, { stages }: Position): Step {
  return stages > 0 ? yield* untilGuest(stepping) : yield* untilOperation(stepping, 'non-root', 'vm-entry');
}

/** To the next stage of the same depth, or to the guest. */
function* overStage(stepping: Stepping, depth: number): Step {
  return yield* stepWhile(stepping, (now) => now.stages > depth);
}

/** To the guest's next instruction, out of the built-in hypervisor's handler. */
export function* untilGuest(stepping: Stepping): Step {
  return yield* stepWhile(stepping, (now) => now.stages > 0);
}

function* stepWhile(stepping: Stepping, isOnTheWay: (now: Position) => boolean): Step {
  for (let steps = 0; steps < MAXIMUM_STAGES; steps += 1) {
    const outcome = stepOnce(stepping.session, stepping.debuggee, stepping.vcpu);
    if (outcome !== undefined || !isOnTheWay(positionNow(stepping))) {
      return outcome;
    }
    if (stepping.debuggee.pace.isDue()) {
      yield;
    }
  }
  return undefined;
}

/** Runs until the vCPU is in VMX root or non-root operation. */
function* untilOperation(stepping: Stepping, operation: Position['vmx'], filter: StopFilter): Step {
  const isReached = (stop: Stop) =>
    stop.kind === 'event' && stop.event.filter === filter && stop.event.vcpu === stepping.vcpu;
  const outcome = yield* run(stepping, { filters: [filter], isReached });
  if (outcome !== undefined) {
    return outcome;
  }
  for (let steps = 0; steps < MAXIMUM_TRANSITION_STEPS && positionNow(stepping).vmx !== operation; steps += 1) {
    const stepped = stepOnce(stepping.session, stepping.debuggee, stepping.vcpu);
    if (stepped !== undefined) {
      return stepped;
    }
  }
  return undefined;
}

/** What an instruction began is run to its end: a call, an interrupt, a VM entry, a repeated string instruction. */
function* overCall(
  stepping: Stepping,
  start: Position,
  now: Position,
  instruction: DisassembledInstruction | undefined,
): Step {
  if (start.vmx === 'root' && now.vmx === 'non-root') {
    return yield* untilOperation(stepping, 'root', 'vm-exit');
  }
  if (instruction === undefined) {
    return undefined;
  }
  const next = BigInt.asUintN(64, start.address + BigInt(instruction.lengthBytes));
  if (now.address === next) {
    return undefined;
  }
  const isCall = ['call', 'interrupt', 'system-call'].includes(instruction.flow);
  const isRepeating = instruction.hasRepeat && now.address === start.address;
  if (isCall || isRepeating || isInterrupted(stepping, now, next, instruction)) {
    return yield* untilAddress(stepping, next, start);
  }
  return undefined;
}

/** An external interrupt came behind the instruction: its handler returns to the next one. */
function isInterrupted(stepping: Stepping, now: Position, next: bigint, { flow }: DisassembledInstruction): boolean {
  if (flow !== 'next' || now.codeSize === 16) {
    return false;
  }
  const bytes = stepping.debuggee.vcpu(stepping.vcpu).peek('linear', now.stackTop, now.codeSize / 8);
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n) === next;
}

/** In the same ring and VMX operation, with nothing more on the stack. */
export function isSameFrame(stepping: Stepping, from: Position): boolean {
  const now = positionNow(stepping);
  return now.ring === from.ring && now.vmx === from.vmx && now.stackPointer >= from.stackPointer;
}

/**
 * Runs until the code at an address, in the same ring and VMX operation, and with nothing more on the stack: not in a
 * deeper call of the same function.
 */
export function* untilAddress(stepping: Stepping, address: bigint, from: Position): Step {
  const isReached = (stop: Stop): boolean =>
    stop.kind === 'breakpoint' &&
    stop.vcpu === stepping.vcpu &&
    stop.address === address &&
    isSameFrame(stepping, from);
  return yield* run(stepping, { addresses: [address], isReached });
}

export function* run(stepping: Stepping, destination: Destination): Step {
  const { session, debuggee, vcpu, isSingle } = stepping;
  return yield* runUntil(session, debuggee, { ...destination, ...(isSingle ? { onlyVcpu: vcpu } : {}) });
}
