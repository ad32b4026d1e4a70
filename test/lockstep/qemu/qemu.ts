/** Steps a guest in QEMU's TCG, through the stub that it has for GDB. Its RAM is a file, which is read after each step. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Change, GPRS, type Guest, registerOf, type Step } from '../state.ts';
import { changesOf, wholeSteps } from '../steps.ts';
import { GdbRemote } from './gdb-remote.ts';
import { formatGdbRegisters, parseGdbRegisters, stateOf } from './registers.ts';

const QEMU = 'qemu-system-x86_64';
const RAM_BYTES = 0x10_0000;
const STEP_LIMIT_MS = 20_000;
const HLT = 'f4';
const STOPPED = /^T05/;
/** A triple fault ends it. */
const EXITED = /^W/;

/** Why a guest cannot be stepped under QEMU here; undefined if it can. */
export const whyNoQemu = (): string | undefined =>
  spawnSync(QEMU, ['--version'], { stdio: 'ignore' }).status === 0 ? undefined : `no ${QEMU}`;

/** The guest's state at the start, and after each step, until it halts or the limit. */
export async function stepUnderQemu(guest: Guest, limit: number): Promise<Step[]> {
  const folder = mkdtempSync(path.join(tmpdir(), 'ringside-lockstep-'));
  const ram = path.join(folder, 'ram');
  writeFileSync(ram, Buffer.concat([guest.ram, Buffer.alloc(RAM_BYTES - guest.ram.length)]));
  const stub = path.join(folder, 'gdb');
  let qemu: ChildProcess | undefined;
  let gdb: GdbRemote | undefined;
  try {
    const ended = (reject: (error: Error) => void) => () => reject(new Error(`${QEMU} ended`));
    gdb = await new Promise<GdbRemote>((resolve, reject) => {
      const begin = (): void => void (qemu = start(ram, stub).on('exit', ended(reject)));
      GdbRemote.accept(stub, begin).then(resolve, reject);
    });
    return await new Stepper(gdb, guest, ram).run(limit);
  } finally {
    gdb?.close();
    qemu?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

function start(ram: string, stub: string): ChildProcess {
  const memory = `memory-backend-file,id=ram,share=on,mem-path=${ram},size=${RAM_BYTES}`;
  return spawn(
    QEMU,
    [
      ...['-accel', 'tcg', '-machine', 'pc,memory-backend=ram', '-cpu', 'max', '-m', '1M', '-object', memory],
      ...['-nodefaults', '-display', 'none', '-monitor', 'none', '-serial', 'none', '-no-reboot'],
      ...['-S', '-chardev', `socket,id=gdb,path=${stub}`, '-gdb', 'chardev:gdb'],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
}

class Stepper {
  readonly #gdb: GdbRemote;
  readonly #guest: Guest;
  readonly #file: number;
  readonly #now: Buffer;
  readonly #shadow: Buffer;

  constructor(gdb: GdbRemote, guest: Guest, ram: string) {
    this.#gdb = gdb;
    this.#guest = guest;
    this.#file = openSync(ram, 'r');
    this.#now = Buffer.alloc(guest.ram.length);
    this.#shadow = Buffer.from(guest.ram);
  }

  async run(limit: number): Promise<Step[]> {
    try {
      await this.#enter();
      const steps: Step[] = [{ ...(await this.#state()), changes: [] }];
      for (let n = 0; n < limit; n++) {
        const before = steps.at(-1) as Step;
        if (await this.#isHalting(before)) {
          steps.push({ state: before.state, changes: [], end: 'halted' });
          break;
        }
        const stopped = await within(this.#gdb.request('s'), before);
        if (EXITED.test(stopped)) {
          steps.push({ state: before.state, changes: [], end: 'shut down' });
          break;
        }
        if (!STOPPED.test(stopped)) throw new Error(`${this.#guest.name}: expected a step, found ${stopped}`);
        steps.push({ ...(await this.#state()), changes: this.#changes() });
      }
      return wholeSteps(steps);
    } finally {
      closeSync(this.#file);
    }
  }

  /** Real-address mode: what the selectors say is all there is to the segments. */
  async #enter(): Promise<void> {
    const { start, name } = this.#guest;
    const registers = parseGdbRegisters(await this.#gdb.request('g'));
    for (const register of [...GPRS, 'rip', 'rflags', 'cr0', 'cs', 'ss', 'ds', 'es', 'fs', 'gs'])
      registers[register] = registerOf(start, register);
    const answer = await this.#gdb.request(`G${formatGdbRegisters(registers)}`);
    if (answer !== 'OK') throw new Error(`${name}: expected QEMU to take the registers, found ${answer}`);
  }

  async #state(): Promise<Pick<Step, 'state'>> {
    const registers = parseGdbRegisters(await this.#gdb.request('g'));
    return { state: stateOf(registers, await this.#gdb.monitor('info registers')) };
  }

  /** A step of HLT would not come back. */
  async #isHalting({ state }: Step): Promise<boolean> {
    const linear = BigInt.asUintN(64, registerOf(state, 'cs.base') + registerOf(state, 'rip'));
    const isPrivileged = (registerOf(state, 'ss.attributes') & 0x60n) === 0n;
    return isPrivileged && (await this.#gdb.request(`m${linear.toString(16)},1`)) === HLT;
  }

  #changes(): Change[] {
    readSync(this.#file, this.#now, 0, this.#now.length, 0);
    return changesOf(this.#now, this.#shadow);
  }
}

function within(answer: Promise<string>, { state }: Step): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const tell = () => reject(new Error(`QEMU does not come back from RIP ${registerOf(state, 'rip').toString(16)}`));
    timer = setTimeout(tell, STEP_LIMIT_MS);
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}
