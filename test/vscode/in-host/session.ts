/** Debugging a sample inside VS Code's extension host: start, stop, and read what Ringside's views show. */
import * as vscode from 'vscode';
import type { RingsideExports } from '../../../extension/activate.ts';
import type { Row } from '../../../extension/views/row.ts';
import { assert, once } from './runner.ts';

/** The extension's exports; activates it. */
export async function ringside(): Promise<RingsideExports> {
  const extension = vscode.extensions.getExtension<RingsideExports>('ringside.ringside');
  assert(extension, 'the extension ringside to be installed');
  return extension.activate();
}

export function samplesFolder(): vscode.WorkspaceFolder {
  const folder = vscode.workspace.workspaceFolders?.[0];
  assert(folder, 'the samples to be open');
  return folder;
}

/** Opens a source of the samples, by its path in their folder. */
export async function openSource(path: string): Promise<vscode.TextDocument> {
  const document = await vscode.workspace.openTextDocument(vscode.Uri.joinPath(samplesFolder().uri, path));
  await vscode.window.showTextDocument(document);
  return document;
}

/** The line (from 0) that a source marks with `marker`. */
export function lineOf(document: vscode.TextDocument, marker: string): number {
  const line = document
    .getText()
    .split('\n')
    .findIndex((text) => text.includes(marker));
  assert(line >= 0, `a line with "${marker}" in ${document.fileName}`);
  return line;
}

export function breakAt(document: vscode.TextDocument, marker: string, condition?: string): void {
  const position = new vscode.Position(lineOf(document, marker), 0);
  const location = new vscode.Location(document.uri, position);
  vscode.debug.addBreakpoints([new vscode.SourceBreakpoint(location, true, condition)]);
}

export interface Stop {
  readonly reason: string;
  readonly description?: string;
  readonly text?: string;
}

interface Message {
  readonly type: string;
  readonly event?: string;
  readonly body?: Stop;
}

/** A session under test. */
export class Session {
  readonly session: vscode.DebugSession;
  readonly #stopped: vscode.Event<Stop>;
  readonly #tracking: vscode.Disposable;

  private constructor(session: vscode.DebugSession, stopped: vscode.Event<Stop>, tracking: vscode.Disposable) {
    this.session = session;
    this.#stopped = stopped;
    this.#tracking = tracking;
  }

  /** Starts by `start` and waits for the first stop. */
  static async start(start: () => Thenable<unknown>): Promise<Session> {
    const emitter = new vscode.EventEmitter<Stop>();
    const onDidSendMessage = ({ type, event, body }: Message) => {
      if (type === 'event' && event === 'stopped' && body) emitter.fire(body);
    };
    const factory = { createDebugAdapterTracker: () => ({ onDidSendMessage }) };
    const tracking = vscode.debug.registerDebugAdapterTrackerFactory('ringside', factory);
    const focused = focusedFrame();
    await start();
    await focused;
    const session = vscode.debug.activeDebugSession;
    assert(session, 'an active session');
    return new Session(session, emitter.event, tracking);
  }

  /** Runs a command of the debugger and waits until the guest has stopped again and a frame has the focus. */
  async run(command: 'continue' | 'stepOver' | 'stepInto' | 'stepOut'): Promise<Stop> {
    return this.after(() => vscode.commands.executeCommand(`workbench.action.debug.${command}`));
  }

  /** The same for anything that ends in a stop. */
  async after(work: () => Thenable<unknown>): Promise<Stop> {
    const stopped = once(this.#stopped, () => true, 'a stop');
    const focused = focusedFrame();
    await work();
    await focused;
    return stopped;
  }

  async end(): Promise<void> {
    const ended = once(vscode.debug.onDidTerminateDebugSession, ({ id }) => id === this.session.id, 'the end');
    await vscode.debug.stopDebugging(this.session);
    vscode.debug.removeBreakpoints(vscode.debug.breakpoints);
    await ended;
    this.#tracking.dispose();
  }

  /** Arms an exception filter; extensions have no other way to than to ask the adapter. */
  async stopAt(filterId: string, condition: string): Promise<void> {
    const filterOptions = [{ filterId, condition }];
    await this.session.customRequest('setExceptionBreakpoints', { filters: [], filterOptions });
  }

  async evaluate(expression: string): Promise<string> {
    const item = vscode.debug.activeStackItem;
    const frame = item && 'frameId' in item ? { frameId: item.frameId } : {};
    const { result } = await this.session.customRequest('evaluate', { expression, context: 'watch', ...frame });
    return result;
  }
}

function focusedFrame(): Promise<unknown> {
  const isFrame = (item: object | undefined) => item !== undefined && 'frameId' in item;
  return once(vscode.debug.onDidChangeActiveStackItem, isFrame, 'a stack frame in focus');
}

/** The rows of a view, as it would draw them now. */
export async function rowsOf(view: string): Promise<Row[]> {
  const tree = (await ringside()).trees[`ringside.${view}`];
  assert(tree, `the view ${view}`);
  return tree.getChildren();
}

const TRIES = 50;
const PAUSE_MS = 100;

/** Asks again as long as that fails, for some seconds: views follow a change, but not at once. */
export async function eventually<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 1; tries < TRIES; tries++) {
    try {
      return await ask();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
  return ask();
}

/** A row of a view by the labels on the way to it; a label may be given by its beginning. */
export async function rowAt(view: string, ...labels: readonly string[]): Promise<Row> {
  let level: readonly Row[] = await rowsOf(view);
  let found: Row | undefined;
  for (const label of labels) {
    found = level.find((row) => row.label.startsWith(label));
    assert(found, `a row ${label} in ${view}, among ${level.map((row) => row.label).join(', ')}`);
    level = (await found.children?.()) ?? [];
  }
  assert(found, 'a label');
  return found;
}
