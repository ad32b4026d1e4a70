#!/usr/bin/env node
/** Packs the built extension into ringside-VERSION.vsix, as it would be published; works without a network. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const run = promisify(execFile);

/** Packs the extension in `folder` (by default Ringside) into the file `out`; what it prints becomes the error. */
export async function packageExtension(out, folder = root) {
  await mkdir(dirname(out), { recursive: true });
  const vsce = join(root, 'node_modules/@vscode/vsce/vsce');
  // Bundles need no node_modules; links in the README stay as they are, for there is no repository address to add.
  const options = ['--no-dependencies', '--no-rewrite-relative-links', '--allow-missing-repository', '--skip-license'];
  try {
    await run(process.execPath, [vsce, 'package', ...options, '--out', out], { cwd: folder });
  } catch (error) {
    throw new Error(`packaging ${folder} failed:\n${error.stdout ?? ''}${error.stderr ?? error.message}`);
  }
  return out;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { name, version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const file = await packageExtension(join(root, `${name}-${version}.vsix`));
  console.log(`${file}: ${Math.ceil((await stat(file)).size / 1024)} KiB`);
}
