#!/usr/bin/env node
/**
 * Opens VS Code in the browser with Ringside installed and the samples as workspace. Options:
 *   --port N      port on this machine; default 8440, or any free one when that is taken
 *   --web         the web extension host (as on vscode.dev), served without code-server
 *   --no-open     do not open a browser
 *   FOLDER        another workspace than samples/
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { packageExtension } from './package.mjs';
import { startCodeServer } from './workbench/code-server.mjs';
import { cacheFolder } from './workbench/fetch.mjs';
import { serveWorkbench } from './workbench/serverless.mjs';
import { quietSettings } from './workbench/settings.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const defaultPort = 8440;
const settings = {
  ...quietSettings,
  'workbench.startupEditor': 'readme',
  'git.enabled': true,
  'git.openRepositoryInParentFolders': 'never',
};

function readOptions() {
  const options = {
    port: { type: 'string' },
    web: { type: 'boolean', default: false },
    open: { type: 'boolean', default: true },
  };
  const { values, positionals } = parseArgs({ options, allowPositionals: true, allowNegative: true });
  const port = values.port === undefined ? undefined : Number(values.port);
  if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65536)) {
    throw new Error(`--port: expected a number from 1 to 65535, found "${values.port}"`);
  }
  const workspace = resolve(positionals[0] ?? join(root, 'samples'));
  if (!existsSync(workspace)) throw new Error(`${workspace}: expected a folder to open, found nothing`);
  return { port, web: values.web, open: values.open, workspace };
}

const isFree = (port) =>
  new Promise((answer) => {
    const probe = createServer();
    probe.once('error', () => answer(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => answer(true)));
  });

async function choosePort(wanted) {
  if (wanted === undefined) return (await isFree(defaultPort)) ? defaultPort : 0;
  if (!(await isFree(wanted))) throw new Error(`port ${wanted} is taken; give another with --port, or none`);
  return wanted;
}

/** Opens the system's browser, if it has one; nobody is told when it has not, for the address is printed anyway. */
function openBrowser(url) {
  const commands = { darwin: ['open'], win32: ['cmd', '/c', 'start', '""'] };
  const [command, ...args] = commands[process.platform] ?? ['xdg-open'];
  const hasDisplay = process.platform !== 'linux' || process.env.DISPLAY || process.env.WAYLAND_DISPLAY;
  if (!hasDisplay) return;
  const child = spawn(command, [...args, url], { stdio: 'ignore', detached: true });
  child.on('error', () => {});
  child.unref();
}

async function serve({ web, workspace, port }) {
  if (web) return serveWorkbench({ port, workspace, settings, installed: [root] });
  const data = join(cacheFolder, 'start');
  return startCodeServer({
    port,
    workspace,
    settings,
    vsix: [await packageExtension(join(root, 'out/vsix/ringside.vsix'))],
    data,
  });
}

async function main() {
  const options = readOptions();
  const server = await serve({ ...options, port: await choosePort(options.port) });
  console.log(`\nRingside is ready: ${server.url}\nPress Ctrl+C here to end it.`);
  if (options.open) openBrowser(server.url);
  const asked = new Promise((done) => {
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => done());
  });
  const ended = await Promise.race([asked, server.exited ?? asked]);
  if (ended !== undefined) throw new Error(`code-server ended by itself, with ${ended}`);
  await server.close();
}

await main().catch((error) => {
  console.error(`npm start: ${error.message}`);
  process.exit(1);
});
