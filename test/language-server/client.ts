/** A client of the language server in the same process: what an editor would send and keep. */
import { PassThrough } from 'node:stream';
import { createConnection } from 'vscode-languageserver/node';
import {
  createProtocolConnection,
  type Diagnostic,
  DidChangeTextDocumentNotification,
  DidOpenTextDocumentNotification,
  InitializedNotification,
  InitializeRequest,
  type InitializeResult,
  type Position,
  type ProtocolConnection,
  PublishDiagnosticsNotification,
  StreamMessageReader,
  StreamMessageWriter,
} from 'vscode-languageserver-protocol/node';
import { readFileRequest } from '../../extension/language-server/protocol.ts';
import { serve } from '../../extension/language-server/server.ts';

export class Client {
  readonly connection: ProtocolConnection;
  readonly diagnostics = new Map<string, readonly Diagnostic[]>();
  readonly requestedFiles: string[] = [];
  #initialized: InitializeResult | undefined;
  #waiting: (() => void)[] = [];
  #versions = new Map<string, number>();

  constructor(files: Readonly<Record<string, string>> = {}, settings: unknown = {}) {
    const [up, down] = [new PassThrough(), new PassThrough()];
    serve(createConnection(new StreamMessageReader(up), new StreamMessageWriter(down)), {
      clock: {
        now: () => performance.now(),
        afterPending: (callback) => void setImmediate(callback),
        after: (milliseconds, callback) => void setTimeout(callback, milliseconds),
      },
    });
    this.connection = createProtocolConnection(new StreamMessageReader(down), new StreamMessageWriter(up));
    this.connection.onRequest(readFileRequest, ({ uri }: { uri: string }) => {
      this.requestedFiles.push(uri);
      const text = files[uri];
      return text === undefined ? null : { base64: Buffer.from(text).toString('base64') };
    });
    this.connection.onRequest('workspace/configuration', () => [settings]);
    this.connection.onNotification(PublishDiagnosticsNotification.type, ({ uri, diagnostics }) => {
      this.diagnostics.set(uri, diagnostics);
      for (const resolve of this.#waiting.splice(0)) resolve();
    });
    this.connection.listen();
  }

  async start(): Promise<InitializeResult> {
    this.#initialized ??= await this.connection.sendRequest(InitializeRequest.type, {
      processId: null,
      rootUri: null,
      capabilities: { workspace: { configuration: true } },
    });
    await this.connection.sendNotification(InitializedNotification.type, {});
    return this.#initialized;
  }

  async open(uri: string, text: string): Promise<void> {
    this.#versions.set(uri, 1);
    const textDocument = { uri, languageId: 'nasm', version: 1, text };
    await this.connection.sendNotification(DidOpenTextDocumentNotification.type, { textDocument });
  }

  async change(uri: string, text: string): Promise<void> {
    const version = (this.#versions.get(uri) ?? 0) + 1;
    this.#versions.set(uri, version);
    const params = { textDocument: { uri, version }, contentChanges: [{ text }] };
    await this.connection.sendNotification(DidChangeTextDocumentNotification.type, params);
  }

  /** The next diagnostics of a file that satisfy the condition; those at hand count. */
  async diagnosticsOf(
    uri: string,
    wanted: (diagnostics: readonly Diagnostic[]) => boolean = () => true,
  ): Promise<readonly Diagnostic[]> {
    for (;;) {
      const found = this.diagnostics.get(uri);
      if (found && wanted(found)) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  at<Result>(method: string, uri: string, position: Position, more: object = {}): Promise<Result> {
    return this.connection.sendRequest(method, { textDocument: { uri }, position, ...more });
  }

  on<Result>(method: string, uri: string, more: object = {}): Promise<Result> {
    return this.connection.sendRequest(method, { textDocument: { uri }, ...more });
  }

  stop(): void {
    this.connection.dispose();
  }
}

/** The text without the marks `‹…›` of places, and where they stood: `‹name›` marks the position of `name`. */
export function marked(text: string): { text: string; at: (mark: string) => Position } {
  const positions = new Map<string, Position>();
  const lines = text.split('\n').map((line, number) => {
    let rest = line;
    for (let match = /‹(\w+)›/u.exec(rest); match; match = /‹(\w+)›/u.exec(rest)) {
      positions.set(match[1] ?? '', { line: number, character: match.index });
      rest = rest.slice(0, match.index) + rest.slice(match.index + match[0].length);
    }
    return rest;
  });
  const at = (mark: string): Position => {
    const position = positions.get(mark);
    if (!position) throw new Error(`no mark ‹${mark}› in the text`);
    return position;
  };
  return { text: lines.join('\n'), at };
}
