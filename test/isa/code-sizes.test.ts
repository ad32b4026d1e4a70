/** The table of sizes says what the decoding library says. */
import { Code, CodeExt } from 'iced-x86';
import { expect, test } from 'vitest';
import { addressSizeOfCode, operandSizeOfCode } from '../../engine/isa/code-sizes.ts';

test('of each code the sizes are the library’s (else run scripts/make-code-sizes.mjs)', () => {
  const differing: string[] = [];
  let code = 0;
  for (; Code[code] !== undefined; code++) {
    const { operandSize, addressSize } = CodeExt.opCode(code);
    const ours = `${operandSizeOfCode(code)} ${addressSizeOfCode(code)}`;
    if (ours !== `${operandSize} ${addressSize}`) differing.push(`${Code[code]}: ${ours}`);
  }
  expect(differing).toEqual([]);
  expect(code).toBeGreaterThan(4000);
});
