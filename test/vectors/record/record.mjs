// Records the vectors: node test/vectors/record/record.mjs [64 | 64-logic | …] …
import { importBundled } from '../../support/bundled.mjs';

const root = new URL('../', import.meta.url);
const cache = new URL('../../../node_modules/.cache/ringside-vectors/', import.meta.url);
const { record } = await importBundled(new URL('record.ts', import.meta.url), cache);
const wanted = process.argv.slice(2);
record(wanted.length > 0 ? wanted : ['64', '32', '16'], root, cache);
