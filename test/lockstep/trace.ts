/**
 * Recorded steps as text, a line each: what changed since the step before, hexadecimal, as `name=value`, memory as
 * `@address=bytes`, and at last the reason why there is no further step. Line one is the whole state, zeros left out.
 */
import { type Change, type End, registerOf, STATE_NAMES, type State, type Step } from './state.ts';

export function writeTrace(steps: readonly Step[]): string {
  let before: State = {};
  const lines = steps.map(({ state, changes, end }) => {
    const values = STATE_NAMES.filter((name) => registerOf(state, name) !== registerOf(before, name)).map(
      (name) => `${name}=${registerOf(state, name).toString(16)}`,
    );
    before = state;
    const bytes = changes.map(
      (change) => `@${change.address.toString(16)}=${Buffer.from(change.bytes).toString('hex')}`,
    );
    return [...values, ...bytes, ...(end ? [`! ${end}`] : [])].join(' ');
  });
  return `${lines.join('\n')}\n`;
}

export function readTrace(text: string): Step[] {
  let before: State = {};
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [items = '', end] = line.split('! ');
      const step = readStep(items, before);
      before = step.state;
      return end === undefined ? step : { ...step, end: end as End };
    });
}

function readStep(items: string, before: State): Step {
  const state: Record<string, bigint> = { ...before };
  const changes: Change[] = [];
  for (const item of items.split(' ').filter((text) => text !== '')) {
    const [name = '', value = ''] = item.split('=');
    if (name.startsWith('@')) changes.push({ address: Number.parseInt(name.slice(1), 16), bytes: fromHex(value) });
    else state[name] = BigInt(`0x${value}`);
  }
  return { state, changes };
}

const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
