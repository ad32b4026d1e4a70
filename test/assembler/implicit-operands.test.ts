/** Operands that an instruction has anyway, as NASM 2.16 encodes them. */
import { expect, test } from 'vitest';
import { assemble } from '../../debug-adapter/assembler/index.ts';

test.each([
  [64, 'invlpga rax, ecx', '0f01df'],
  [64, 'invlpga eax, ecx', '670f01df'],
  [64, 'invlpga', '0f01df'],
  [32, 'invlpga eax, ecx', '0f01df'],
  [32, 'invlpga ax, ecx', '670f01df'],
])('%d bits: %s', (bits, line, bytes) => {
  const { image, diagnostics } = assemble(
    { path: 'a.asm', text: `bits ${bits}\n ${line}` },
    { readFile: () => undefined },
  );
  expect([diagnostics.map(({ message }) => message), Buffer.from(image ?? []).toString('hex')]).toEqual([[], bytes]);
});

test.each(['invlpga rcx, ecx', 'invlpga rax, rcx', 'invlpga rax'])('%s is refused', (line) => {
  const { image } = assemble({ path: 'a.asm', text: `bits 64\n ${line}` }, { readFile: () => undefined });
  expect(image).toBeUndefined();
});
