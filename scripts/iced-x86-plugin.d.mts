import type { Plugin } from 'esbuild';

/** Lets the decoder be bundled. */
export const icedX86Plugin: Plugin;
/** The decoder's WebAssembly, in a file of the package, with the tables that the first `Decoder` unpacks. */
export function decoderWithTables(path: string): Promise<Uint8Array>;
