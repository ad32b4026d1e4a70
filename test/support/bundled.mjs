/** TypeScript of the tests as a module that Node runs. */
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/**
 * Bundles a file of TypeScript into a folder and imports it.
 *
 * @param {URL} source
 * @param {URL} folder ends with a slash
 */
export async function importBundled(source, folder) {
  const outfile = new URL(`${basename(source.pathname, '.ts')}.mjs`, folder);
  await build({
    entryPoints: [fileURLToPath(source)],
    outfile: fileURLToPath(outfile),
    bundle: true,
    platform: 'node',
    format: 'esm',
    external: ['iced-x86'],
    logLevel: 'error',
  });
  return import(outfile.href);
}
