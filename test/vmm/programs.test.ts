/** Whole programs: the samples on the bare machine and under the built-in hypervisor, and the VMX benchmark guest. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { guestFromFile, MIB, runToEnd } from './run-guest.ts';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const SAMPLES = path.join(HERE, '../../samples');
const expectedOutput = (name: string) => readFileSync(path.join(SAMPLES, name, 'expected-output.txt'), 'latin1');

describe('samples print what they promise', () => {
  test.each([
    ['virtio-block', 'virtio-block.asm', 'hardware'],
    ['tiny-hypervisor', 'tiny-hypervisor.asm', 'none'],
    ['rings', 'rings.asm', 'hardware'],
    ['paging', 'paging.asm', 'hardware'],
    ['sensitive', 'sensitive.asm', 'hardware'],
    ['c-program', 'c-program.elf', 'hardware'],
  ] as const)('%s (%s, virtualization %s)', async (name, file, virtualization) => {
    const guest = await guestFromFile(path.join(SAMPLES, name, file), {
      virtualization,
      memoryBytes: 64 * MIB,
      devices: { disk: new Uint8Array(64 * 1024), console: true },
    });
    const stop = runToEnd(guest);
    expect(guest.output()).toBe(expectedOutput(name));
    expect(stop).toMatchObject({ kind: 'exited', code: 0 });
  });
});
