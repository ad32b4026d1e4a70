/** The adapter in a web worker: DAP messages and files by postMessage, as protocol/worker-messages.ts says. */
import type { DebugProtocol } from '@vscode/debugprotocol';
import { createInProcessAdapter } from '../in-process.ts';
import type { FromWorker, ToWorker } from '../protocol/worker-messages.ts';
import { RemoteFiles } from './remote-files.ts';

interface WorkerScope {
  postMessage(message: FromWorker): void;
  onmessage: ((event: { readonly data: ToWorker }) => void) | null;
}

const scope = globalThis as unknown as WorkerScope;
const files = new RemoteFiles((request) => scope.postMessage(request));
const adapter = createInProcessAdapter(files);

adapter.onDidSendMessage((message: unknown) => {
  scope.postMessage({ kind: 'dap', message: message as DebugProtocol.ProtocolMessage });
});
scope.onmessage = ({ data }) => {
  if (data.kind === 'dap') {
    adapter.handleMessage(data.message);
  } else {
    files.answer(data);
  }
};
