// Records the vectors: node test/vectors/record/record.mjs [16] [32] [64]
import { build } from 'esbuild';

const root = new URL('../', import.meta.url);
const cache = new URL('../../../node_modules/.cache/ringside-vectors/', import.meta.url);
const outfile = new URL('record.mjs', cache);

await build({
  entryPoints: [new URL('record.ts', import.meta.url).pathname],
  outfile: outfile.pathname,
  bundle: true,
  platform: 'node',
  format: 'esm',
  external: ['iced-x86'],
  logLevel: 'error',
});
const { record } = await import(outfile.href);
const modes = process.argv.slice(2).map(Number);
record(modes.length > 0 ? modes : [64, 32, 16], root, cache);
