/** Steps a guest under KVM, by the program in kvm/kvm.c, which gcc makes when it is wanted. */
import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync } from 'node:fs';
import path from 'node:path';
import { type Change, decodeState, type End, encodeState, type Guest, STATE_BYTES, type Step } from './state.ts';
import { wholeSteps } from './steps.ts';

const CACHE = path.resolve('node_modules/.cache/ringside-lockstep');
const SOURCE = path.resolve('test/lockstep/kvm/kvm.c');
const TIME_LIMIT_MS = 120_000;
const ENDS: readonly (End | undefined)[] = [
  undefined,
  'halted',
  'shut down',
  'left RAM',
  'not emulated',
  'stuck',
  'other exit',
];

/** Why a guest cannot be stepped under KVM here; undefined if it can. */
export function whyNoKvm(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'no x86-64 Linux';
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return 'no /dev/kvm that may be used';
  }
  return spawnSync('gcc', ['--version'], { stdio: 'ignore' }).status === 0 ? undefined : 'no gcc';
}

/** Compiles the stepper into `folder`; the program's path. */
export function compileKvmStepper(folder = CACHE): string {
  mkdirSync(folder, { recursive: true });
  const program = path.join(folder, 'kvm');
  execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, SOURCE], { stdio: 'inherit' });
  return program;
}

/** The guest's state at the start, and after each step, until its end or the limit. */
export function stepUnderKvm(program: string, guest: Guest, limit: number): Step[] {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(guest.ram.length, 0);
  head.writeUInt32LE(limit, 4);
  const input = Buffer.concat([head, encodeState(guest.start), guest.ram]);
  const run = spawnSync(program, { input, maxBuffer: 2 ** 30, timeout: TIME_LIMIT_MS });
  if (run.status !== 0) throw new Error(`${guest.name} under KVM: ${run.signal ?? run.status} ${run.stderr}`);
  return wholeSteps(decodeSteps(run.stdout));
}

function decodeSteps(data: Buffer): Step[] {
  const steps: Step[] = [];
  let at = 0;
  while (at < data.length) {
    const end = ENDS[data.readUInt32LE(at)];
    const state = decodeState(data, at + 8);
    at += 8 + STATE_BYTES;
    const count = data.readUInt32LE(at);
    at += 4;
    const changes: Change[] = [];
    for (let n = 0; n < count; n++) {
      const [address, length] = [data.readUInt32LE(at), data.readUInt32LE(at + 4)];
      changes.push({ address, bytes: data.subarray(at + 8, at + 8 + length) });
      at += 8 + length;
    }
    steps.push({ state, changes, ...(end ? { end } : {}) });
  }
  return steps;
}
