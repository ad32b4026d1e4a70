/**
 * What the extension and the adapter in a web worker say to each other by postMessage: DAP messages both ways, and the
 * adapter's requests for files with the extension's answers.
 */
import type { DebugProtocol } from '@vscode/debugprotocol';

export interface DapMessage {
  readonly kind: 'dap';
  readonly message: DebugProtocol.ProtocolMessage;
}

export interface ReadFileRequest {
  readonly kind: 'read-file';
  readonly id: number;
  /** As it stands in the configuration or in debug information: a path, or a URI. */
  readonly path: string;
}

export interface ReadFileAnswer {
  readonly kind: 'file';
  readonly id: number;
  readonly bytes?: Uint8Array;
  /** Why it cannot be read, for users. */
  readonly error?: string;
}

export type ToWorker = DapMessage | ReadFileAnswer;
export type FromWorker = DapMessage | ReadFileRequest;
