// Records the vectors: node test/vectors/record/record.mjs [64 | 64-logic | …] …
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
const wanted = process.argv.slice(2);
record(wanted.length > 0 ? wanted : ['64', '32', '16'], root, cache);
