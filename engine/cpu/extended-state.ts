/** Vector and x87 registers as the oracle takes them (isa/oracle.ts). */
import type { ExtendedState } from '../isa/oracle.ts';
import type { CpuState } from './state.ts';
import { VECTOR_REGISTERS, vectorAddress, X87_REGISTERS, x87Address } from './state-layout.ts';

type State = Pick<CpuState, 'view' | 'mxcsr' | 'cr4' | 'fsw' | 'ftw'>;

export const readExtendedState = ({ view, mxcsr, cr4, fsw, ftw }: State): ExtendedState => ({
  vectors: Array.from({ length: VECTOR_REGISTERS }, (_, index) => readInteger(view, vectorAddress(index), 4)),
  x87: Array.from({ length: X87_REGISTERS }, (_, index) => readInteger(view, x87Address(index), 2)),
  mxcsr,
  cr4,
  fsw,
  ftw,
});

export function writeExtendedState(state: State, extended: ExtendedState): void {
  const { vectors, x87, mxcsr, fsw, ftw } = extended;
  for (const [index, value] of vectors.entries()) writeInteger(state.view, vectorAddress(index), 4, value);
  for (const [index, value] of x87.entries()) writeInteger(state.view, x87Address(index), 2, value);
  Object.assign(state, { mxcsr, fsw, ftw });
}

function readInteger(view: DataView, at: number, qwords: number): bigint {
  let value = 0n;
  for (let n = qwords - 1; n >= 0; n--) value = (value << 64n) | view.getBigUint64(at + 8 * n, true);
  return value;
}
function writeInteger(view: DataView, at: number, qwords: number, value: bigint): void {
  for (let n = 0; n < qwords; n++) view.setBigUint64(at + 8 * n, BigInt.asUintN(64, value >> BigInt(64 * n)), true);
}
