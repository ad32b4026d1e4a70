/** `ringside run`: as users run it, in a process of its own. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseArguments } from '../../debug-adapter/cli/arguments.ts';
import { type BuiltBundle, buildBundle } from './bundle.ts';
import { boot } from './programs.ts';

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const samples = resolve(import.meta.dirname, '../../samples');
let bundle: BuiltBundle;
let folder: string;

beforeAll(async () => {
  bundle = await buildBundle('debug-adapter/cli/main.ts');
  folder = await mkdtemp(join(tmpdir(), 'ringside-'));
});
afterAll(async () => {
  await bundle.dispose();
  await rm(folder, { recursive: true, force: true });
});

function ringside(...args: string[]): Promise<Result> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [bundle.path, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data) => (stdout += data));
    child.stderr.on('data', (data) => (stderr += data));
    child.on('close', (status) => done({ status, stdout, stderr }));
  });
}

async function program(source: string): Promise<string> {
  const path = join(folder, 'guest.asm');
  await writeFile(path, source);
  return path;
}

describe('ringside run', () => {
  it('prints what the guest prints, and exits with its code', async () => {
    expect(await ringside('run', await program(boot))).toEqual({ status: 0, stdout: 'Hello\n', stderr: '' });
    const failing = await program('bits 32\norg 0x100000\nmov al, 3\nout 0xf4, al\n');
    expect(await ringside('run', failing)).toMatchObject({ status: 3, stdout: '' });
  });

  it('says why a guest stops in another way, with status 1', async () => {
    const halting = await program('bits 32\norg 0x100000\ncli\nhlt\n');
    const result = await ringside('run', halting);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/^ringside: the guest halted: .* at RIP 0x10000[0-9a-f] after 2 instructions\n$/);
  });

  it('stops after --max-instructions', async () => {
    const endless = await program('bits 32\norg 0x100000\njmp $\n');
    const result = await ringside('run', endless, '--max-instructions', '1000');
    expect(result).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--max-instructions at RIP 0x100000 after 1000 instructions'),
    });
  });

  it('--trace has a line for each instruction with what it changed', async () => {
    const { stderr } = await ringside(
      'run',
      await program('bits 32\norg 0x100000\nmain: mov eax, 5\nmov al, 0\nout 0xf4, al\n'),
      '--trace',
    );
    const lines = stderr.trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^0x100000 +mov eax, 5 <main> +rax=0x5$/);
    expect(lines[2]).toMatch(/out 0xf4, al/);
  });

  it('--stats json tells what was run', async () => {
    const { stderr } = await ringside('run', await program(boot), '--stats', 'json');
    const stats = JSON.parse(stderr);
    expect(stats).toMatchObject({ instructions: expect.any(Number), exitsByReason: {}, tlbHits: expect.any(Number) });
    expect(stats.instructions).toBeGreaterThan(40);
  });

  it('--exits has a line for each VM exit', async () => {
    const { status, stderr } = await ringside('run', `${samples}/tiny-hypervisor/tiny-hypervisor.asm`, '--exits');
    expect(status).toBe(0);
    const lines = stderr.trimEnd().split('\n');
    expect(lines).toHaveLength(11);
    expect(lines[0]).toMatch(/^exit: vCPU 0 at 0x[0-9a-f]+: .*CPUID/);
  });

  it('--help explains itself', async () => {
    const { status, stdout } = await ringside('--help');
    expect(status).toBe(0);
    for (const option of [
      '--virtualization',
      '--memory',
      '--cpus',
      '--append',
      '--initrd',
      '--disk',
      '--max-instructions',
      '--exits',
      '--trace',
      '--stats',
    ]) {
      expect(stdout).toContain(option);
    }
  });

  it.each([
    [[], 'No command is given'],
    [['walk'], "no command 'walk'"],
    [['run'], 'No program is given'],
    [['run', 'a', 'b'], 'More than one program'],
    [['run', 'a', '--memroy', '1M'], 'id you mean --memory?'],
    [['run', 'a', '--memory'], '--memory SIZE'],
    [['run', 'a', '--memory', 'much'], '64M'],
    [['run', 'a', '--cpus', 'x'], '1 to 8'],
    [['run', 'a', '--trace=1'], 'takes no value'],
    [['run', 'a', '--stats', 'xml'], 'json'],
    [['run', 'a', '--max-instructions', '0'], 'whole number'],
  ])('%j is wrong use', async (args, message) => {
    expect(() => parseArguments(args)).toThrow(message);
  });

  it('wrong use and unreadable programs have status 2 and no stack trace', async () => {
    for (const args of [
      ['run', 'a', '--nonsense'],
      ['run', '/no/such.elf'],
      ['run', await program('mvo eax')],
    ]) {
      const { status, stdout, stderr } = await ringside(...args);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).not.toMatch(/\n\s+at |internal error/i);
      expect(stderr.length).toBeGreaterThan(10);
    }
  });
});
