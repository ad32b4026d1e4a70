// Records what the installed NASM 2.16 makes of the generated instructions and of the programs:
//   node test/assembler/record-fixtures.mjs
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const outfile = join(import.meta.dirname, '.record-fixtures.bundle.mjs');
await build({
  entryPoints: [join(import.meta.dirname, 'fixtures.ts')],
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  external: ['iced-x86'],
  outfile,
});
try {
  const { recordFixtures } = await import(pathToFileURL(outfile).href);
  recordFixtures();
} finally {
  rmSync(outfile);
}
