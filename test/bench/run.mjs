#!/usr/bin/env node
/**
 * Entry of the benchmark: bundles it and the process that runs one guest under Ringside, as the shipped bundles are
 * made, and starts it. `node test/bench/run.mjs --help` tells its options.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { bundleOptions } from '../../scripts/build.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const host = {
  platform: 'node',
  format: 'esm',
  outExtension: { '.js': '.mjs' },
  // iced-x86 is CommonJS and asks for Node's modules by `require`.
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
};

async function bundle(name) {
  const out = join(root, `out/bench/${name}.mjs`);
  await build(bundleOptions({ entry: `test/bench/${name}.ts`, out, host: { ...host, metafile: false } }));
  return out;
}

const [bench, ringsideProcess, latencyProcess] = await Promise.all([
  bundle('bench'),
  bundle('ringside-process'),
  bundle('latency-process'),
]);
const { main } = await import(pathToFileURL(bench).href);
process.exitCode = await main(process.argv.slice(2), { root, ringsideProcess, latencyProcess });
