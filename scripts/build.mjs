#!/usr/bin/env node
/**
 * Builds everything that is shipped into dist/. Options:
 *   --allow-missing   skip an entry that does not exist (with a note) instead of failing
 *   --watch           rebuild the bundles on every change
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, context } from 'esbuild';
import { icedX86Plugin } from './iced-x86-plugin.mjs';
import { thirdPartyNotices } from './third-party-notices.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

const node = { platform: 'node', format: 'cjs' };
const browser = { platform: 'browser', format: 'iife' };
/** VS Code evaluates a web extension's entry as CommonJS inside its own worker. */
const webExtension = { ...browser, format: 'cjs' };

/** What is shipped: the entry point, the file it becomes, and the host that runs it. */
export const bundles = [
  { entry: 'extension/extension-node.ts', out: 'dist/extension.js', host: { ...node, external: ['vscode'] } },
  {
    entry: 'extension/extension-web.ts',
    out: 'dist/web/extension.js',
    host: { ...webExtension, external: ['vscode'] },
  },
  { entry: 'extension/language-server/node-main.ts', out: 'dist/language-server.js', host: node },
  { entry: 'extension/language-server/web-main.ts', out: 'dist/web/language-server.js', host: browser },
  { entry: 'extension/webview/translation.ts', out: 'dist/webview/translation.js', host: browser },
  { entry: 'debug-adapter/node/main.ts', out: 'dist/debug-adapter.js', host: node },
  { entry: 'debug-adapter/web/worker.ts', out: 'dist/web/debug-adapter-worker.js', host: browser },
  {
    entry: 'debug-adapter/cli/main.ts',
    out: 'dist/ringside.js',
    host: { ...node, banner: { js: '#!/usr/bin/env node' } },
  },
  {
    entry: 'engine/index.ts',
    out: 'dist/engine.mjs',
    host: { platform: 'neutral', format: 'esm', mainFields: ['module', 'main'] },
  },
];

/** Options of one bundle; the tests build their fixtures with the same. */
export function bundleOptions({ entry, out, host }) {
  return {
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: out,
    bundle: true,
    // Above node20, esbuild's binary loader emits Uint8Array.fromBase64, which today's hosts lack.
    target: 'node20',
    loader: { '.wasm': 'binary', '.css': 'text', '.svg': 'text' },
    plugins: [icedX86Plugin],
    minifySyntax: true,
    minifyWhitespace: true,
    sourcemap: true,
    metafile: true,
    logLevel: 'warning',
    ...host,
  };
}

/** Declarations of the engine's public door, so that `import … from 'ringside/engine'` is typed. */
function emitEngineTypes() {
  const options = ['--outDir', 'dist/types/engine', '--composite', 'false', '--incremental', 'false'];
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '-p', 'engine', ...options], { cwd: root, stdio: 'inherit' });
}

async function copyIcons() {
  const from = join(root, 'node_modules/@vscode/codicons/dist');
  await mkdir(join(root, 'dist/webview'), { recursive: true });
  for (const file of ['codicon.css', 'codicon.ttf']) await cp(join(from, file), join(root, 'dist/webview', file));
}

function presentBundles(allowMissing) {
  const missing = bundles.filter(({ entry }) => !existsSync(join(root, entry)));
  if (missing.length > 0 && !allowMissing) {
    throw new Error(`entry points not found: ${missing.map(({ entry }) => entry).join(', ')}`);
  }
  for (const { entry, out } of missing) console.log(`skipped ${out}: ${entry} does not exist`);
  return bundles.filter((bundle) => !missing.includes(bundle));
}

async function write(outputFiles) {
  // Only now, so that a failed build leaves the last good one.
  await rm(join(root, 'dist'), { recursive: true, force: true });
  for (const { path, contents } of outputFiles) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, contents);
  }
}

async function buildAll({ allowMissing }) {
  const started = performance.now();
  const present = presentBundles(allowMissing);
  const results = await Promise.all(present.map((bundle) => build({ ...bundleOptions(bundle), write: false })));
  await write(results.flatMap((result) => result.outputFiles));
  await copyIcons();
  await writeFile(
    join(root, 'dist/third-party-notices.txt'),
    thirdPartyNotices(
      root,
      results.map((r) => r.metafile),
    ),
  );
  emitEngineTypes();
  for (const [file, { bytes }] of results.flatMap((result) => Object.entries(result.metafile.outputs))) {
    if (!file.endsWith('.map')) console.log(`${file.padEnd(36)} ${Math.ceil(bytes / 1024)} KiB`);
  }
  console.log(`built in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

async function watch({ allowMissing }) {
  await copyIcons();
  for (const bundle of presentBundles(allowMissing)) {
    await (await context({ ...bundleOptions(bundle), logLevel: 'info' })).watch();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = { allowMissing: process.argv.includes('--allow-missing') };
  await (process.argv.includes('--watch') ? watch(options) : buildAll(options)).catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
}
