/** The x87 instructions by the decoder's mnemonics. */
import { instructionsOf } from '../instruction-table.ts';
import * as arithmetic from './arithmetic.ts';
import * as comparison from './compare.ts';
import * as control from './control.ts';
import * as data from './data-transfer.ts';
import * as remainder from './remainder.ts';
import * as transcendental from './transcendental.ts';
import * as trigonometric from './trigonometric.ts';

export const x87Instructions = instructionsOf(
  arithmetic,
  comparison,
  control,
  data,
  remainder,
  transcendental,
  trigonometric,
);
