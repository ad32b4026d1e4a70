/**
 * Runs images on machines that are not ours, to hear from them what a guest prints: QEMU (TCG) and Bochs. Neither is
 * needed for Ringside itself; tests that ask a judge are skipped where there is none.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const TIME_LIMIT_MS = 30_000;
/** Bochs's CPU, unless another one is asked for. */
const BOCHS_MODEL = 'corei7_sandy_bridge_2600k';
const HERE = path.dirname(fileURLToPath(import.meta.url));

export interface JudgedRun {
  /** What the guest wrote to its console, byte for byte (latin1). */
  readonly output: string;
  /** What the guest wrote to the debug-exit port; Bochs has no such port. */
  readonly exitCode?: number;
}

/** QEMU's options for the debug console, whose output is what a judge says. */
export const DEBUG_CONSOLE: readonly string[] = ['-debugcon', 'stdio'];

/** Whether all of these programs can be started here. */
export function available(...programs: string[]): boolean {
  return programs.every((program) => {
    try {
      execFileSync('which', [program], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
}

/** Runs QEMU until the guest writes to its debug-exit port; `options` load the guest and name its console. */
export async function runImageUnderQemu(options: readonly string[]): Promise<JudgedRun> {
  const common = ['-accel', 'tcg', '-cpu', 'max', '-m', '64', '-display', 'none', '-no-reboot', '-nodefaults'];
  const debugExit = ['-device', 'isa-debug-exit,iobase=0xf4,iosize=1'];
  const run = await start('qemu-system-x86_64', [...common, ...debugExit, ...options]);
  if (run.status === null || run.status % 2 === 0) {
    throw new Error(`The guest did not end by its debug-exit port: ${run.stdout}\n${run.stderr}`);
  }
  return { output: run.stdout, exitCode: (run.status - 1) / 2 };
}

/** Puts a multiboot image into a ROM and runs it under Bochs with an Intel CPU model; `folder` takes what that needs. */
export async function runImageUnderBochs(image: string, folder: string, model = BOCHS_MODEL): Promise<JudgedRun> {
  assemble(path.join(HERE, 'bochs-rom.asm'), path.join(folder, 'rom'), `-DIMAGE="${image}"`);
  writeFileSync(path.join(folder, 'vgarom'), new Uint8Array(32 * 1024));
  writeFileSync(path.join(folder, 'bochsrc'), bochsConfiguration(folder, model));
  writeFileSync(path.join(folder, 'commands'), 'continue\n');
  const options = ['-q', '-f', path.join(folder, 'bochsrc'), '-rc', path.join(folder, 'commands')];
  // Bochs has no debug-exit port, but logs a write to one that is missing.
  const run = await start('bochs', options, 'write to 00f4');
  const prompt = /^\(0\) \[.*\n/m.exec(run.stdout);
  if (prompt === null || !run.ended) {
    throw new Error(`Bochs did not run the guest to its end: ${run.stdout}\n${run.stderr}`);
  }
  return { output: run.stdout.slice(prompt.index + prompt[0].length) };
}

/** Assembles a multiboot guest with the real NASM and runs it under a judge, whose console is the debug console. */
export function runSourceUnder(judge: 'qemu' | 'bochs', source: string, bochsModel?: string): Promise<JudgedRun> {
  return inTemporaryFolder(async (folder) => {
    const image = path.join(folder, 'image');
    assemble(source, image);
    if (judge === 'bochs') return await runImageUnderBochs(image, folder, bochsModel);
    return await runImageUnderQemu([...DEBUG_CONSOLE, '-kernel', image]);
  });
}

/** The smallest machine, with the remote display, for want of one that shows nothing. */
function bochsConfiguration(folder: string, model: string): string {
  return `
plugin_ctrl: biosdev=0, gameport=0, serial=0, parallel=0, extfpuirq=0, speaker=0
memory: guest=64, host=64
romimage: file=${folder}/rom
vgaromimage: file=${folder}/vgarom
cpu: model=${model}, ips=1000000, reset_on_triple_fault=0
port_e9_hack: enabled=1
display_library: rfb, options="timeout=0"
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
panic: action=fatal
debug: action=ignore, unmapped=report
log: /dev/stderr
`;
}

/** Assembles as a user does: in the source's folder, so that %include finds what lies beside it. */
export function assemble(source: string, image: string, ...options: string[]): void {
  execFileSync('nasm', ['-f', 'bin', ...options, '-o', image, path.basename(source)], { cwd: path.dirname(source) });
}

interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit status, or null if the program was killed. */
  readonly status: number | null;
  /** Whether the text to wait for has come. */
  readonly ended: boolean;
}

/** Runs a program until it ends, or has written `lastWords` to stderr, or the time is up. */
function start(program: string, options: string[], lastWords?: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, options, { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    let ended = false;
    const timer = setTimeout(() => child.kill('SIGKILL'), TIME_LIMIT_MS);
    child.stdout.setEncoding('latin1').on('data', (text: string) => void (stdout += text));
    child.stderr.setEncoding('latin1').on('data', (text: string) => {
      stderr += text;
      if (!ended && lastWords !== undefined && stderr.includes(lastWords)) {
        ended = true;
        child.kill('SIGKILL');
      }
    });
    child.on('error', reject);
    child.on('close', (status) => {
      clearTimeout(timer);
      resolve({ stdout, stderr, status, ended });
    });
  });
}

/** A folder for the work, gone when that is done. */
export async function inTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), 'ringside-sample-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
