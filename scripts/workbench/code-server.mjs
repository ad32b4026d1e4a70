/** VS Code's workbench from code-server: extensions run in a Node extension host, as in the desktop application. */
import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fetchCodeServer, fetchNode24, writeFirstSettings } from './fetch.mjs';

function freePort() {
  return new Promise((fulfil, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => fulfil(port));
    });
  });
}

function serverEnvironment(node) {
  const { VSCODE_IPC_HOOK_CLI: _, ...environment } = process.env; // it would point at the editor whose terminal this is
  return { ...environment, PATH: [dirname(node), environment.PATH].join(delimiter) };
}

/** Runs code-server's own command line and resolves with its process; what it prints is kept for error messages. */
async function codeServer({ data, log }, args) {
  const [node, folder] = [await fetchNode24(log), await fetchCodeServer(log)];
  const config = join(data, 'config.yaml');
  await mkdir(data, { recursive: true });
  await writeFile(config, '{}\n');
  const folders = ['--user-data-dir', join(data, 'user-data'), '--extensions-dir', join(data, 'extensions')];
  const child = spawn(node, [join(folder, 'out/node/entry.js'), '--config', config, ...folders, ...args], {
    env: serverEnvironment(node),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const printed = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => printed.push(String(text)));
  const exited = new Promise((done) => child.once('exit', (code) => done(code)));
  return { child, exited, printed: () => printed.join('') };
}

async function installExtension(options, vsix) {
  const { exited, printed } = await codeServer(options, ['--install-extension', vsix, '--force']);
  if ((await exited) !== 0) throw new Error(`installing ${vsix} failed:\n${printed()}`);
}

async function answers(url) {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}

async function untilHealthy(url, { exited, printed }) {
  let ended = false;
  exited.then(() => {
    ended = true;
  });
  while (!(await answers(`${url}healthz`))) {
    if (ended) throw new Error(`code-server ended before it was ready:\n${printed()}`);
    await new Promise((again) => setTimeout(again, 100));
  }
}

/**
 * Starts code-server on the loopback interface with the given .vsix files installed. `data` is the folder of its user
 * data and extensions; `smokeTestDriver` lets a page run in-host tests. Port 0 takes a free one.
 * Returns the URL of its window on `workspace`, and a function that ends it.
 */
export async function startCodeServer({
  port = 0,
  workspace,
  settings = {},
  vsix = [],
  data,
  smokeTestDriver = false,
  log,
}) {
  await writeFirstSettings(join(data, 'user-data'), settings);
  for (const file of vsix) await installExtension({ data, log }, file);
  const bound = port || (await freePort());
  const server = await codeServer({ data, log }, [
    ...['--bind-addr', `127.0.0.1:${bound}`, '--auth', 'none', '--disable-telemetry', '--disable-update-check'],
    ...['--disable-workspace-trust', '--disable-getting-started-override', '--ignore-last-opened'],
    ...(smokeTestDriver ? ['--vscode-option', 'enable-smoke-test-driver'] : []),
  ]);
  const base = `http://127.0.0.1:${bound}/`;
  await untilHealthy(base, server);
  const close = async () => {
    server.child.kill();
    await server.exited;
  };
  return {
    url: `${base}?folder=${encodeURIComponent(resolve(workspace))}`,
    authority: `127.0.0.1:${bound}`,
    exited: server.exited,
    close,
  };
}
