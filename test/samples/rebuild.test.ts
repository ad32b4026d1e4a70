/** The committed ELF files are what their Makefiles make of the committed sources, to the byte. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeWithTools, toolPath } from '../support/tools.ts';
import { SAMPLES } from './judges.ts';

const SAMPLES_IN_C = ['c-program', 'c-hypervisor'];

/** The compiler by its own account, as debug information has it too: `GNU C11 12.2.0 …`. */
const COMMITTED_WITH = /GNU C11 ([\d.]+) /.exec(
  readFileSync(path.join(SAMPLES, 'c-program/c-program.elf'), 'latin1'),
)?.[1];

function rebuilt(sample: string): Buffer {
  const folder = mkdtempSync(path.join(tmpdir(), 'ringside-rebuild-'));
  try {
    for (const name of SAMPLES_IN_C) cpSync(path.join(SAMPLES, name), path.join(folder, name), { recursive: true });
    execFileSync('make', ['-s', '-B', '-C', path.join(folder, sample), `${sample}.elf`]);
    return readFileSync(path.join(folder, sample, `${sample}.elf`));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describeWithTools(['make', 'gcc', 'ld'], 'the samples in C', () => {
  const compiler = toolPath('gcc') && execFileSync('gcc', ['-dumpfullversion'], { encoding: 'utf8' }).trim();
  describe.skipIf(compiler !== COMMITTED_WITH)(`rebuilt with gcc ${COMMITTED_WITH} (here: ${compiler})`, () => {
    test.each(SAMPLES_IN_C)('%s', (sample) => {
      expect(rebuilt(sample).equals(readFileSync(path.join(SAMPLES, sample, `${sample}.elf`)))).toBe(true);
    });
  });
});
