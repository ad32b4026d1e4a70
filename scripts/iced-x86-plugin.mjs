import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { preinitialized } from './preinitialize-wasm.mjs';

/** iced-x86's published file reads its WebAssembly from disk; each edit names what it expects to find there. */
const edits = [
  {
    find: "const path = require('path').join(__dirname, 'iced_x86_bg.wasm');\nconst bytes = require('fs').readFileSync(path);",
    replace: "const bytes = require('./iced_x86_bg.wasm');",
  },
  { find: 'const { TextDecoder, TextEncoder } = require(`util`);', replace: '' },
];

function withoutFileSystem(source, path) {
  return edits.reduce((text, { find, replace }) => {
    if (!text.includes(find)) {
      throw new Error(`${path}: expected to find "${find}"; this iced-x86 is not the one the plugin was written for`);
    }
    return text.replace(find, () => replace);
  }, source);
}

/** The decoder's WebAssembly with the tables that the first `Decoder` unpacks, code that takes V8 a quarter of a second. */
export async function decoderWithTables(path) {
  const bytes = await readFile(path);
  const imports = { __wbindgen_placeholder__: createRequire(import.meta.url)('iced-x86') };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports);
  const { memory, decoder_new, __wbg_decoder_free, __wbindgen_malloc, __wbindgen_add_to_stack_pointer } = exports;
  const before = new Uint8Array(memory.buffer.slice(0));
  const result = __wbindgen_add_to_stack_pointer(-16);
  decoder_new(result, 64, __wbindgen_malloc(1, 1), 1, 0);
  __wbg_decoder_free(new Int32Array(memory.buffer)[result / 4]);
  __wbindgen_add_to_stack_pointer(16);
  return preinitialized(bytes, before, new Uint8Array(memory.buffer));
}
let tables;

/**
 * esbuild plugin: the decoder's WebAssembly goes into the bundle, so that one file runs in Node, in a page and in a
 * web worker. Unbundled (vitest) the same import takes the package as it is.
 */
export const icedX86Plugin = {
  name: 'iced-x86',
  setup(build) {
    build.onLoad({ filter: /[\\/]iced-x86[\\/]iced_x86\.js$/ }, async ({ path }) => ({
      contents: withoutFileSystem(await readFile(path, 'utf8'), path),
      loader: 'js',
    }));
    build.onLoad({ filter: /[\\/]iced_x86_bg\.wasm$/ }, async ({ path }) => {
      tables ??= decoderWithTables(path);
      return { contents: await tables, loader: 'binary' };
    });
  },
};
