/**
 * VS Code's workbench as vscode.dev runs it: static files, the extension host in a web worker, no server-side code.
 * The workspace folder is offered to it by the extension in local-files/, over this server's /workspace/.
 */

import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, dirname, extname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchWorkbench } from './fetch.mjs';

const localFilesExtension = join(dirname(fileURLToPath(import.meta.url)), 'local-files');
const workbenchScript = '/out/vs/code/browser/workbench/workbench.js';

/** VS Code picks the extension host for the tests by the extension below whose location they are. */
const testsMount = '/developed/0/in-host-tests';

const contentTypes = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ttf': 'font/ttf',
  '.wasm': 'application/wasm',
};

/** code-server's workbench expects its server: no remote authority here, and user data in the browser. */
const workbenchEdits = [
  { find: /,remoteAuthority:location\.host\}/, replace: '}' },
  {
    find: /get userRoamingDataHome\(\)\{return \w+\((\w+)\.file\(this\.userDataPath\)\.with\(\{scheme:(\w+)\.vscodeRemote\}\),"User"\)\}/,
    replace: 'get userRoamingDataHome(){return $1.file("/User").with({scheme:$2.vscodeUserData})}',
  },
];

async function serverlessWorkbench(vscode) {
  const source = await readFile(join(vscode, workbenchScript), 'utf8');
  return workbenchEdits.reduce((text, { find, replace }) => {
    if (!find.test(text)) throw new Error(`${workbenchScript}: expected ${find}; not the pinned code-server`);
    return text.replace(find, replace);
  }, source);
}

const attribute = (value) => JSON.stringify(value).replaceAll('&', '&amp;').replaceAll('"', '&quot;');

function page(options) {
  return `<!DOCTYPE html>
<html>
<head>
  <meta charset="utf-8">
  <meta id="vscode-workbench-web-configuration" data-settings="${attribute(options)}">
  <link rel="icon" href="/vscode/out/vs/workbench/browser/media/code-icon.svg">
  <link rel="stylesheet" href="/vscode/out/vs/code/browser/workbench/workbench.css">
</head>
<body aria-label=""></body>
<script>globalThis._VSCODE_FILE_ROOT = location.origin + '/vscode/out/';</script>
<script type="module" src="/vscode/out/nls.messages.js"></script>
<script type="module" src="/vscode${workbenchScript}"></script>
</html>`;
}

function workbenchOptions({ authority, workspace, settings, developed, installed, testsPath }) {
  const uri = (path) => ({ scheme: 'http', authority, path });
  return {
    folderUri: { scheme: 'ringside-workspace', authority: 'folder', path: `/${basename(workspace)}` },
    userDataPath: '/User-data',
    isEnabledFileDownloads: true,
    isEnabledFileUploads: true,
    isEnabledCoderGettingStarted: false,
    configurationDefaults: settings,
    additionalBuiltinExtensions: [uri('/local-files'), ...installed.map((_, i) => uri(`/installed/${i}`))],
    ...(developed.length > 0 && {
      developmentOptions: {
        extensions: developed.map((_, i) => uri(`/developed/${i}`)),
        ...(testsPath && { extensionTestsPath: uri(`${testsMount}/${basename(testsPath)}`) }),
      },
    }),
    productConfiguration: {
      enableTelemetry: false,
      extensionEnabledApiProposals: {},
      webviewContentExternalBaseUrlTemplate: `http://${authority}/vscode/out/vs/workbench/contrib/webview/browser/pre/`,
    },
  };
}

/** `path` below `folder`, or undefined when it would leave it. */
function below(folder, path) {
  const file = resolve(folder, `.${path}`);
  return file === resolve(folder) || file.startsWith(resolve(folder) + sep) ? file : undefined;
}

const fileTypes = { file: 1, directory: 2 };
const typeOf = (entry) => (entry.isDirectory() ? fileTypes.directory : fileTypes.file);

/** What the file-system provider asks for; a missing file answers 404. */
const workspaceOperations = {
  async stat(file) {
    const found = await stat(file);
    return { type: typeOf(found), ctime: found.ctimeMs, mtime: found.mtimeMs, size: found.size };
  },
  async readdir(file) {
    return (await readdir(file, { withFileTypes: true })).map((entry) => [entry.name, typeOf(entry)]);
  },
  read: (file) => readFile(file),
  async write(file, body) {
    await writeFile(file, body);
    return {};
  },
  async mkdir(file) {
    await mkdir(file, { recursive: true });
    return {};
  },
  async delete(file) {
    await rm(file, { recursive: true });
    return {};
  },
  async rename(file, body, workspace) {
    const target = workspaceFile(workspace, body.toString());
    if (target === undefined) throw new Error('outside of the workspace');
    await rename(file, target);
    return {};
  },
};

async function readBody(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The file that a path of the workspace's URIs (/NAME/…, NAME being the folder's) stands for. */
function workspaceFile(workspace, path) {
  const [, name, ...rest] = path.split('/');
  return name === basename(workspace) ? below(workspace, `/${rest.join('/')}`) : undefined;
}

async function answerWorkspace(workspace, request, url) {
  const operation = workspaceOperations[url.searchParams.get('do')];
  const file = workspaceFile(workspace, decodeURIComponent(url.pathname.slice('/workspace'.length)));
  const changes = request.method !== 'GET';
  // A foreign page can send a simple request here but not read or fake its origin.
  const foreign = changes && request.headers.origin !== `http://${request.headers.host}`;
  if (operation === undefined || file === undefined || foreign) return undefined;
  const result = await operation(file, changes ? await readBody(request) : undefined, workspace);
  return Buffer.isBuffer(result)
    ? { type: 'application/octet-stream', body: result }
    : { type: 'application/json', body: JSON.stringify(result) };
}

async function answerFile(mounts, url) {
  const [prefix, folder] = mounts.find(([mount]) => url.pathname.startsWith(`${mount}/`)) ?? [];
  const file = prefix && below(folder, decodeURIComponent(url.pathname.slice(prefix.length)));
  if (!file) return undefined;
  return { type: contentTypes[extname(file)] ?? 'application/octet-stream', body: await readFile(file) };
}

function listen(server, port) {
  return new Promise((fulfil, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => fulfil(server.address().port));
  });
}

/**
 * Serves the workbench with `workspace` open. `installed` and `developed` are extension folders; with `testsPath`
 * (a CommonJS module that exports run) VS Code runs the tests in its extension host. Port 0 takes a free one.
 * Returns the URL, and a function that ends the server.
 */
export async function serveWorkbench({
  port = 0,
  workspace,
  settings = {},
  installed = [],
  developed = [],
  testsPath,
  log,
}) {
  const vscode = join(await fetchWorkbench(log), 'lib/vscode');
  const workbench = await serverlessWorkbench(vscode);
  const mounts = [
    ['/vscode', vscode],
    ['/local-files', localFilesExtension],
    ...(testsPath ? [[testsMount, dirname(testsPath)]] : []),
    ...installed.map((folder, i) => [`/installed/${i}`, folder]),
    ...developed.map((folder, i) => [`/developed/${i}`, folder]),
  ];
  const answer = async (request) => {
    const url = new URL(request.url, 'http://localhost');
    if (url.pathname === '/') {
      const options = { authority: request.headers.host, workspace, settings, developed, installed, testsPath };
      return { type: 'text/html', body: page(workbenchOptions(options)) };
    }
    if (url.pathname === `/vscode${workbenchScript}`) return { type: 'text/javascript', body: workbench };
    if (url.pathname.startsWith('/workspace/')) return answerWorkspace(workspace, request, url);
    return answerFile(mounts, url);
  };
  const server = createServer(async (request, response) => {
    // Any other host name is a page of somebody else's whose name was made to point here.
    const own = /^([\w-]+\.)?localhost(:\d+)?$/.test(request.headers.host ?? '');
    const found = own ? await answer(request).catch(() => undefined) : undefined;
    response.writeHead(found ? 200 : 404, {
      'Content-Type': found?.type ?? 'text/plain',
      'Cross-Origin-Resource-Policy': 'cross-origin',
      'Cache-Control': 'no-cache',
    });
    response.end(found?.body ?? 'not found');
  });
  const bound = await listen(server, port);
  const close = () =>
    new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    });
  return { url: `http://localhost:${bound}/`, close };
}
