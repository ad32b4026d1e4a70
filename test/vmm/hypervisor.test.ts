/** Guests of the built-in hypervisor. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { guestFromFile, guestFromSource, MIB, runToEnd } from './run-guest.ts';

const SAMPLES = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../samples');
const sample = (name: string) => path.join(SAMPLES, name, `${name}.asm`);
const expectedOutput = (name: string) => readFileSync(path.join(SAMPLES, name, 'expected-output.txt'), 'latin1');

const EXIT = 'mov dx, 0xf4\n out dx, al\n hlt\n';

describe('port I/O', () => {
  test('bytes to port E9h and to COM1 reach their consoles, each by an exit to the user half', async () => {
    const guest = await guestFromSource(`
      bits 64
      org 0x100000
      mov al, 'E'
      out 0xe9, al
      mov dx, 0x3f8
      mov al, 'S'
      out dx, al
      mov al, 7
      ${EXIT}`);
    expect(runToEnd(guest)).toMatchObject({ kind: 'exited', code: 7 });
    expect(guest.output()).toBe('ES');
    expect(guest.serial()).toBe('S');
    expect(guest.machine.statistics().exitsByReason).toEqual({ 'I/O instruction': 3 });
  });
});

describe('samples', () => {
  test('virtio-block prints what it promises', async () => {
    const guest = await guestFromFile(sample('virtio-block'), {
      virtualization: 'hardware',
      memoryBytes: 64 * MIB,
      devices: { disk: new Uint8Array(64 * 1024), console: true },
    });
    const stop = runToEnd(guest);
    expect(guest.output()).toBe(expectedOutput('virtio-block'));
    expect(stop).toMatchObject({ kind: 'exited', code: 0 });
  });

  test('tiny-hypervisor prints what it promises', async () => {
    const guest = await guestFromFile(sample('tiny-hypervisor'), { memoryBytes: 64 * MIB });
    const stop = runToEnd(guest);
    expect(guest.output()).toBe(expectedOutput('tiny-hypervisor'));
    expect(stop).toMatchObject({ kind: 'exited', code: 0 });
  });
});
