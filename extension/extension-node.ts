/** Entry of the extension in the Node extension host: the desktop application, and remote windows. */
import type * as vscode from 'vscode';
import { activateRingside, type RingsideExports } from './activate.ts';
import { ProcessAdapterFactory } from './debug/adapter-node.ts';
import { startLanguageClient } from './language-client-node.ts';

export function activate(context: vscode.ExtensionContext): RingsideExports {
  return activateRingside(context, {
    adapterFactory: new ProcessAdapterFactory(context.extensionUri),
    startLanguageClient: () => startLanguageClient(context.extensionUri),
  });
}
