/** Every sample but the broken ones, run as its launch configuration says, prints what its judge confirmed and ends with its exit code. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { bootGuest, type GuestOptions, MIB } from '../support/guests.ts';
import { readExpected, SAMPLES } from './judges.ts';

interface LaunchConfiguration {
  readonly program: string;
  readonly virtualization: 'none' | 'hardware';
  readonly loadAddress?: string;
  readonly entryMode?: 'real' | 'protected' | 'long';
  readonly devices?: { disk?: string; console?: boolean };
  readonly cpu?: { readonly model: string };
}

function launchConfigurations(): LaunchConfiguration[] {
  const text = readFileSync(path.join(SAMPLES, '.vscode/launch.json'), 'utf8');
  const { configurations } = JSON.parse(text) as { configurations: LaunchConfiguration[] };
  return configurations.filter(({ program }) => !/\{file\}$|broken-hypervisors/.test(program));
}

function guestOptions({ virtualization, loadAddress, entryMode, devices, cpu }: LaunchConfiguration): GuestOptions {
  return {
    virtualization,
    memoryBytes: 64 * MIB,
    ...(loadAddress === undefined ? {} : { loadAddress: Number(loadAddress) }),
    ...(entryMode === undefined ? {} : { entryMode }),
    ...(cpu ? { cpu } : {}),
    devices: { ...(devices?.disk ? { disk: new Uint8Array(64 * 1024) } : {}), console: devices?.console ?? false },
  };
}

describe('the samples run in Ringside', () => {
  for (const configuration of launchConfigurations()) {
    const program = configuration.program.replace(/^\$\{workspaceFolder\}/, SAMPLES);
    const sample = path.basename(path.dirname(program));
    test(sample, async () => {
      const guest = await bootGuest(program, guestOptions(configuration));
      const stop = guest.runToEnd();
      const expected = readFileSync(path.join(SAMPLES, sample, 'expected-output.txt'), 'latin1');
      expect(existsSync(program)).toBe(true);
      expect(guest.output()).toBe(expected);
      expect(stop).toMatchObject({ kind: 'exited', code: readExpected(sample).exitCode });
    });
  }

  test('the same inputs give the same run, to the state hash', async () => {
    const hashes = await Promise.all(
      [1, 2].map(async () => {
        const guest = await bootGuest(path.join(SAMPLES, 'paging/paging.asm'));
        guest.runToEnd();
        return `${guest.machine.instructionCount} ${guest.machine.stateHash()}`;
      }),
    );
    expect(hashes[0]).toBe(hashes[1]);
  });

  test('a run in small slices ends as a run in one go', async () => {
    const program = path.join(SAMPLES, 'sensitive/sensitive.asm');
    const [whole, sliced] = [await bootGuest(program), await bootGuest(program)];
    whole.runToEnd();
    let stop = sliced.machine.run({ instructions: 1 });
    for (let size = 1; stop.kind === 'limit'; size = (size * 7 + 3) % 61)
      stop = sliced.machine.run({ instructions: size + 1 });
    expect(sliced.output()).toBe(whole.output());
    expect(sliced.machine.instructionCount).toBe(whole.machine.instructionCount);
    for (const name of ['rax', 'rbx', 'rcx', 'rsp', 'rip', 'rflags', 'cr3']) {
      expect(sliced.machine.vcpus[0]?.readRegister(name), name).toBe(whole.machine.vcpus[0]?.readRegister(name));
    }
  });
});
