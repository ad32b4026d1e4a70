/** The language server in a web worker. */
import { BrowserMessageReader, BrowserMessageWriter, createConnection } from 'vscode-languageserver/browser';
import { serve } from './server.ts';

/** The worker's own scope has the messages of a port; TypeScript's DOM library knows it only in another library. */
const scope = globalThis as unknown as MessagePort;
serve(createConnection(new BrowserMessageReader(scope), new BrowserMessageWriter(scope)), {
  clock: {
    now: () => performance.now(),
    // The connection takes up its next message by a timer of its own; this one comes behind it.
    afterPending: (callback) => void setTimeout(callback, 0),
    after: (milliseconds, callback) => void setTimeout(callback, milliseconds),
  },
});
