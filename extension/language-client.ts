/** What the language clients of both extension hosts have in common. */
import * as vscode from 'vscode';
import type { LanguageClientOptions } from 'vscode-languageclient';

export const clientId = 'ringside';
export const clientName = 'Ringside Assembly';

export function clientOptions(): LanguageClientOptions {
  return {
    documentSelector: [{ language: 'nasm' }],
    synchronize: {
      configurationSection: 'ringside',
      fileEvents: vscode.workspace.createFileSystemWatcher('**/*.{asm,nasm,inc}'),
    },
  };
}

/** Included files are read through VS Code, so that the server works in a browser as well: undefined if unreadable. */
export async function readFile({ uri }: { readonly uri: string }): Promise<{ readonly base64: string } | null> {
  try {
    const bytes = await vscode.workspace.fs.readFile(vscode.Uri.parse(uri));
    return { base64: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')) };
  } catch {
    return null;
  }
}
