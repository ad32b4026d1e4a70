import { EncodingKind } from 'iced-x86';
import type { Form } from './forms.ts';

type Described = Omit<Form, 'order'>;

/** What a prefix more costs on the scale of `Form.order`: more than all else but the rank. */
export const PREFIX_COST = 8 ** 4;

/** NASM's preference among forms that fit, prefixes left out: the smallest number wins. */
export function orderOf(form: Described): number {
  const choices = [immediateRank(form), relativeRank(form), roleRank(form), directionRank(form)];
  return choices.reduce((sum, choice) => sum * 8 + choice, form.rank * 8);
}

function immediateRank(form: Described): number {
  const last = form.operands.at(-1);
  if (last?.role === 'one') return 0;
  if (last?.role !== 'immediate') return 1;
  if (last.encodedBits === 8 && last.effectiveBits > 8) return 1;
  return form.operands[0]?.role === 'implicit' ? 2 : 3;
}

function relativeRank(form: Described): number {
  const [first] = form.operands;
  return first?.role === 'relative' && first.encodedBits !== 8 ? 1 : 0;
}

function roleRank(form: Described): number {
  return form.operands.some(({ role }) => role === 'opcode' || role === 'implicit' || role === 'moffs') ? 0 : 1;
}

/** Between registers, `mov` and its like use the form that stores; vector instructions the one that loads. */
function directionRank(form: Described): number {
  const [first, second] = form.operands;
  // Of `fadd st0, st0` NASM takes the one that writes ST(i).
  if (second?.registerClass === 'st') return first?.role === 'opcode' ? 0 : 1;
  const stores = first?.role === 'rm' && second !== undefined && (second.role === 'reg' || second.role === 'vvvv');
  const general = form.encoding === EncodingKind.Legacy && form.table === 0;
  return stores === general ? 0 : 1;
}
