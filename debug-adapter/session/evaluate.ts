import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { UserError } from '../errors.ts';
import type { Place, Result } from '../expression/context.ts';
import { formatResult } from '../expression/format.ts';
import { readInteger } from '../expression/memory-value.ts';
import { parseExpression } from '../expression/parser.ts';
import { hex } from '../hexadecimal.ts';
import { announceEdit } from './edits.ts';
import { type Evaluated, evaluateText } from './evaluate-text.ts';
import type { Handlers } from './handlers.ts';
import { formatReference } from './memory-reference.ts';
import type { Session } from './session.ts';

export const evaluation: Handlers = {
  evaluate({ expression, frameId, context, format }, session) {
    const text = context === 'hover' ? hoverText(expression) : expression;
    if (context !== 'repl' && parseExpression(text).root.kind === 'assignment') {
      throw new UserError('Only the debug console assigns', {
        expected: 'an expression without =',
        whatToDo: 'use == to compare',
      });
    }
    const evaluated = evaluateText(text, session, frameId);
    if (evaluated.parsed.root.kind === 'assignment' && evaluated.result.place !== undefined) {
      announcePlace(evaluated.result.place, evaluated, session);
    }
    return answer(evaluated, context, format?.hex ?? false, session);
  },

  setExpression({ expression, value, frameId, format }, session) {
    const target = expression.replace(/,\s*[a-z]\s*$/, '');
    const evaluated = evaluateText(`${target} = (${value})`, session, frameId);
    if (evaluated.result.place !== undefined) {
      announcePlace(evaluated.result.place, evaluated, session);
    }
    const { result, ...rest } = answer(evaluated, 'watch', format?.hex ?? false, session);
    return { value: result, ...rest };
  },
};

/** What an editor offers under the mouse may have an assembler's punctuation around it. */
function hoverText(expression: string): string {
  return expression.trim().replace(/[:,;]+$/, '');
}

function answer(
  evaluated: Evaluated,
  context: P.EvaluateArguments['context'],
  isHex: boolean,
  session: Session,
): P.EvaluateResponse['body'] {
  const { result, parsed, context: names } = evaluated;
  const shown = formatResult(result, { format: parsed.format, hex: isHex }, names);
  const isPlain = context === 'clipboard' || parsed.format !== undefined;
  return {
    result: isPlain ? shown : shown + contentOf(result, evaluated, session),
    type: result.text === undefined ? `${result.type.bits} bits` : 'text',
    variablesReference: 0,
    ...(result.text === undefined ? { memoryReference: referenceOf(result, names.vcpu.index) } : {}),
  };
}

function referenceOf(result: Result, vcpu: number): string {
  const { place } = result;
  return place?.kind === 'memory' && result.space === undefined
    ? formatReference({ space: place.space, address: place.address, vcpu })
    : formatReference({ space: result.space ?? 'linear', address: result.value, vcpu });
}

/** Of a symbol that names data of a register's size, what is there. */
function contentOf({ symbol, value }: Result, { context }: Evaluated, session: Session): string {
  const found = symbol === undefined ? undefined : session.debuggee.program.symbols.find(symbol);
  if (found?.kind !== 'object' || ![1, 2, 4, 8].includes(found.size)) {
    return '';
  }
  const isMapped = context.vcpu.peek('linear', value, found.size).length === found.size;
  return isMapped ? ` → ${hex(readInteger(context.vcpu, 'linear', value, found.size))}` : '';
}

function announcePlace(place: Place, { context }: Evaluated, session: Session): void {
  if (place.kind === 'memory') {
    const { space, address, lengthBytes } = place;
    announceEdit(session, { kind: 'memory', at: { space, address, vcpu: context.vcpu.index }, lengthBytes });
  } else {
    announceEdit(session, { kind: 'register' });
  }
}
