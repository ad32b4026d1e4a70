import type { EvaluationContext, Result } from '../expression/context.ts';
import { evaluate } from '../expression/evaluate.ts';
import { parseExpression } from '../expression/parser.ts';
import type { ParsedExpression } from '../expression/syntax.ts';
import type { Session } from './session.ts';

export interface Evaluated {
  readonly result: Result;
  readonly parsed: ParsedExpression;
  readonly context: EvaluationContext;
}

/** What names mean in a frame, or without one on the vCPU that stopped last. */
export function contextOf(session: Session, frameId: number | undefined): EvaluationContext {
  const frame = session.frame(frameId);
  return {
    vcpu: session.vcpu(frame?.vcpu),
    symbols: session.debuggee.program.symbols,
    ...(frame === undefined || frame.registers.size === 0 ? {} : { frameRegisters: frame.registers }),
  };
}

/** @throws UserError for everything that is wrong with the expression */
export function evaluateText(text: string, session: Session, frameId: number | undefined): Evaluated {
  const parsed = parseExpression(text);
  const context = contextOf(session, frameId);
  return { result: evaluate(parsed.root, context), parsed, context };
}
