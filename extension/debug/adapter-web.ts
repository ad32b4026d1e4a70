/** In a browser the adapter is a web worker; it gets files through the extension, from VS Code's file systems. */
import * as vscode from 'vscode';
import type { FromWorker, ReadFileRequest, ToWorker } from '../../debug-adapter/protocol/worker-messages.ts';

export class WorkerAdapterFactory implements vscode.DebugAdapterDescriptorFactory {
  readonly #script: string;

  constructor(extension: vscode.Uri) {
    this.#script = vscode.Uri.joinPath(extension, 'dist/web/debug-adapter-worker.js').toString(true);
  }

  createDebugAdapterDescriptor(session: vscode.DebugSession): vscode.DebugAdapterDescriptor {
    const base = session.workspaceFolder ?? vscode.workspace.workspaceFolders?.[0];
    return new vscode.DebugAdapterInlineImplementation(new WorkerAdapter(new Worker(this.#script), base?.uri));
  }
}

class WorkerAdapter implements vscode.DebugAdapter {
  readonly #sent = new vscode.EventEmitter<vscode.DebugProtocolMessage>();
  readonly onDidSendMessage = this.#sent.event;
  readonly #worker: Worker;
  readonly #base: vscode.Uri | undefined;

  constructor(worker: Worker, base: vscode.Uri | undefined) {
    this.#worker = worker;
    this.#base = base;
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#hear(data);
    worker.onerror = (event) => this.#fail(event.message);
  }

  handleMessage(message: vscode.DebugProtocolMessage): void {
    this.#post({ kind: 'dap', message: message as Extract<ToWorker, { kind: 'dap' }>['message'] });
  }

  dispose(): void {
    this.#worker.terminate();
    this.#sent.dispose();
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #hear(message: FromWorker): void {
    if (message.kind === 'dap') this.#sent.fire(message.message);
    else void this.#readFile(message);
  }

  async #readFile({ id, path }: ReadFileRequest): Promise<void> {
    try {
      this.#post({ kind: 'file', id, bytes: await vscode.workspace.fs.readFile(this.#uriOf(path)) });
    } catch (error) {
      this.#post({ kind: 'file', id, error: reason(error) });
    }
  }

  #uriOf(path: string): vscode.Uri {
    if (/^[a-z][\w+.-]+:\/\//i.test(path)) return vscode.Uri.parse(path);
    if (!this.#base) return vscode.Uri.file(path);
    return path.startsWith('/') ? this.#base.with({ path }) : vscode.Uri.joinPath(this.#base, path);
  }

  /** An adapter that dies ends its session, and says so. */
  #fail(why: string): void {
    const event = (name: string, body: object) => this.#sent.fire({ type: 'event', seq: 0, event: name, body });
    event('output', { category: 'important', output: `The debug adapter ended by an internal error: ${why}\n` });
    event('terminated', {});
  }
}

function reason(error: unknown): string {
  if (error instanceof vscode.FileSystemError && error.code === 'FileNotFound') return 'there is no such file';
  return error instanceof Error ? error.message : String(error);
}
