/** Vector and x87 registers: from the vectors' form to the engine's, and what differs between two of the latter. */
import type { ExtendedState } from '../../engine/isa/oracle.ts';
import type { ExtendedState as Recorded } from '../vectors/extended-state.ts';

export const toEngine = ({ xmm, ymmHigh, fpr, mxcsr, fsw, ftw }: Recorded): ExtendedState => ({
  vectors: xmm.map((low, n) => low | ((ymmHigh[n] ?? 0n) << 128n)),
  x87: [...fpr],
  mxcsr,
  cr4: 0x600,
  fsw,
  ftw,
});

export function extendedDifferences(expected: ExtendedState, found: ExtendedState): string[] {
  const differing = (what: string, a: readonly bigint[], b: readonly bigint[]): string[] =>
    a.flatMap((value, n) =>
      value === b[n] ? [] : [`${what}${n}: expected ${value.toString(16)}, found ${b[n]?.toString(16)}`],
    );
  return [
    ...differing('ymm', expected.vectors, found.vectors),
    ...differing('fpr', expected.x87, found.x87),
    ...(['mxcsr', 'fsw', 'ftw'] as const).flatMap((word) =>
      differing(word, [BigInt(expected[word])], [BigInt(found[word])]),
    ),
  ];
}
