/** The language server as a process of its own, or a worker: Node. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { createConnection, ProposedFeatures } from 'vscode-languageserver/node';
import { serve } from './server.ts';

async function readLocalFile(uri: string): Promise<Uint8Array | undefined> {
  if (!uri.startsWith('file:')) return undefined;
  try {
    return await readFile(fileURLToPath(uri));
  } catch {
    return undefined;
  }
}

serve(createConnection(ProposedFeatures.all), {
  clock: {
    now: () => performance.now(),
    afterPending: (callback) => void setImmediate(callback),
    after: (milliseconds, callback) => void setTimeout(callback, milliseconds),
  },
  readFile: readLocalFile,
});
