/** Entry of the extension in the web extension host: vscode.dev and the like. */
import type * as vscode from 'vscode';
import { activateRingside, type RingsideExports } from './activate.ts';
import { WorkerAdapterFactory } from './debug/adapter-web.ts';
import { startLanguageClient } from './language-client-web.ts';

export function activate(context: vscode.ExtensionContext): RingsideExports {
  return activateRingside(context, {
    adapterFactory: new WorkerAdapterFactory(context.extensionUri),
    startLanguageClient: () => startLanguageClient(context.extensionUri),
  });
}
