/** The language server: connects the features with the protocol. The same in Node and in a web worker. */
import {
  type CompletionItem,
  type Connection,
  DidChangeConfigurationNotification,
  type InitializeParams,
  type InitializeResult,
  LSPErrorCodes,
  ResponseError,
  type SemanticTokens,
  TextDocumentSyncKind,
  TextDocuments,
} from 'vscode-languageserver';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { ParsedSource } from '../../debug-adapter/assembler/index.ts';
import { completion, resolveCompletion } from './completion.ts';
import { Checker, type Clock } from './diagnostics.ts';
import { Files, type ReadUri } from './files.ts';
import { foldingRanges } from './folding.ts';
import { hover } from './hover.ts';
import { inlayHints } from './inlay-hints.ts';
import { documentLinks } from './links.ts';
import { definition, highlights, references } from './navigation.ts';
import { documentSymbols } from './outline.ts';
import {
  configurationSection,
  defaultSettings,
  type ReadFileParams,
  type ReadFileResult,
  readFileRequest,
  type Settings,
} from './protocol.ts';
import { prepareRename, RenameProblem, rename } from './rename.ts';
import { legend, semanticTokens } from './semantic-tokens.ts';
import { type Unit, Workspace } from './workspace.ts';

/** What the host provides. */
export interface Platform {
  readonly clock: Clock;
  /** Reads a file if the client does not know `ringside/readFile`. */
  readonly readFile?: ReadUri;
}

/** Starts to serve; returns at once. */
export function serve(connection: Connection, platform: Platform): void {
  new Server(connection, platform).start();
}

class Server {
  readonly #connection: Connection;
  readonly #documents = new TextDocuments(TextDocument);
  readonly #files: Files;
  readonly #workspace: Workspace;
  readonly #checker: Checker;
  #settings: Settings = defaultSettings;
  #client: InitializeParams['capabilities'] = {};

  constructor(connection: Connection, { clock, readFile }: Platform) {
    this.#connection = connection;
    this.#files = new Files(this.#documents, (uri) => this.#read(uri, readFile));
    this.#workspace = new Workspace(this.#files);
    this.#checker = new Checker(this.#workspace, clock, {
      publish: (uri, diagnostics) => void connection.sendDiagnostics({ uri, diagnostics: [...diagnostics] }),
      failed: (uri, problem) => this.#log(uri, problem),
    });
  }

  start(): void {
    const connection = this.#connection;
    connection.onInitialize((params) => this.#initialize(params));
    connection.onInitialized(() => this.#initialized());
    connection.onDidChangeConfiguration(() => void this.#loadSettings());
    connection.onDidChangeWatchedFiles(({ changes }) => {
      for (const { uri } of changes) this.#files.forget(uri);
      this.#checker.changed();
    });
    this.#documents.onDidChangeContent(() => this.#checker.changed());
    this.#documents.onDidClose(({ document }) => {
      this.#files.forget(document.uri);
      this.#workspace.forget(document.uri);
      this.#checker.changed();
    });
    this.#serveNavigation();
    this.#serveText();
    this.#serveStructure();
    this.#documents.listen(connection);
    connection.listen();
  }

  #initialize({ capabilities }: InitializeParams): InitializeResult {
    this.#client = capabilities;
    return {
      serverInfo: { name: 'Ringside assembly' },
      capabilities: {
        textDocumentSync: TextDocumentSyncKind.Incremental,
        documentSymbolProvider: true,
        definitionProvider: true,
        referencesProvider: true,
        documentHighlightProvider: true,
        renameProvider: { prepareProvider: true },
        completionProvider: { triggerCharacters: ['%', '.'], resolveProvider: true },
        hoverProvider: true,
        foldingRangeProvider: true,
        documentLinkProvider: {},
        inlayHintProvider: true,
        semanticTokensProvider: { legend, full: true, range: true },
      },
    };
  }

  #initialized(): void {
    if (this.#client.workspace?.didChangeConfiguration?.dynamicRegistration) {
      void this.#connection.client.register(DidChangeConfigurationNotification.type, { section: configurationSection });
    }
    void this.#loadSettings();
  }

  async #loadSettings(): Promise<void> {
    if (!this.#client.workspace?.configuration) return;
    const found: unknown = await this.#connection.workspace.getConfiguration(configurationSection);
    const encodedBytes = (found as Partial<Settings> | null)?.encodedBytes === true;
    const changed = encodedBytes !== this.#settings.encodedBytes;
    this.#settings = { encodedBytes };
    if (changed && this.#client.workspace.inlayHint?.refreshSupport) {
      await this.#connection.languages.inlayHint.refresh();
    }
  }

  async #read(uri: string, otherwise: ReadUri | undefined): Promise<Uint8Array | undefined> {
    const params: ReadFileParams = { uri };
    try {
      const result = await this.#connection.sendRequest<ReadFileResult>(readFileRequest, params);
      return result ? Uint8Array.from(atob(result.base64), (character) => character.charCodeAt(0)) : undefined;
    } catch {
      // The client does not know the request, or has gone.
      return otherwise?.(uri);
    }
  }

  /** For a report: which source made the server fail, and where in the server. */
  #log(uri: string, problem: unknown): void {
    const text = problem instanceof Error ? (problem.stack ?? problem.message) : String(problem);
    this.#connection.console.error(`${uri}: ${text}`);
  }

  /** Runs a feature on a source; what is not open, is gone by now, or makes the feature fail, gets `empty`. */
  async #on<Result>(
    uri: string,
    empty: Result,
    feature: (unit: Unit, source: ParsedSource) => Result | Promise<Result>,
  ): Promise<Result> {
    const unit = await this.#workspace.unitOf(uri);
    const source = unit?.sources.get(uri);
    try {
      return unit && source ? await feature(unit, source) : empty;
    } catch (problem) {
      this.#log(uri, problem);
      return empty;
    }
  }

  #serveNavigation(): void {
    const connection = this.#connection;
    const workspace = this.#workspace;
    connection.onDefinition(({ textDocument, position }) => definition(workspace, textDocument.uri, position));
    connection.onReferences(({ textDocument, position, context }) =>
      references(workspace, textDocument.uri, position, context.includeDeclaration),
    );
    connection.onDocumentHighlight(({ textDocument: { uri }, position }) =>
      this.#on(uri, [], (unit) => highlights(unit, uri, position)),
    );
    connection.onPrepareRename(({ textDocument, position }) =>
      explained(prepareRename(workspace, textDocument.uri, position)),
    );
    connection.onRenameRequest(({ textDocument, position, newName }) =>
      explained(rename(workspace, textDocument.uri, position, newName)),
    );
  }

  #serveText(): void {
    const connection = this.#connection;
    connection.onHover(({ textDocument: { uri }, position }) =>
      this.#on(uri, null, (unit) => hover(unit, uri, position)),
    );
    connection.onCompletion(({ textDocument: { uri }, position }) =>
      this.#on<CompletionItem[]>(uri, [], (unit) => completion(unit, uri, position)),
    );
    connection.onCompletionResolve(resolveCompletion);
    connection.languages.inlayHint.on(({ textDocument: { uri }, range }) =>
      this.#on(uri, [], (unit) => (this.#settings.encodedBytes ? inlayHints(unit, uri, range) : [])),
    );
  }

  #serveStructure(): void {
    const connection = this.#connection;
    const noTokens: SemanticTokens = { data: [] };
    connection.onDocumentSymbol(({ textDocument: { uri } }) =>
      this.#on(uri, [], (_unit, source) => documentSymbols(source)),
    );
    connection.onFoldingRanges(({ textDocument: { uri } }) =>
      this.#on(uri, [], (_unit, source) => foldingRanges(source)),
    );
    connection.onDocumentLinks(({ textDocument: { uri } }) =>
      this.#on(uri, [], (_unit, source) => documentLinks(this.#workspace, source)),
    );
    connection.languages.semanticTokens.on(({ textDocument: { uri } }) =>
      this.#on(uri, noTokens, (unit, source) => semanticTokens(unit, source)),
    );
    connection.languages.semanticTokens.onRange(({ textDocument: { uri }, range }) =>
      this.#on(uri, noTokens, (unit, source) => semanticTokens(unit, source, range)),
    );
  }
}

/** Turns what the user may not do into an answer that says so. */
async function explained<Result>(result: Promise<Result>): Promise<Result | ResponseError<void>> {
  try {
    return await result;
  } catch (problem) {
    if (problem instanceof RenameProblem) return new ResponseError(LSPErrorCodes.RequestFailed, problem.message);
    throw problem;
  }
}
