/** Whole programs: the samples on the bare machine and under the built-in hypervisor, and the VMX benchmark guest. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Exit } from '../../engine/exec/exits.ts';
import type { Machine } from '../../engine/machine/machine.ts';
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

describe.each([
  ['tiny-hypervisor/tiny-hypervisor.asm', [1, 2, 7, 100], 20],
  // Several VMCSs in turn, by the preemption timer; a guest in real mode
  ['c-hypervisor/c-hypervisor.elf', [61, 5000], 200],
] as const)('%s runs the same however the run is cut', (program, slices, leastAsked) => {
  async function ended(slice: number, prepare: (machine: Machine) => void = () => {}): Promise<string> {
    const { machine, output } = await guestFromFile(path.join(SAMPLES, program));
    prepare(machine);
    let stop = machine.run({ instructions: slice });
    while (stop.kind === 'limit') stop = machine.run({ instructions: slice });
    const { exitsByReason } = machine.statistics();
    return `${output()} ${machine.instructionCount} ${JSON.stringify(exitsByReason)} ${machine.stateHash()}`;
  }

  test.each(slices)('into slices of %i instructions', async (slice) => {
    expect(await ended(slice)).toBe(await ended(50_000_000));
  });

  test('with all events left to the run loop', async () => {
    const inRunLoop = await ended(50_000_000, ({ host }) => {
      host.runtime.eventInPlace = () => Exit.Event;
    });
    expect(await ended(50_000_000)).toBe(inRunLoop);
  });

  test('with filters that never stop it, which are asked for every exit and entry', async () => {
    let asked = 0;
    const watched = await ended(50_000_000, (machine) => {
      for (const filter of ['vm-exit', 'vm-entry', 'sensitive-instruction'] as const) {
        machine.setFilter(filter, true, () => ++asked < 0);
      }
    });
    expect(await ended(50_000_000)).toBe(watched);
    expect(asked).toBeGreaterThan(leastAsked);
  });
});

/** What the benchmark guest computes, computed here: checksums by piece of work. */
describe('the VMX benchmark guest runs to the right checksums', () => {
  const MASK = 2n ** 64n - 1n;
  const [exits, aluRounds, walks, violations] = [1000, 1000, 1000, 100];

  /** `p[j] += r` at random places of 64 MiB, and the exclusive or of what comes out; `memory` keeps it. */
  function walk(memory: Map<number, bigint>): bigint {
    let random = 12345;
    let sum = 0n;
    for (let round = 0; round < walks; round++) {
      random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
      const place = (random >>> 4) & (2 ** 23 - 1);
      const value = ((memory.get(place) ?? 0n) + BigInt(random)) & MASK;
      memory.set(place, value);
      sum ^= value;
    }
    return sum;
  }

  test('vmx64', async () => {
    const guest = await guestFromFile(path.join(HERE, '../bench/guests/vmx64.elf'), {
      memoryBytes: 256 * MIB,
      commandLine: `cpuid=${exits} alu=${aluRounds} walk=${walks} ept=${violations}`,
    });
    expect(runToEnd(guest)).toMatchObject({ kind: 'exited', code: 0 });
    const results = new Map<string, bigint>();
    for (const [, name, checksum] of guest.output().matchAll(/@E (\w+) .*ck=([0-9a-f]+)/g)) {
      results.set(name as string, BigInt(`0x${checksum}`));
    }
    const memory = new Map<number, bigint>();
    const inGuest = walk(memory);
    const inHost = walk(memory);
    const counted = BigInt((exits * (exits - 1)) / 2);
    expect(results.get('vmx_cpuid_exit')).toBe(counted);
    expect(results.get('vmx_vmcall_exit_min')).toBe(counted);
    expect(results.get('vmx_guest_walk')).toBe(inGuest);
    expect(results.get('host_walk')).toBe(inHost);
    expect(results.get('vmx_ept_violation')).toBe(inHost + BigInt(violations) * 0x800_0000n);
    expect(guest.machine.statistics().exitsByReason).toEqual({
      CPUID: exits + 1,
      VMCALL: exits + 3 + violations,
      'EPT violation': violations,
    });
  });
});
