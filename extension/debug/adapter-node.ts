/** In the Node extension host the adapter is a process of its own, run by VS Code's own Node. */
import * as vscode from 'vscode';

export class ProcessAdapterFactory implements vscode.DebugAdapterDescriptorFactory {
  readonly #program: string;

  constructor(extension: vscode.Uri) {
    this.#program = vscode.Uri.joinPath(extension, 'dist/debug-adapter.js').fsPath;
  }

  createDebugAdapterDescriptor(): vscode.DebugAdapterDescriptor {
    // In the desktop application this is Electron, which is a Node only when told so.
    return new vscode.DebugAdapterExecutable(process.execPath, [this.#program], { env: { ELECTRON_RUN_AS_NODE: '1' } });
  }
}
