/** Warm code is compiled by the host between runs, several regions as one module; hot code at once. */
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Block } from '../../engine/exec/block.ts';
import type { HotSpotOptions } from '../../engine/exec/compiler/hot-spots.ts';
import { RegionBatch } from '../../engine/exec/compiler/region-batch.ts';
import { encodeModule } from '../../engine/wasm/encoder.ts';
import { bootSource } from '../support/source-guests.ts';

const WARM: HotSpotOptions = { hotAfter: 1, sampleEvery: 300, watchedBlocks: 2, warmAfter: -1 };
const SLICE = { instructions: 400 };
const LOOPS = 4;
/** In which the host mostly compiles a module. */
const HOST_MS = 50;

/** Loops of 100 rounds one after the other, for ever; each counts in a register. */
const loops = (count: number) =>
  Array.from(
    { length: count },
    (_, i) => `mov ecx, 100\n.loop${i}: inc r${8 + (i % 8)}\nadd rax, rcx\ndec ecx\njnz .loop${i}`,
  );
const source = (body: readonly string[]) => `bits 64\norg 0x8000\nagain:\n${body.join('\n')}\njmp again\n`;

function machineOf(hotSpots: HotSpotOptions, code = source(loops(LOOPS))) {
  const { machine } = bootSource(code, { mode: 'long', internals: { hotSpots } });
  return { machine, regions: machine.host.executor.regions };
}

const registersOf = ({ vcpus: [cpu] }: ReturnType<typeof machineOf>['machine']) =>
  cpu?.registerNames().map((name) => `${name}=${cpu.readRegister(name)?.toString(16)}`);

/** Lets the host compile until there are so many regions. */
async function untilCompiled({ regions, machine }: ReturnType<typeof machineOf>, count: number): Promise<void> {
  for (let turn = 0; turn < 1000 && regions.compiledSoFar < count; turn++) {
    await setTimeout(1);
    machine.run({ instructions: 1 });
  }
  expect(regions.compiledSoFar).toBeGreaterThanOrEqual(count);
}

test('regions of warm code are there when the host had time for them, and run as interpreted', async () => {
  const warm = machineOf(WARM);
  const interpreted = machineOf({ hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 });
  warm.machine.run(SLICE);
  expect(warm.regions.compiledSoFar, 'nothing is compiled while the guest runs').toBe(0);
  for (let slice = 0; slice < 8; slice++) {
    await untilCompiled(warm, Math.min(slice, LOOPS));
    warm.machine.run(SLICE);
  }
  interpreted.machine.run({ instructions: warm.machine.instructionCount });
  expect(registersOf(warm.machine)).toEqual(registersOf(interpreted.machine));
});

test('a region whose code changed while it was compiled is not put to use', async () => {
  const warm = machineOf(WARM, source(loops(1)));
  warm.machine.run(SLICE);
  const incR8 = Uint8Array.of(0x49, 0xff, 0xc0);
  const decR8 = Uint8Array.of(0x49, 0xff, 0xc8);
  const code = warm.machine.vcpus[0]?.peek('host-physical', 0x8000n, 64) ?? new Uint8Array();
  const at = Buffer.from(code).indexOf(incR8);
  expect(at).toBeGreaterThan(0);
  warm.machine.vcpus[0]?.poke('host-physical', BigInt(0x8000 + at), decR8);
  await setTimeout(HOST_MS);
  const before = warm.machine.vcpus[0]?.readRegister('r8') ?? 0n;
  warm.machine.run(SLICE);
  expect(BigInt.asIntN(64, (warm.machine.vcpus[0]?.readRegister('r8') ?? 0n) - before)).toBeLessThan(0n);
});

test('many that wait become one module, without the end of a run', () => {
  const batches: number[] = [];
  const batch = new RegionBatch({
    prepare: (starts) => ({ count: starts.length, module: encodeModule({ types: [], functions: [] }) }),
    install: ({ count }) => void batches.push(count),
  });
  for (let start = 0; start < 40; start++) batch.add({ record: start } as Block);
  expect(batches).toEqual([16, 16]);
});

test('hot code is compiled at once', () => {
  const { machine, regions } = machineOf({ ...WARM, warmAfter: 1000 });
  for (let slice = 0; slice < 5; slice++) machine.run(SLICE);
  expect(regions.compiledSoFar).toBeGreaterThan(0);
});
