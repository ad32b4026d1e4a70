/** Makes a case smaller as long as it still shows what it was kept for. */
import { copyExtendedState, DEFAULT_EXTENDED_STATE } from '../vectors/extended-state.ts';
import { FIXED_FLAGS } from '../vectors/layout.ts';
import { initialState } from '../vectors/read-vectors.ts';
import type { FuzzCase } from './fuzz-case.ts';

export function shrink(found: FuzzCase, isStill: (candidate: FuzzCase) => boolean): FuzzCase {
  let small = found;
  for (let again = true; again; ) {
    again = false;
    for (const candidate of smaller(small)) {
      if (!isStill(candidate)) continue;
      small = candidate;
      again = true;
      break;
    }
  }
  return small;
}

/** Cases with one thing less: an instruction, memory, a register or flag that is not as usual, a large value. */
function* smaller(one: FuzzCase): Generator<FuzzCase> {
  const { instructions, input, mode } = one;
  const withInput = (changed: Partial<FuzzCase['input']>): FuzzCase => ({ ...one, input: { ...input, ...changed } });
  if (instructions.length > 1)
    for (const n of instructions.keys()) yield { ...one, instructions: instructions.filter((_, other) => other !== n) };
  for (const n of input.memory.keys()) yield withInput({ memory: input.memory.filter((_, other) => other !== n) });
  if (input.flags !== FIXED_FLAGS) yield withInput({ flags: FIXED_FLAGS });
  const usual = initialState(mode);
  for (const [n, value] of input.gpr.entries()) {
    for (const other of [usual.gpr[n] ?? 0n, 0n, 1n]) {
      const isSmaller = value !== usual.gpr[n] && (other === usual.gpr[n] || other < value);
      if (isSmaller) yield withInput({ gpr: input.gpr.map((old, m) => (m === n ? other : old)) });
    }
  }
  yield* smallerExtended(one);
}

function* smallerExtended(one: FuzzCase): Generator<FuzzCase> {
  const { extended } = one.input;
  if (extended === DEFAULT_EXTENDED_STATE) return;
  const withExtended = (state: typeof extended): FuzzCase => ({ ...one, input: { ...one.input, extended: state } });
  yield withExtended(DEFAULT_EXTENDED_STATE);
  for (const list of ['xmm', 'ymmHigh', 'fpr'] as const) {
    for (const [n, value] of extended[list].entries()) {
      const usual = DEFAULT_EXTENDED_STATE[list][n] ?? 0n;
      if (value === usual) continue;
      const state = copyExtendedState(extended);
      state[list][n] = usual;
      yield withExtended(state);
    }
  }
  for (const word of ['fcw', 'fsw', 'ftw', 'mxcsr'] as const) {
    if (extended[word] !== DEFAULT_EXTENDED_STATE[word])
      yield withExtended({ ...copyExtendedState(extended), [word]: DEFAULT_EXTENDED_STATE[word] });
  }
}
