/** Contents of files by URI: those open in the editor as they stand there, others as the client last read them. */
import type { TextDocument } from 'vscode-languageserver-textdocument';

export interface OpenDocuments {
  get(uri: string): TextDocument | undefined;
  all(): TextDocument[];
}

/** Resolves to undefined if there is no such file. Never rejects. */
export type ReadUri = (uri: string) => Promise<Uint8Array | undefined>;

interface CachedFile {
  readonly bytes: Uint8Array | undefined;
  readonly version: number;
  text?: string;
}

export interface FileText {
  readonly text: string;
  /** Differs between any two contents of the file. */
  readonly version: string;
}

export class Files {
  readonly documents: OpenDocuments;
  readonly #read: ReadUri;
  readonly #cache = new Map<string, CachedFile>();
  #versions = 0;

  constructor(documents: OpenDocuments, read: ReadUri) {
    this.documents = documents;
    this.#read = read;
  }

  /** The file has changed on disk, or come or gone. */
  forget(uri: string): void {
    this.#cache.delete(uri);
  }

  /** True if `text` and `bytes` know about the file, be it that it does not exist. */
  isLoaded(uri: string): boolean {
    return this.documents.get(uri) !== undefined || this.#cache.has(uri);
  }

  async load(uri: string): Promise<void> {
    if (this.isLoaded(uri)) return;
    const bytes = await this.#read(uri);
    this.#cache.set(uri, { bytes, version: ++this.#versions });
  }

  text(uri: string): FileText | undefined {
    const open = this.documents.get(uri);
    if (open) return { text: open.getText(), version: `open ${open.version}` };
    const cached = this.#cache.get(uri);
    if (!cached?.bytes) return undefined;
    cached.text ??= new TextDecoder().decode(cached.bytes);
    return { text: cached.text, version: `disk ${cached.version}` };
  }

  contents(uri: string): Uint8Array | string | undefined {
    return this.documents.get(uri)?.getText() ?? this.#cache.get(uri)?.bytes;
  }

  /** Changes whenever the contents of the file do. */
  version(uri: string): string {
    const open = this.documents.get(uri);
    return open ? `open ${open.version}` : `disk ${this.#cache.get(uri)?.version ?? 0}`;
  }
}

/**
 * The URI of a file as the assembler names it: the sources are named by URI, so that a path beside one is the URI of
 * its folder and the path as written. Undefined if the path can only be found on a file system.
 */
export function uriOfFile(file: string): string | undefined {
  if (/^[a-z][\w+.-]+:\/\//iu.test(file)) return escapePath(file);
  if (file.startsWith('/')) return `file://${escapePath(file)}`;
  return /^[A-Za-z]:[\\/]/u.test(file) ? `file:///${escapePath(file.replaceAll('\\', '/'))}` : undefined;
}

/** Escapes what was written into a path and may not stand in a URI; what is escaped stays. */
function escapePath(path: string): string {
  const wellFormed = path.replaceAll('\\', '/').replace(/\p{Surrogate}/gu, '\u{FFFD}');
  return wellFormed.replace(/[^\w\-.~:/?#[\]@!$&'()*+,;=%]+/gu, encodeURIComponent);
}
