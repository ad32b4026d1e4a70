/** What differs between the Node and the web extension host. */
import type * as vscode from 'vscode';

export interface Host {
  /** Starts the debug adapter of a session. */
  readonly adapterFactory: vscode.DebugAdapterDescriptorFactory;
  /** Starts the language server; disposing of what it returns stops it. */
  startLanguageClient(): Promise<vscode.Disposable>;
}
