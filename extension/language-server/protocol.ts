/** What the language server asks of its client beyond the Language Server Protocol, and its settings. */

/** Request to the client: the bytes of a file that a source includes. */
export const readFileRequest = 'ringside/readFile';

export interface ReadFileParams {
  readonly uri: string;
}

/** `null` if there is no such file, or it cannot be read. */
export type ReadFileResult = { readonly base64: string } | null;

/** The section of the client's configuration that belongs to the server. */
export const configurationSection = 'ringside.languageServer';

export interface Settings {
  /** Shows the bytes of every instruction as an inlay hint. */
  readonly encodedBytes: boolean;
}

export const defaultSettings: Settings = { encodedBytes: false };
