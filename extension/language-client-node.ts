/** Starts the language server in a process of its own. */
import * as vscode from 'vscode';
import { LanguageClient, TransportKind } from 'vscode-languageclient/node';
import { clientId, clientName, clientOptions, readFile } from './language-client.ts';
import { readFileRequest } from './language-server/protocol.ts';

export async function startLanguageClient(extension: vscode.Uri): Promise<vscode.Disposable> {
  const module = vscode.Uri.joinPath(extension, 'dist/language-server.js').fsPath;
  const client = new LanguageClient(clientId, clientName, { module, transport: TransportKind.ipc }, clientOptions());
  client.onRequest(readFileRequest, readFile);
  await client.start();
  return client;
}
