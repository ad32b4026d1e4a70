import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { decoderWithTables } from '../../scripts/iced-x86-plugin.mjs';
import { preinitialized } from '../../scripts/preinitialize-wasm.mjs';

const require = createRequire(import.meta.url);
const imports = { __wbindgen_placeholder__: require('iced-x86') };

/** (memory 1) (data "ab" at 2), exporting the memory. */
const small = new Uint8Array([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[5, 3, 1, 0, 1],
  ...[7, 5, 1, 1, 0x6d, 2, 0],
  ...[11, 8, 1, 0, 0x41, 2, 0x0b, 2, 0x61, 0x62],
]);
const memoryOf = (module: Uint8Array, imported: WebAssembly.Imports = {}): Uint8Array => {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(module)), imported);
  return new Uint8Array(
    (Object.values(exports).find((it) => it instanceof WebAssembly.Memory) as WebAssembly.Memory).buffer,
  );
};

test('a module begins with the memory that it had after its work, grown and with what had become 0', () => {
  const before = memoryOf(small).slice();
  const after = new Uint8Array(2 * 65536);
  after.set([0, 0, 0x61, 0, 0x63], 0);
  after.set([7, 8], 40_000);
  after[100_000] = 9;
  expect(memoryOf(preinitialized(small, before, after))).toEqual(after);
});

test('the decoder has nothing left to unpack', async () => {
  const bytes = await decoderWithTables(require.resolve('iced-x86/iced_x86_bg.wasm'));
  const instance = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes)), imports);
  const wasm = instance.exports as Record<string, (...values: number[]) => number> & { memory: WebAssembly.Memory };
  const before = new Uint8Array(wasm.memory.buffer.slice(0));
  const result = wasm.__wbindgen_add_to_stack_pointer?.(-16) as number;
  wasm.decoder_new?.(result, 32, wasm.__wbindgen_malloc?.(1, 1) as number, 1, 0);
  const after = new Uint8Array(wasm.memory.buffer);
  expect(after.length).toBe(before.length);
  expect(after.filter((byte, at) => byte !== before[at]).length).toBeLessThan(1000);
});
