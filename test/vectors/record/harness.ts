/** Compiles the C recorder and runs cases on them. The wire format is described in protocol.h. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeExtendedState, EXTENDED_BYTES, type ExtendedState, encodeExtendedState } from '../extended-state.ts';
import { type Mode, type Region, regionsOf } from '../layout.ts';
import { initialState, type MachineState, type MemoryBytes, type VectorException } from '../read-vectors.ts';

/** One instruction to execute. */
export interface Case {
  mode: Mode;
  bytes: Uint8Array;
  input: MachineState;
}

export type Outcome = MachineState & { exception?: VectorException };

const FILL_NUMBERS = { trap: 0, pattern: 1 } as const;
const RF = 0x1_0000;
const NO_EXCEPTION = 0xffff;
/** #DF #TS #NP #SS #GP #PF #AC push an error code (SDM volume 3, "Error Code"). */
const HAS_ERROR_CODE = new Set([8, 10, 11, 12, 13, 14, 17]);

/** Whether this machine can record: x86-64 Linux with gcc. */
export function canRecord(): boolean {
  if (process.platform !== 'linux' || process.arch !== 'x64') return false;
  return spawnSync('gcc', ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Compile the recorder into a folder; `sources` is the folder of the C files. Returns the program's path. */
export function compileRecorder(folder: string, sources: URL): string {
  mkdirSync(folder, { recursive: true });
  const program = join(folder, 'native');
  const flags = ['-O1', '-Wall', '-Wextra', '-Werror', '-fno-stack-protector', '-fPIE', '-pie'];
  execFileSync('gcc', [...flags, '-o', program, fileURLToPath(new URL('native.c', sources))], { stdio: 'inherit' });
  return program;
}

/** Whether the recorder runs here in a mode: a kernel may refuse the fixed addresses or the descriptor table. */
export function canExecute(program: string, mode: Mode): boolean {
  const nop: Case = { mode, bytes: Uint8Array.of(0x90), input: initialState(mode) };
  try {
    return execute(program, mode, [nop]).length === 1;
  } catch {
    return false;
  }
}

/** Execute cases of one mode; outcomes in the same order. */
export function execute(program: string, mode: Mode, cases: readonly Case[]): Outcome[] {
  const input = Buffer.concat([encodeRegions(regionsOf(mode)), ...cases.map(encodeCase)]);
  const run = spawnSync(program, { input, maxBuffer: 2 ** 30 });
  const reader = new ResultReader(run.stdout);
  const outcomes: Outcome[] = [];
  while (!reader.atEnd) {
    const outcome = reader.outcome(mode);
    const input = cases[outcomes.length]?.input;
    outcomes.push(input ? withPointers(outcome, input.extended) : outcome);
  }
  if (run.status !== 0 || outcomes.length !== cases.length) {
    const next = Buffer.from(cases[outcomes.length]?.bytes ?? []).toString('hex');
    throw new Error(
      `${program}: expected ${cases.length} results, found ${outcomes.length}, then ${run.signal ?? run.status} at ${next}: ${run.stderr}`,
    );
  }
  return outcomes;
}

/**
 * AMD processors save the pointers of the last x87 instruction only while an unmasked exception is pending, otherwise
 * zeros: then they are given as they were before.
 */
function withPointers(outcome: Outcome, { fop, fip, fdp }: ExtendedState): Outcome {
  const isPending = (outcome.extended.fsw & 0x80) !== 0;
  return isPending ? outcome : { ...outcome, extended: { ...outcome.extended, fop, fip, fdp } };
}

function encodeRegions(regions: readonly Region[]): Buffer {
  const buffer = Buffer.alloc(4 + 16 * regions.length);
  buffer.writeUInt32LE(regions.length, 0);
  regions.forEach((region, n) => {
    buffer.writeBigUInt64LE(BigInt(region.address), 4 + 16 * n);
    buffer.writeUInt32LE(region.lengthBytes, 12 + 16 * n);
    buffer.writeUInt32LE(FILL_NUMBERS[region.fill], 16 + 16 * n);
  });
  return buffer;
}

function encodeCase({ mode, bytes, input }: Case): Buffer {
  const head = Buffer.alloc(180);
  head.set([mode, bytes.length, input.memory.length, 0, ...bytes]);
  input.gpr.forEach((value, n) => {
    head.writeBigUInt64LE(value, 20 + 8 * n);
  });
  head.writeBigUInt64LE(BigInt(input.flags), 148);
  head.writeBigUInt64LE(input.rip, 156);
  input.segments.forEach((selector, n) => {
    head.writeUInt16LE(selector, 164 + 2 * n);
  });
  return Buffer.concat([head, encodeExtendedState(input.extended), ...input.memory.map(encodePatch)]);
}

function encodePatch({ address, bytes }: MemoryBytes): Buffer {
  const head = Buffer.alloc(12);
  head.writeBigUInt64LE(BigInt(address), 0);
  head.writeUInt32LE(bytes.length, 8);
  return Buffer.concat([head, bytes]);
}

class ResultReader {
  #at = 0;
  constructor(private readonly data: Buffer) {}

  get atEnd(): boolean {
    return this.#at >= this.data.length;
  }

  outcome(mode: Mode): Outcome {
    const width = mode === 64 ? 64 : 32;
    const gpr = Array.from({ length: 16 }, (_, n) => {
      const value = BigInt.asUintN(width, this.#u64());
      return mode !== 64 && n >= 8 ? 0n : value;
    });
    const flags = Number(this.#u64()) & ~RF;
    const rip = this.#u64();
    const segments = Array.from({ length: 6 }, () => this.#u16());
    const vector = this.#u16();
    this.#at += 2;
    const [errorCode, linearAddress] = [Number(this.#u64()), this.#u64()];
    const extended = decodeExtendedState(this.#bytes(EXTENDED_BYTES));
    const memory = Array.from({ length: this.#u32() }, () => this.#change());
    const state = { gpr, flags, rip, segments, extended, memory };
    if (vector === NO_EXCEPTION) return state;
    const exception: VectorException = { vector };
    if (mode !== 16 && HAS_ERROR_CODE.has(vector)) exception.errorCode = errorCode;
    if (vector === 14) exception.linearAddress = linearAddress;
    return { ...state, exception };
  }

  #change(): MemoryBytes {
    const address = Number(this.#u64());
    return { address, bytes: Uint8Array.from(this.#bytes(this.#u32())) };
  }

  #bytes(length: number): Buffer {
    this.#at += length;
    return this.data.subarray(this.#at - length, this.#at);
  }

  #u16(): number {
    return this.data.readUInt16LE((this.#at += 2) - 2);
  }

  #u32(): number {
    return this.data.readUInt32LE((this.#at += 4) - 4);
  }

  #u64(): bigint {
    return this.data.readBigUInt64LE((this.#at += 8) - 8);
  }
}
