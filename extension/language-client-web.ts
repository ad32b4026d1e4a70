/** Starts the language server in a web worker. */
import * as vscode from 'vscode';
import { LanguageClient } from 'vscode-languageclient/browser';
import { clientId, clientName, clientOptions, readFile } from './language-client.ts';
import { readFileRequest } from './language-server/protocol.ts';

export async function startLanguageClient(extension: vscode.Uri): Promise<vscode.Disposable> {
  const worker = new Worker(vscode.Uri.joinPath(extension, 'dist/web/language-server.js').toString(true));
  const client = new LanguageClient(clientId, clientName, worker, clientOptions());
  client.onRequest(readFileRequest, readFile);
  await client.start();
  return client;
}
