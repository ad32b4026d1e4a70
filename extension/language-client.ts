/** What the language clients of both extension hosts have in common. */
import * as vscode from 'vscode';
import type { LanguageClientOptions } from 'vscode-languageclient';
import { configurationSection, type ReadFileParams, type ReadFileResult } from './language-server/protocol.ts';

export const clientId = 'ringside';
export const clientName = 'Ringside Assembly';

export function clientOptions(): LanguageClientOptions {
  return {
    documentSelector: [{ language: 'nasm' }],
    synchronize: {
      configurationSection,
      fileEvents: vscode.workspace.createFileSystemWatcher('**/*.{asm,nasm,inc}'),
    },
  };
}

/** Included files are read through VS Code, so that the server works in a browser as well. */
export async function readFile({ uri }: ReadFileParams): Promise<ReadFileResult> {
  try {
    const bytes = await vscode.workspace.fs.readFile(vscode.Uri.parse(uri));
    return { base64: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')) };
  } catch {
    return null;
  }
}
