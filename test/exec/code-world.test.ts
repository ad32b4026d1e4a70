/** Generations of the jump cache: when their numbers are used again, nothing of the old ones is left. */
import { describe, expect, test } from 'vitest';
import { CODE_GENERATIONS_ADDRESS, REGION_KEYS, REGION_KEYS_ADDRESS } from '../../engine/cpu/memory-map.ts';
import { fieldAddress } from '../../engine/cpu/state-layout.ts';
import { CodeWorld, emitBeginCodeWorlds, GENERATIONS, KEYS_OF_GENERATION } from '../../engine/exec/code-world.ts';
import { addToJumpCache, findInJumpCache } from '../../engine/exec/jump-cache.ts';
import { encodeModule, FunctionBody } from '../../engine/wasm/encoder.ts';

const MEMORY_PAGES = 1024;
const RIP = 0x1234;
const LAST_REGION = REGION_KEYS_ADDRESS + 4 * (REGION_KEYS - 1);

function emitted(memory: WebAssembly.Memory): () => void {
  const f = new FunctionBody(0);
  emitBeginCodeWorlds(f, [0, 1]);
  const module = encodeModule({
    types: [{ parameters: [], results: [] }],
    functions: [{ type: 0, body: f.bytes(), export: 'begin' }],
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module as BufferSource), { env: { memory } });
  return exports.begin as () => void;
}

describe.each(['TypeScript', 'WebAssembly'])('a new generation, in %s', (way) => {
  const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES });
  const view = new DataView(memory.buffer);
  const worlds = [new CodeWorld(view, 0), new CodeWorld(view, 1)] as const;
  const inWasm = emitted(memory);
  const begin = () => {
    if (way === 'WebAssembly') inWasm();
    else for (const world of worlds) world.begin();
  };

  function inGeneration(generation: number): { key: number; known: () => number } {
    for (const n of [0, 1]) view.setUint32(CODE_GENERATIONS_ADDRESS + 4 * n, generation, true);
    const key = generation * KEYS_OF_GENERATION + 5;
    view.setUint32(fieldAddress.jumpKey, key, true);
    addToJumpCache(view, RIP, key, 77);
    view.setUint32(LAST_REGION, key, true);
    return { key, known: () => findInJumpCache(view, RIP, key) };
  }

  test('leaves entries of another one where they are', () => {
    const { known } = inGeneration(3);
    begin();
    expect(worlds.map(({ generation }) => generation)).toEqual([4, 4]);
    expect(known()).toBe(77);
  });

  test('after the last one clears all keys and starts at 1', () => {
    const { known } = inGeneration(GENERATIONS - 1);
    begin();
    expect(worlds.map(({ generation }) => generation)).toEqual([1, 1]);
    expect(known()).toBe(0);
    expect(view.getUint32(LAST_REGION, true)).toBe(0);
    if (way === 'WebAssembly') expect(view.getUint32(fieldAddress.jumpKey, true)).toBe(KEYS_OF_GENERATION + 5);
  });
});
