import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageExtension } from '../../scripts/package.mjs';
import { startCodeServer } from '../../scripts/workbench/code-server.mjs';
import { serveWorkbench } from '../../scripts/workbench/serverless.mjs';
import { quietSettings } from '../../scripts/workbench/settings.mjs';
import { launchChromium } from '../support/chromium.ts';
import { Workbench } from './workbench.ts';

export const repository = fileURLToPath(new URL('../../', import.meta.url));

/** Which extension host runs the extension: a web worker, as on vscode.dev, or Node, as in the desktop application. */
export type Host = 'web' | 'node';

export interface WorkbenchOptions {
  host: Host;
  /** The folder to open; a copy is opened, so that tests may change it. */
  workspace: string;
  /** Folder of the extension; Ringside itself unless a test of the harness says otherwise. */
  extension?: string;
  settings?: Record<string, unknown>;
  /** A bundled CommonJS module that exports run(): VS Code runs it in the extension host. */
  testsPath?: string;
}

/** A running server with the URL of its window, and what it takes to end it. */
export interface Served {
  url: string;
  /** The opened copy of the workspace. */
  workspace: string;
  close(): Promise<void>;
}

/** Where the last click left the mouse a hover would cover what the next one is about, and never go away. */
const HOVER_MS = 3_600_000;

const testSettings = {
  ...quietSettings,
  'workbench.hover.delay': HOVER_MS,
  'workbench.hover.reducedDelay': HOVER_MS,
};

const packaged = new Map<string, Promise<string>>();

/** The .vsix of the extension in `folder`, packaged once for each test file. */
function vsixOf(folder: string): Promise<string> {
  const known = packaged.get(folder);
  if (known !== undefined) return known;
  const made = packageExtension(join(repository, 'out/vsix', `${basename(resolve(folder))}.vsix`), folder);
  packaged.set(folder, made);
  return made;
}

/** VS Code's URL parameter that passes options to the window. */
function payload(values: Record<string, string>): string {
  return `&payload=${encodeURIComponent(JSON.stringify(Object.entries(values)))}`;
}

async function serveWeb({ extension = repository, settings, testsPath }: WorkbenchOptions, workspace: string) {
  const extensions = testsPath === undefined ? { installed: [extension] } : { developed: [extension], testsPath };
  return serveWorkbench({ workspace, settings: { ...testSettings, ...settings }, ...extensions });
}

async function serveNode(
  { extension = repository, settings, testsPath }: WorkbenchOptions,
  workspace: string,
  data: string,
) {
  const common = { workspace, data, settings: { ...testSettings, ...settings } };
  if (testsPath === undefined) return startCodeServer({ ...common, vsix: [await vsixOf(extension)] });
  const { url, authority, close } = await startCodeServer({ ...common, smokeTestDriver: true });
  const remote = (path: string) => `vscode-remote://${authority}${resolve(path)}`;
  const paths = { extensionDevelopmentPath: remote(extension), extensionTestsPath: remote(testsPath) };
  return { url: url + payload(paths), close };
}

/** Starts the server for a window, on a copy of the workspace. */
export async function serve(options: WorkbenchOptions): Promise<Served> {
  const folder = await mkdtemp(join(tmpdir(), 'ringside-workbench-'));
  const workspace = join(folder, basename(resolve(options.workspace)));
  await cp(options.workspace, workspace, { recursive: true });
  const server = await (options.host === 'web'
    ? serveWeb(options, workspace)
    : serveNode(options, workspace, join(folder, 'data')));
  const close = async () => {
    await server.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  return { url: server.url, workspace, close };
}

/** Opens a real VS Code window on `options.workspace` with the extension installed, ready to be clicked. */
export async function startWorkbench(options: WorkbenchOptions): Promise<Workbench> {
  const served = await serve(options);
  const browser = await launchChromium();
  const close = async () => {
    await browser.close();
    await served.close();
  };
  try {
    const page = await browser.newPage({ viewport: { width: 1600, height: 1000 } });
    page.setDefaultTimeout(30_000);
    await page.goto(served.url, { timeout: 60_000 });
    const workbench = new Workbench(page, served.workspace, close);
    await workbench.ready();
    return workbench;
  } catch (error) {
    await close();
    throw error;
  }
}
