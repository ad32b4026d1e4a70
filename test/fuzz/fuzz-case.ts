/** A case of the fuzzer: some instructions, and the state they start from, both from a seed. */
import { Decoder, type Instruction, OpKind, Register, RegisterExt } from 'iced-x86';
import { copyExtendedState, type ExtendedState } from '../vectors/extended-state.ts';
import {
  DATA_ADDRESS,
  DATA_BYTES,
  FIXED_FLAGS,
  HIGH_ADDRESS,
  initialInstructionPointer,
  type Mode,
  regionsOf,
  STACK_ADDRESS,
  STATUS_FLAGS,
} from '../vectors/layout.ts';
import { initialState, type MachineState } from '../vectors/read-vectors.ts';
import { lanes } from '../vectors/record/extended-inputs.ts';
import type { Lane } from '../vectors/record/feature-groups.ts';
import { interestingFloat } from '../vectors/record/interesting-floats.ts';
import { Random } from '../vectors/record/random.ts';
import { instructionBytes } from './bytes.ts';

export interface FuzzCase {
  readonly seed: number;
  readonly mode: Mode;
  /** One after the other in memory; INT3 follows. The last may be no instruction at all. */
  readonly instructions: readonly Uint8Array[];
  readonly input: MachineState;
}

const MODES: readonly Mode[] = [64, 64, 64, 32, 32, 16];
const MAX_SEQUENCE = 6;
const INT3 = 0xcc;

export const codeOf = ({ instructions }: Pick<FuzzCase, 'instructions'>): Uint8Array =>
  Uint8Array.from(instructions.flatMap((bytes) => [...bytes]));

/** The case of a seed: half of them single instructions, the others some in a row. */
export function caseOf(seed: number): FuzzCase {
  const random = new Random(`fuzz ${seed}`);
  const mode = random.pick(MODES);
  const instructions = sequence(random, mode, random.oneIn(2) ? 1 : 2 + random.below(MAX_SEQUENCE - 1));
  const input = randomState(random, mode);
  placeOperand(random, mode, instructions[0], input);
  return { seed, mode, instructions, input };
}

/** Instructions cut to their length. What does not decode ends the sequence. */
function sequence(random: Random, mode: Mode, count: number): Uint8Array[] {
  const instructions: Uint8Array[] = [];
  while (instructions.length < count) {
    const bytes = instructionBytes(random, mode);
    if (bytes[0] === INT3) continue;
    const length = decodeLength(bytes, mode);
    // In a row, what is no instruction is of interest now and then only.
    if (length === 0 && count > 1 && !random.oneIn(8)) continue;
    instructions.push(length === 0 ? bytes : bytes.subarray(0, length));
    if (length === 0) break;
  }
  return instructions;
}

/** 0 if the bytes are not an instruction. */
function decodeLength(bytes: Uint8Array, mode: Mode): number {
  return withInstruction(bytes, mode, (instruction) => (instruction.isInvalid ? 0 : instruction.length));
}

/** `use` gets the first instruction of the bytes, at the address where a case's code starts. */
export function withInstruction<T>(
  bytes: Uint8Array,
  mode: Mode,
  use: (instruction: Instruction) => T,
  options = 0,
): T {
  const decoder = new Decoder(mode, bytes, options);
  decoder.ip = BigInt(initialInstructionPointer(mode));
  const instruction = decoder.decode();
  try {
    return use(instruction);
  } finally {
    instruction.free();
    decoder.free();
  }
}

/** Where accesses lead: anywhere in the data, or next to where a region ends. */
function dataAddress(random: Random, mode: Mode): number {
  if (mode === 16) return random.oneIn(4) ? 0x1_0000 - random.below(40) : random.below(0x1_0000);
  const [start, length] = random.pick([
    [DATA_ADDRESS, DATA_BYTES],
    [DATA_ADDRESS, DATA_BYTES],
    [STACK_ADDRESS, 0x1000],
    [mode === 64 ? HIGH_ADDRESS : DATA_ADDRESS, 0x1000],
  ] as const);
  const aligned = (address: number) => (random.oneIn(2) ? address - (address % 64) : address);
  if (random.oneIn(4)) return start + random.pick([0x1000, length]) + random.below(80) - 64;
  return aligned(start + random.below(length));
}

function randomState(random: Random, mode: Mode): MachineState {
  const state = { ...initialState(mode), flags: FIXED_FLAGS | (random.u32() & STATUS_FLAGS & ~0x400) };
  if (random.oneIn(6)) state.flags |= 0x400;
  const width = mode === 64 ? 64 : 32;
  for (let n = 0; n < (mode === 64 ? 16 : 8); n++) {
    if (n === 4 || random.oneIn(4)) continue;
    const value = random.oneIn(2) ? BigInt(dataAddress(random, mode)) : random.interesting(width);
    state.gpr[n] = random.oneIn(6) ? BigInt(random.below(40)) : value;
  }
  if (random.oneIn(2)) state.extended = randomExtended(random);
  for (let n = random.below(3); n > 0; n--) addMemory(random, mode, state);
  return state;
}

const LANES: readonly Lane[] = [
  ...[8, 16, 32, 64].map((bits) => ({ kind: 'integer' as const, bits })),
  ...[32, 32, 64, 64].map((bits) => ({ kind: 'float' as const, bits })),
];

function randomExtended(random: Random): ExtendedState {
  const state = copyExtendedState(initialState(64).extended);
  const lane = random.pick(LANES);
  for (let n = 0; n < 16; n++) {
    if (random.oneIn(2)) state.xmm[n] = lanes(random, 128, lane);
    if (random.oneIn(2)) state.ymmHigh[n] = lanes(random, 128, lane);
  }
  const any = (bits: number, chance: number) => (random.oneIn(chance) ? random.below(2 ** bits) : 0);
  const masks = random.oneIn(5) ? random.below(64) : 0x3f;
  state.mxcsr = (masks << 7) | (any(2, 2) << 13) | random.pick([0, 0, 0, 0x40, 0x8000, 0x8040]) | any(6, 4);
  for (let n = 0; n < 8; n++)
    state.fpr[n] = random.oneIn(4) ? lanes(random, 64, lane) | (0xffffn << 64n) : interestingFloat(random, 80);
  setX87Words(random, state, any);
  return state;
}

function setX87Words(random: Random, state: ExtendedState, any: (bits: number, chance: number) => number): void {
  const masks = random.oneIn(5) ? random.below(64) : 0x3f;
  state.fcw = 0x40 | masks | (random.pick([3, 3, 3, 0, 2]) << 8) | (any(2, 2) << 10);
  const sticky = any(7, 12);
  state.fsw = (random.below(8) << 8) | (any(1, 2) << 14) | (any(3, 2) << 11) | sticky;
  if (sticky & ~masks & 0x3f) state.fsw |= 0x8080;
  state.ftw = random.oneIn(3) ? 0 : random.oneIn(2) ? 0xff : random.below(256);
}

function addMemory(random: Random, mode: Mode, state: MachineState, at?: number): void {
  const length = random.pick([4, 8, 16, 32]);
  const regions = regionsOf(mode).filter((region) => region.fill === 'pattern');
  const region = random.pick(regions);
  const wanted = at ?? region.address + random.below(region.lengthBytes - length);
  if (!regions.some((r) => wanted >= r.address && wanted + length <= r.address + r.lengthBytes)) return;
  const value = lanes(random, 8 * length, random.pick(LANES));
  const bytes = Uint8Array.from({ length }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
  state.memory = state.memory.filter((m) => m.address >= wanted + length || m.address + m.bytes.length <= wanted);
  state.memory.push({ address: wanted, bytes });
}

/** Two of three times, chooses the base register of the first instruction so that it finds memory. */
function placeOperand(random: Random, mode: Mode, bytes: Uint8Array | undefined, state: MachineState): void {
  if (bytes === undefined || random.oneIn(3)) return;
  withInstruction(bytes, mode, (instruction) => {
    const { memoryBase: base, memoryIndex: index, memoryIndexScale: scale } = instruction;
    const hasMemory = [0, 1, 2, 3].some((n) => n < instruction.opCount && instruction.opKind(n) === OpKind.Memory);
    if (!hasMemory || !RegisterExt.isGPR(base) || RegisterExt.fullRegister(base) === Register.RSP) return;
    if (index !== Register.None && !RegisterExt.isGPR(index)) return;
    const width = 8 * RegisterExt.size(base);
    const fromIndex = index === Register.None ? 0n : (state.gpr[RegisterExt.number(index)] ?? 0n) * BigInt(scale);
    const wanted = dataAddress(random, mode);
    const value = BigInt(wanted) - fromIndex - instruction.memoryDisplacement;
    if (index === base) return;
    state.gpr[RegisterExt.number(base)] = BigInt.asUintN(mode === 64 ? width : Math.min(width, 32), value);
    if (mode !== 16 && random.oneIn(2)) addMemory(random, mode, state, wanted);
  });
}
