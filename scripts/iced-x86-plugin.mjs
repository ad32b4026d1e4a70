import { readFile } from 'node:fs/promises';

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
  },
};
