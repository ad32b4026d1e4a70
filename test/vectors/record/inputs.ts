/** Inputs for an encoding: registers it reads, memory it addresses, flags. */
import {
  Code,
  type Instruction,
  InstructionInfoFactory,
  MemorySizeExt,
  Mnemonic,
  OpAccess,
  OpKind,
  Register,
  RegisterExt,
} from 'iced-x86';
import { copyExtendedState } from '../extended-state.ts';
import { DATA_ADDRESS, DATA_BYTES, FIXED_FLAGS, type Mode } from '../layout.ts';
import { initialState, type MachineState } from '../read-vectors.ts';
import type { Encoding } from './encodings.ts';
import { extendedInputs, lanes, vectorIndices } from './extended-inputs.ts';
import type { Random } from './random.ts';

const STATUS_BITS = [0x001, 0x004, 0x010, 0x040, 0x080, 0x800];
export const READS = new Set([OpAccess.Read, OpAccess.CondRead, OpAccess.ReadWrite, OpAccess.ReadCondWrite]);
export const infoFactory = new InstructionInfoFactory();

/** A register of any width as a part of one of the sixteen. */
export function registerPart(register: Register): { number: number; width: number; shift: number } {
  const full = RegisterExt.fullRegister(register);
  const isHighByte = register >= Register.AH && register <= Register.BH;
  return { number: RegisterExt.number(full), width: 8 * RegisterExt.size(register), shift: isHighByte ? 8 : 0 };
}

/** A case's state while it is being put together. */
export class InputBuilder {
  readonly mode: Mode;
  readonly instruction: Instruction;
  readonly state: MachineState;
  /** Where the explicit memory operand lies, once it has been placed. */
  operandAddress: number | undefined;

  constructor(
    readonly encoding: Encoding,
    readonly random: Random,
  ) {
    this.mode = encoding.form.mode;
    this.instruction = encoding.instruction;
    const flags = STATUS_BITS.reduce((all, bit) => all | (random.oneIn(2) ? bit : 0), FIXED_FLAGS);
    this.state = { ...initialState(this.mode), flags };
    if (encoding.form.featureGroup) this.state.extended = copyExtendedState(this.state.extended);
  }

  get mnemonic(): string {
    return Mnemonic[this.instruction.mnemonic];
  }

  get(register: Register): bigint {
    const { number, width, shift } = registerPart(register);
    return BigInt.asUintN(width, (this.state.gpr[number] ?? 0n) >> BigInt(shift));
  }

  set(register: Register, value: bigint): void {
    const { number, width, shift } = registerPart(register);
    const mask = ((1n << BigInt(width)) - 1n) << BigInt(shift);
    const old = this.state.gpr[number] ?? 0n;
    this.state.gpr[number] = (old & ~mask) | ((value << BigInt(shift)) & mask);
  }

  /** Set all of the register that `register` is a part of, with something in the bits above that part. */
  setWithRest(register: Register, value: bigint): void {
    const full = this.mode === 64 ? RegisterExt.fullRegister(register) : RegisterExt.fullRegister32(register);
    const rest = this.random.pick([0n, 0n, -1n, this.random.bits(64)]);
    this.set(full, rest);
    this.set(register, value);
  }

  /** Put little-endian bytes into memory. Later bytes win over earlier ones. */
  patch(address: number, value: bigint, lengthBytes: number): void {
    const bytes = Uint8Array.from({ length: lengthBytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
    const end = address + lengthBytes;
    this.state.memory = this.state.memory.filter(
      (other) => other.address >= end || other.address + other.bytes.length <= address,
    );
    this.state.memory.push({ address, bytes });
  }

  /** Linear address of an offset in a segment. */
  linear(segment: Register, offset: bigint): number {
    if (this.mode !== 16) return Number(offset);
    return (this.state.segments[RegisterExt.number(segment)] ?? 0) * 16 + Number(offset & 0xffffn);
  }

  get stackAddress(): number {
    return this.linear(Register.SS, this.mode === 16 ? this.get(Register.SP) : this.get(Register.RSP));
  }
}

/** Registers and memory as any instruction wants them; special-inputs.ts then adapts them to the instruction. */
export function generalInputs(encoding: Encoding, random: Random): InputBuilder {
  const builder = new InputBuilder(encoding, random);
  setDataRegisters(builder);
  extendedInputs(builder);
  if (hasMemoryOperand(builder.instruction) && !isAddressOnly(builder.instruction)) placeMemoryOperand(builder);
  return builder;
}

const hasMemoryOperand = (instruction: Instruction) =>
  Array.from({ length: instruction.opCount }, (_, n) => instruction.opKind(n)).includes(OpKind.Memory);
const isAddressOnly = (instruction: Instruction) => /^(Lea_|Nop_)/.test(Code[instruction.code]);

function setDataRegisters(builder: InputBuilder): void {
  const info = infoFactory.info(builder.instruction);
  const done = new Set<number>();
  let previous = 0n;
  for (const used of info.usedRegisters()) {
    const { register, access } = used;
    if (!RegisterExt.isGPR(register) || !READS.has(access)) continue;
    if (isStackPointer(register) && !isPlainStackPointer(builder.instruction)) continue;
    const { number, width } = registerPart(register);
    const value = builder.random.oneIn(5) ? previous : builder.random.interesting(width);
    if (done.has(number)) builder.set(register, value);
    else builder.setWithRest(register, value);
    done.add(number);
    previous = value;
  }
  info.free();
}

const isStackPointer = (register: Register) => RegisterExt.fullRegister(register) === Register.RSP;

/** The stack pointer is data when it is named as an operand and the instruction does not use the stack. */
function isPlainStackPointer(instruction: Instruction): boolean {
  if (instruction.isStackInstruction) return false;
  if (hasMemoryOperand(instruction) && !isAddressOnly(instruction) && isStackPointer(instruction.memoryBase))
    return false;
  return (
    Array.from({ length: instruction.opCount }, (_, n) => n).some(
      (n) => instruction.opKind(n) === OpKind.Register && isStackPointer(instruction.opRegister(n)),
    ) || isAddressOnly(instruction)
  );
}

/** Choose registers so that the operand lies in the data region, and give it a value. */
function placeMemoryOperand(builder: InputBuilder): void {
  const { instruction, random } = builder;
  const size = operandBytes(builder);
  const wanted =
    builder.mode === 16
      ? BigInt(0x100 + random.below(0xfd00))
      : BigInt(DATA_ADDRESS + 0x200 + random.below(DATA_BYTES - 0x480 - (size > 256 ? size : 0)));
  const alignment = size >= 16 ? BigInt(alignedSize(size) - 1) : 7n;
  const needsAlignment = isAligned(builder, size) || instruction.memoryIndexScale > 1;
  const offset = solveAddress(builder, needsAlignment ? wanted & ~alignment : wanted);
  const segment = builder.mode === 16 ? instruction.memorySegment : Register.DS;
  builder.operandAddress = builder.linear(segment, offset);
  const { lane } = builder.encoding.form;
  builder.patch(builder.operandAddress, lane ? lanes(random, 8 * size, lane) : random.interesting(8 * size), size);
}

/** The decoder does not say how large an XSAVE area is. */
function operandBytes({ instruction, mnemonic }: InputBuilder): number {
  if (/^X(save|rstor)/.test(mnemonic)) return 832;
  return Math.max(1, MemorySizeExt.size(instruction.memorySize));
}

/** What alignment an operand of this size may ask for: 16 or 32 bytes, 64 for the areas of XSAVE. */
const alignedSize = (size: number) => (size > 32 ? 64 : size === 32 ? 32 : 16);

/** Where alignment matters, an operand of a feature group's form lacks it now and then, and faults. */
function isAligned({ encoding: { form }, random }: InputBuilder, size: number): boolean {
  // AMD processors let SHA operands lie anywhere.
  if (!form.featureGroup || form.features === 'SHA') return size === 16;
  const matters = size >= 16 && (!/^VEX_/.test(form.name) || /VEX_Vmov(ap|dqa|nt)/.test(form.name));
  return matters ? !random.oneIn(8) : size >= 16 && random.oneIn(2);
}

function addressWidth(builder: InputBuilder): number {
  const { memoryBase: base, memoryIndex: index, memoryDisplSize } = builder.instruction;
  if (base === Register.RIP || base === Register.EIP) return 64;
  if (base !== Register.None) return 8 * RegisterExt.size(base);
  if (index !== Register.None) return 8 * RegisterExt.size(index);
  return memoryDisplSize === 2 ? 16 : memoryDisplSize === 4 && builder.mode !== 64 ? 32 : 64;
}

/** The effective address, after setting base and index so that it becomes `wanted` where registers allow that. */
function solveAddress(builder: InputBuilder, wanted: bigint): bigint {
  const { instruction } = builder;
  if (RegisterExt.isVectorRegister(instruction.memoryIndex)) return vectorIndices(builder, wanted);
  const { memoryBase: base, memoryIndex: index, memoryDisplacementU64: displacement } = instruction;
  const width = addressWidth(builder);
  const wrap = (value: bigint) => BigInt.asUintN(width, value);
  const scale = BigInt(instruction.memoryIndexScale);
  if (base === Register.RIP || base === Register.EIP) return instruction.ipRelMemoryAddress;
  if (base === Register.None && index === Register.None) return wrap(displacement);
  if (isStackPointer(base)) {
    // POP computes its operand's address with the stack pointer already incremented.
    const popped = builder.mnemonic === 'Pop' ? BigInt(MemorySizeExt.size(instruction.memorySize)) : 0n;
    return wrap(builder.get(base) + displacement + popped);
  }
  if (base === Register.None) {
    builder.setWithRest(index, BigInt.asIntN(width, wrap(wanted - displacement)) / scale);
    return wrap(builder.get(index) * scale + displacement);
  }
  if (index === base) throw new Error(`${builder.encoding.disassembly}: base and index must differ`);
  if (index !== Register.None) builder.setWithRest(index, builder.random.interesting(width));
  const indexValue = index === Register.None ? 0n : builder.get(index) * scale;
  builder.setWithRest(base, wrap(wanted - displacement - indexValue));
  return wrap(wanted);
}
