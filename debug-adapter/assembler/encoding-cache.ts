import type { EvaluationContext } from './evaluate.ts';
import {
  type EncodedInstruction,
  encodeInstruction,
  type InstructionContext,
  type InstructionProblem,
} from './instruction.ts';
import type { SourceRange } from './source.ts';
import type { InstructionBody } from './syntax.ts';
import { constantValue, identicalValue, type Value } from './value.ts';

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
  const reused = cached && reuse(cached, context);
  if (reused) {
    if (reused !== cached) encodings.set(body, reused);
    return reused.result;
  }
  const { bits, defaultRelative } = context;
  const trace = new Trace(context);
  const result = encodeInstruction(
    body,
    { bits, defaultRelative, address: () => trace.ask(({ address }) => address()), evaluation: trace },
    (question) => trace.ask((now) => (question(now) ? YES : NO)) === YES,
  );
  // What was reported has to be reported again in the next pass.
  if (!('problem' in result) && !trace.failed) {
    encodings.set(body, { bits, defaultRelative, reads: trace.reads, result });
  }
  return result;
}

const YES = constantValue(1n);
const NO = constantValue(0n);

/** The encoding as it is in the present pass, if that needs no new choice of a form. */
function reuse(cached: CachedEncoding, context: InstructionContext): CachedEncoding | undefined {
  if (cached.bits !== context.bits || cached.defaultRelative !== context.defaultRelative) return undefined;
  let changed: Read | undefined;
  let now: Value | undefined;
  for (const read of cached.reads) {
    const value = read.ask(context);
    if (identicalValue(value, read.value)) continue;
    if (changed) return undefined;
    [changed, now] = [read, value];
  }
  return changed && now ? moved(cached, changed, now) : cached;
}

/**
 * The encoding after one label has moved. Which form is chosen does not depend on where in its section a label lies,
 * but for branches, and those ask separately. Undefined if more than one whole field depends on the label.
 */
function moved(cached: CachedEncoding, read: Read, value: Value): CachedEncoding | undefined {
  const { encoding, ...result } = cached.result;
  const [fixup, another] = encoding.fixups;
  const isMove = value.terms.length > 0 && identicalValue({ ...value, constant: read.value.constant }, read.value);
  if (!isMove || fixup?.value !== read.value || another) return undefined;
  const reads = cached.reads.map((one) => (one === read ? { value, ask: read.ask } : one));
  return { ...cached, reads, result: { ...result, encoding: { ...encoding, fixups: [{ ...fixup, value }] } } };
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
