/** Guests in files of their own whose output a judge has confirmed: it is committed beside them as `NAME.txt`. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { available, runSourceUnder } from './judges.ts';
import { bootSourceFile, type SourceOptions } from './source-guests.ts';

export type Judge = 'qemu' | 'bochs';

export interface JudgedGuest {
  /** Path of the source: a multiboot guest that is entered in 32-bit protected mode and prints to the debug console. */
  readonly source: string;
  /** Those that implement what the guest asks about. */
  readonly judges: readonly Judge[];
  /** A model of Bochs that has what the usual one lacks. */
  readonly bochsModel?: string | undefined;
  readonly options?: Partial<SourceOptions>;
}

const expectedFile = (source: string): string => source.replace(/\.asm$/, '.txt');
const LIMIT = 20_000_000;

/**
 * Tests that Ringside prints what is expected, in one go and in slices, and that every judge that is installed does too.
 * After a change to the guest, `vitest -u` writes down what the first judge says.
 */
export function testJudgedGuest({ source, judges, bochsModel, options }: JudgedGuest): void {
  const expected = () => readFileSync(expectedFile(source), 'latin1');
  test.each([
    ['in one go', LIMIT],
    ['in slices of 7 instructions', 7],
  ])('Ringside, %s', (_name, instructions) => {
    const { machine, output } = bootSourceFile(source, { mode: 'protected', ...options });
    let stop = machine.run({ instructions });
    while (stop.kind === 'limit' && machine.instructionCount < LIMIT) stop = machine.run({ instructions });
    expect(output()).toBe(expected());
    expect(stop).toMatchObject({ kind: 'exited', code: 0 });
  });
  for (const judge of judges) {
    const program = judge === 'qemu' ? 'qemu-system-x86_64' : 'bochs';
    test.skipIf(!available('nasm', program))(judge, async () => {
      const { output } = await runSourceUnder(judge, path.resolve(source), bochsModel);
      if (judge === judges[0]) await expect(output).toMatchFileSnapshot(path.resolve(expectedFile(source)));
      else expect(output).toBe(expected());
    });
  }
}
