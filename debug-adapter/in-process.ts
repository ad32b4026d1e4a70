import type { FileReader } from './program/loaded-program.ts';
import { servicesWith } from './services.ts';
import { RingsideServer } from './session/server.ts';

/**
 * An adapter in the same process: messages go in by `handleMessage` and come out by `onDidSendMessage`, as a
 * `vscode.DebugAdapterInlineImplementation` wants it.
 */
export function createInProcessAdapter(files: FileReader): RingsideServer {
  return new RingsideServer(servicesWith(files));
}
