import type { EvaluationContext } from './evaluate.ts';
import {
  type EncodedInstruction,
  encodeInstruction,
  type InstructionContext,
  type InstructionProblem,
} from './instruction.ts';
import type { SourceRange } from './source.ts';
import type { InstructionBody } from './syntax.ts';
import { identicalValue, type Value } from './value.ts';

/** One question that encoding an instruction asked of its surroundings, with the answer. */
interface Read {
  readonly value: Value;
  ask(context: InstructionContext): Value;
}

interface CachedEncoding {
  readonly bits: InstructionContext['bits'];
  readonly defaultRelative: boolean;
  readonly reads: readonly Read[];
  readonly result: EncodedInstruction;
}

const encodings = new WeakMap<InstructionBody, CachedEncoding>();

/**
 * Encodes one instruction as NASM does in the present pass. Most instructions ask nothing, or get the same answers in
 * every pass; those keep the encoding they had.
 */
export function cachedEncoding(
  body: InstructionBody,
  context: InstructionContext,
): EncodedInstruction | InstructionProblem {
  const cached = encodings.get(body);
  if (cached && isStillValid(cached, context)) return cached.result;
  const { bits, defaultRelative } = context;
  const trace = new Trace(context);
  const address = (): Value => trace.ask(({ address }) => address());
  const result = encodeInstruction(body, { bits, defaultRelative, address, evaluation: trace });
  // What was reported has to be reported again in the next pass.
  if (!('problem' in result) && !trace.failed) {
    encodings.set(body, { bits, defaultRelative, reads: trace.reads, result });
  }
  return result;
}

function isStillValid(cached: CachedEncoding, context: InstructionContext): boolean {
  if (cached.bits !== context.bits || cached.defaultRelative !== context.defaultRelative) return false;
  return cached.reads.every((read) => identicalValue(read.ask(context), read.value));
}

/** Passes questions on to a context and notes the answers. */
class Trace implements EvaluationContext {
  readonly reads: Read[] = [];
  failed = false;
  readonly #context: InstructionContext;

  constructor(context: InstructionContext) {
    this.#context = context;
  }

  ask(ask: (context: InstructionContext) => Value): Value {
    const value = ask(this.#context);
    this.reads.push({ value, ask });
    return value;
  }

  symbol(name: string, range: SourceRange): Value {
    return this.ask(({ evaluation }) => evaluation.symbol(name, range));
  }

  here(): Value {
    return this.ask(({ evaluation }) => evaluation.here());
  }

  sectionStart(): Value {
    return this.ask(({ evaluation }) => evaluation.sectionStart());
  }

  error(range: SourceRange, message: string): void {
    this.failed = true;
    this.#context.evaluation.error(range, message);
  }
}
