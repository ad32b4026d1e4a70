/** What single instructions need beyond operands: divisors that fit, code addresses, strings, stack contents, counts. */
import { MemorySizeExt, OpKind, Register, RegisterExt } from 'iced-x86';
import { DATA_ADDRESS, initialInstructionPointer, REAL_MODE_DATA_SELECTORS, STACK_ADDRESS } from '../layout.ts';
import { operandWidth } from './defined-flags.ts';
import { farTarget } from './encodings.ts';
import { setPointers } from './extended-inputs.ts';
import type { InputBuilder } from './inputs.ts';
import { interestingFloat } from './interesting-floats.ts';
import { stateSavingInputs } from './save-area-inputs.ts';

const R = Register;
const SHIFT_COUNTS = [0, 1, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 255];

type Adapt = (builder: InputBuilder) => void;

const BY_MNEMONIC: [RegExp, Adapt][] = [
  [/^I?div$/i, divide],
  [/^(Rol|Ror|Rcl|Rcr|Shl|Sal|Shr|Sar|Shld|Shrd)$/, countInCl],
  [/^Bt[src]?$/, bitOffset],
  [/^Bs[fr]$/, bitScan],
  [/^(Cmpxchg|Cmpxchg8b|Cmpxchg16b)$/, compareExchange],
  [/^(Movs|Stos|Lods|Scas|Cmps)[bwdq]$/, stringOperands],
  [/^Xlatb$/, translate],
  [/^(M|Vm)askmov(q|dqu)$/, implicitDestination],
  [/^V?Ldmxcsr$/, controlAndStatus],
  [/^Fn(stenv|save)$/, x87Environment],
  [/^F?x(save|rstor)/i, stateSavingInputs],
  [/^(Jmp|Call)$/, transferTarget],
  [/^(Ret|Retf|Iret|Iretd)$/, returnAddress],
  [/^Popf[dq]?$/, flagsOnStack],

  [/^(Push|Pop|Pusha|Popa|Pushf|Popf)[dq]?$/, stackWrap],
  [/^Enter$/, frameChain],
  [/^Leave$/, framePointer],
  [/^(Pop|Popa|Popad|Leave)$/, stackContents],
  [/^Push$/, clearSelectorSlot],
  [/^(Cld|Std|Pushf[dq]?)$/, directionFlag],
  [/^Bound$/, bounds],
  [/^(Loop(n?e)?|Jr?e?cxz)$/, smallCount],
];

/** Adapt a case's inputs to its instruction. */
export function specialInputs(builder: InputBuilder): void {
  for (const [pattern, adapt] of BY_MNEMONIC) if (pattern.test(builder.mnemonic)) adapt(builder);
  loadSelector(builder);
}

/** Two of three cases: a dividend made from divisor, quotient and remainder, so that it does not overflow. */
function divide(builder: InputBuilder): void {
  const { random, instruction } = builder;
  if (random.oneIn(3)) return;
  const width = operandWidth(instruction, 0);
  const register = instruction.opKind(0) === OpKind.Register ? instruction.op0Register : R.None;
  if (register !== R.None && [R.RAX, R.RDX].includes(RegisterExt.fullRegister(register))) return;
  const divisor = random.interesting(width) || 3n;
  if (register !== R.None) builder.set(register, divisor);
  else if (builder.operandAddress !== undefined) builder.patch(builder.operandAddress, divisor, width / 8);
  const isSigned = builder.mnemonic === 'Idiv';
  const signed = (value: bigint) => (isSigned ? BigInt.asIntN(width, value) : value);
  const remainder = BigInt.asUintN(width, random.bits(width)) % (signed(divisor) < 0n ? -signed(divisor) : divisor);
  const quotient = signed(random.interesting(width));
  const product = signed(divisor) * quotient;
  const dividend = product < 0n ? product - remainder : product + remainder;
  const low = { 8: R.AL, 16: R.AX, 32: R.EAX, 64: R.RAX }[width] ?? R.AL;
  const high = { 8: R.AH, 16: R.DX, 32: R.EDX, 64: R.RDX }[width] ?? R.AH;
  builder.set(low, dividend);
  builder.set(high, dividend >> BigInt(width));
}

function countInCl(builder: InputBuilder): void {
  const { instruction, random } = builder;
  const last = instruction.opCount - 1;
  if (instruction.opKind(last) !== OpKind.Register || instruction.opRegister(last) !== R.CL) return;
  builder.set(R.CL, BigInt(random.pick(SHIFT_COUNTS)));
}

/** A bit offset in a register reaches memory before and after the operand: keep it within 256 bytes. */
function bitOffset(builder: InputBuilder): void {
  const { instruction, random } = builder;
  if (instruction.opKind(0) !== OpKind.Memory || instruction.opKind(1) !== OpKind.Register) return;
  if (RegisterExt.fullRegister(instruction.op1Register) === RegisterExt.fullRegister(instruction.memoryBase)) return;
  if (RegisterExt.fullRegister(instruction.op1Register) === RegisterExt.fullRegister(instruction.memoryIndex)) return;
  builder.set(
    instruction.op1Register,
    BigInt(random.pick([0, 1, 15, 31, 63, 64, -1, -64, random.below(4000) - 2000, random.below(64)])),
  );
}

/** Half of the sources are sparse, an eighth zero, which leaves the destination alone. */
function bitScan(builder: InputBuilder): void {
  const { instruction, random } = builder;
  const width = operandWidth(instruction, 1);
  const sparse = (1n << BigInt(random.below(width))) | (1n << BigInt(random.below(width)));
  const source = random.oneIn(8) ? 0n : random.oneIn(2) ? sparse : random.interesting(width);
  if (instruction.opKind(1) === OpKind.Register) builder.set(instruction.op1Register, source);
  else if (RegisterExt.fullRegister(instruction.memoryBase) === RegisterExt.fullRegister(instruction.op0Register))
    return;
  else if (builder.operandAddress !== undefined) builder.patch(builder.operandAddress, source, width / 8);
  if (source !== 0n || width !== 32) return;
  // Whether the upper half of the destination survives differs between processors, so it is zero before.
  const destination = instruction.op0Register;
  builder.set(RegisterExt.fullRegister(destination), builder.get(destination));
}

function compareExchange(builder: InputBuilder): void {
  const { instruction, random, operandAddress } = builder;
  if (random.oneIn(2)) return;
  if (builder.mnemonic !== 'Cmpxchg') {
    const half = builder.mnemonic === 'Cmpxchg8b' ? 4 : 8;
    const [low, high] = half === 4 ? [R.EAX, R.EDX] : [R.RAX, R.RDX];
    const value = builder.get(low) | (builder.get(high) << BigInt(8 * half));
    if (operandAddress !== undefined) builder.patch(operandAddress, value, 2 * half);
    return;
  }
  const width = operandWidth(instruction, 0);
  const accumulator = { 8: R.AL, 16: R.AX, 32: R.EAX, 64: R.RAX }[width] ?? R.AL;
  if (operandAddress !== undefined) builder.patch(operandAddress, builder.get(accumulator), width / 8);
  else builder.set(instruction.op0Register, builder.get(accumulator));
}

interface StringSide {
  pointer: Register;
  segment: Register;
}

function stringSides(builder: InputBuilder): { source?: StringSide; destination?: StringSide; counter: Register } {
  const { instruction } = builder;
  const kinds = [instruction.op0Kind, instruction.op1Kind];
  const has = (...wanted: OpKind[]) => kinds.some((kind) => wanted.includes(kind));
  const size = has(OpKind.MemorySegSI, OpKind.MemoryESDI) ? 0 : has(OpKind.MemorySegESI, OpKind.MemoryESEDI) ? 1 : 2;
  const column = (registers: Register[]) => registers[size] ?? R.None;
  const counter = column([R.CX, R.ECX, R.RCX]);
  const sides: ReturnType<typeof stringSides> = { counter };
  const sourceSegment = instruction.memorySegment;
  if (has(OpKind.MemorySegSI, OpKind.MemorySegESI, OpKind.MemorySegRSI)) {
    sides.source = { pointer: column([R.SI, R.ESI, R.RSI]), segment: sourceSegment };
  }
  if (has(OpKind.MemoryESDI, OpKind.MemoryESEDI, OpKind.MemoryESRDI)) {
    sides.destination = { pointer: column([R.DI, R.EDI, R.RDI]), segment: R.ES };
  }
  return sides;
}

/** Pointers into the data, sometimes overlapping, both directions, counts of 0 to 20, and data that match for a while. */
function stringOperands(builder: InputBuilder): void {
  const { random, instruction, state } = builder;
  const { source, destination, counter } = stringSides(builder);
  const elementBytes = MemorySizeExt.size(instruction.memorySize);
  if (random.oneIn(2)) state.flags |= 0x400;
  const repeated = instruction.hasRepPrefix || instruction.hasRepnePrefix;
  if (repeated) builder.setWithRest(counter, BigInt(random.pick([0, 1, 2, 3, random.below(20), random.below(20)])));
  const base = builder.mode === 16 ? 0x4000 : DATA_ADDRESS + 0x400;
  const first = BigInt(base + random.below(0x400));
  const second = random.oneIn(3)
    ? first + BigInt(random.pick([1, -1, elementBytes, -elementBytes, 3]))
    : first + 0x800n + BigInt(random.below(0x200));
  if (source) builder.setWithRest(source.pointer, first);
  if (destination) builder.setWithRest(destination.pointer, second);
  if (repeated && builder.get(counter) === 0n)
    clearUpperHalves(builder, [counter, source?.pointer, destination?.pointer]);
  if (/^(Cmps|Scas)/.test(builder.mnemonic)) makeMatch(builder, source, destination, elementBytes);
}

/** Processors differ in whether no iteration at all, with 32-bit addresses, clears the upper halves. */
function clearUpperHalves(builder: InputBuilder, registers: (Register | undefined)[]): void {
  for (const register of registers) {
    if (register !== undefined) builder.set(RegisterExt.fullRegister(register), builder.get(register));
  }
}

/** The compared strings agree (or, for REPNE, differ) over the first elements. */
function makeMatch(
  builder: InputBuilder,
  source: StringSide | undefined,
  destination: StringSide | undefined,
  elementBytes: number,
): void {
  const { random, instruction, state } = builder;
  if (!destination || instruction.hasRepnePrefix) {
    if (destination && !source && random.oneIn(2)) plantElement(builder, destination, elementBytes);
    return;
  }
  const matching = random.pick([1, 2, 5, 8]);
  const step = state.flags & 0x400 ? -elementBytes : elementBytes;
  const accumulator = { 1: R.AL, 2: R.AX, 4: R.EAX, 8: R.RAX }[elementBytes] ?? R.AL;
  const value = source ? random.bits(8 * elementBytes) : builder.get(accumulator);
  for (let i = 0; i < matching; i++) {
    for (const side of [source, destination]) {
      if (!side) continue;
      builder.patch(builder.linear(side.segment, builder.get(side.pointer)) + i * step, value, elementBytes);
    }
  }
}

/** What REPNE SCAS looks for, a few elements on. */
function plantElement(builder: InputBuilder, destination: StringSide, elementBytes: number): void {
  const step = builder.state.flags & 0x400 ? -elementBytes : elementBytes;
  const accumulator = { 1: R.AL, 2: R.AX, 4: R.EAX, 8: R.RAX }[elementBytes] ?? R.AL;
  const address =
    builder.linear(destination.segment, builder.get(destination.pointer)) + step * builder.random.below(6);
  builder.patch(address, builder.get(accumulator), elementBytes);
}

function translate(builder: InputBuilder): void {
  const { instruction, random } = builder;
  const index = random.interesting(8);
  const table =
    builder.mode === 16 ? BigInt(random.pick([0x4000, 0xffc0])) : BigInt(DATA_ADDRESS + random.below(0x800));
  builder.state.memory = [];
  builder.setWithRest(instruction.memoryBase, table);
  builder.set(R.AL, index);
}

/** DS:rDI points to where bytes are stored under a mask. */
function implicitDestination(builder: InputBuilder): void {
  const { instruction, random } = builder;
  const kind = instruction.op0Kind;
  const register = kind === OpKind.MemorySegDI ? R.DI : kind === OpKind.MemorySegEDI ? R.EDI : R.RDI;
  const offset = 0x400 + random.below(0x400);
  builder.setWithRest(register, BigInt(builder.mode === 16 ? offset : DATA_ADDRESS + offset));
}

/** What FNSTENV and FNSAVE store: registers of all kinds, full or empty, and pointers. */
function x87Environment({ random, state: { extended } }: InputBuilder): void {
  setPointers(extended, random);
  for (let n = 0; n < 8; n++) if (random.oneIn(2)) extended.fpr[n] = interestingFloat(random, 80);
  extended.ftw = random.below(256);
}

/** A value for MXCSR, mostly without reserved bits. */
function controlAndStatus(builder: InputBuilder): void {
  const { random, operandAddress } = builder;
  if (operandAddress === undefined || random.oneIn(6)) return;
  builder.patch(operandAddress, random.bits(16), 4);
}

/** A near code address, clear of the instruction. */
function nearTarget(builder: InputBuilder): bigint {
  const start = initialInstructionPointer(builder.mode);
  return BigInt(start + builder.random.pick([-1, 1]) * (0x20 + builder.random.below(0x700)));
}

/** Indirect JMP and CALL: the operand is a code address, with a selector above it when it is a far pointer. */
function transferTarget(builder: InputBuilder): void {
  const { instruction, random, operandAddress } = builder;
  if (instruction.op0Kind === OpKind.Register) return builder.set(instruction.op0Register, nearTarget(builder));
  if (operandAddress === undefined) return;
  const size = MemorySizeExt.size(instruction.memorySize);
  if (!instruction.isJmpFarIndirect && !instruction.isCallFarIndirect)
    return builder.patch(operandAddress, nearTarget(builder), size);
  const { selector, offset } = farTarget(random);
  builder.patch(operandAddress, (BigInt(selector) << BigInt(8 * (size - 2))) | BigInt(offset), size);
}

/** The stack holds what RET, RETF and IRET pop. */
function returnAddress(builder: InputBuilder): void {
  const elementBytes = stackElementBytes(builder);
  const isFar = builder.mnemonic !== 'Ret';
  const { selector, offset } = farTarget(builder.random);
  const values = isFar ? [BigInt(offset), BigInt(selector)] : [nearTarget(builder)];
  if (/^Iret/.test(builder.mnemonic)) values.push(randomFlags(builder));
  values.forEach((value, n) => {
    builder.patch(builder.stackAddress + n * elementBytes, value, elementBytes);
  });
}

/** Bytes of one element that the instruction pops. */
function stackElementBytes(builder: InputBuilder): number {
  const name = builder.encoding.form.name;
  return /^(Retn|Retf|Popf|Iret)q/.test(name) ? 8 : /^(Retn|Retf|Popf|Iret)d/.test(name) ? 4 : 2;
}

/** Any flags image without TF (which would trap), RF, VM, VIF, VIP and reserved bits. */
function randomFlags(builder: InputBuilder): bigint {
  return BigInt(builder.random.u32() & 0x24_7ed5);
}

function flagsOnStack(builder: InputBuilder): void {
  builder.patch(builder.stackAddress, randomFlags(builder), stackElementBytes(builder));
}

/** Something else than the fill where the stack pointer points. */
function stackContents(builder: InputBuilder): void {
  const { random, instruction } = builder;
  // POP SS and its like load a selector: the fill does.
  if (instruction.opCount > 0 && RegisterExt.isSegmentRegister(instruction.op0Register)) return;
  const frame = builder.mode === 16 ? builder.get(R.BP) : builder.get(R.RBP);
  const address = builder.mnemonic === 'Leave' ? builder.linear(R.SS, frame) : builder.stackAddress;
  builder.patch(address, random.interesting(64), 8);
}

/** PUSH Sreg with a wide operand may write the selector only, or zeros above it: with zeros there, both are the same. */
function clearSelectorSlot(builder: InputBuilder): void {
  if (!/^Push[dq]_[CDEFGS]S$/.test(builder.encoding.form.name)) return;
  const bytes = builder.encoding.form.name.startsWith('Pushq') ? 8 : 4;
  const slot = builder.mode === 16 ? builder.get(R.SP) - BigInt(bytes) : builder.get(R.RSP) - BigInt(bytes);
  builder.patch(builder.linear(R.SS, slot), 0n, bytes);
}

function directionFlag(builder: InputBuilder): void {
  if (builder.random.oneIn(2)) builder.state.flags |= 0x400;
}

/** In 16-bit code, now and then, a stack pointer at the edge of the segment. */
function stackWrap(builder: InputBuilder): void {
  if (builder.mode !== 16 || builder.operandAddress !== undefined || !builder.random.oneIn(3)) return;
  if (/^(Pop)/.test(builder.mnemonic) && builder.mnemonic !== 'Pop') return;
  builder.set(R.SP, /^Push/.test(builder.mnemonic) ? 0n : /32|d_/.test(builder.encoding.form.name) ? 0xfffcn : 0xfffen);
}

/** ENTER with levels copies from the old frame chain: RBP points into the stack. */
function frameChain(builder: InputBuilder): void {
  const offset = BigInt(0x900 + 8 * builder.random.below(32));
  if (builder.mode === 16) builder.setWithRest(R.BP, 0x8100n + offset);
  else builder.set(R.RBP, BigInt(STACK_ADDRESS) + offset);
}

function framePointer(builder: InputBuilder): void {
  const offset = BigInt(builder.random.below(0xf00));
  if (builder.mode === 16) builder.setWithRest(R.BP, 0x8000n + offset);
  else builder.set(R.RBP, BigInt(STACK_ADDRESS) + offset);
}

/** Two thirds of the cases lie within the bounds. */
function bounds(builder: InputBuilder): void {
  const { instruction, random, operandAddress } = builder;
  if (operandAddress === undefined) return;
  const width = operandWidth(instruction, 0);
  const index = BigInt.asIntN(width, builder.get(instruction.op0Register));
  const [lower, upper] = random.oneIn(3)
    ? [index + 1n, index + 9n]
    : [index - BigInt(random.below(3)), index + BigInt(random.below(3))];
  const value = BigInt.asUintN(width, lower) | (BigInt.asUintN(width, upper) << BigInt(width));
  builder.patch(operandAddress, value, width / 4);
}

function smallCount(builder: InputBuilder): void {
  const { random, encoding } = builder;
  const counter = /_RCX$|Jrcxz/.test(encoding.form.name)
    ? R.RCX
    : /_ECX$|Jecxz/.test(encoding.form.name)
      ? R.ECX
      : R.CX;
  builder.setWithRest(
    builder.mode !== 64 && counter === R.RCX ? R.ECX : counter,
    BigInt(random.pick([0, 1, 2, 0x100, random.u32()])),
  );
}

/** 16-bit mode: a selector to load, wherever the instruction takes it from, is one whose segment exists. */
function loadSelector(builder: InputBuilder): void {
  const { random, instruction, operandAddress, encoding } = builder;
  if (builder.mode !== 16) return;
  const selector = BigInt(random.pick(REAL_MODE_DATA_SELECTORS));
  const name = encoding.form.name;
  if (/^L[defgs]s_/.test(name) && operandAddress !== undefined) {
    builder.patch(operandAddress + MemorySizeExt.size(instruction.memorySize) - 2, selector, 2);
  } else if (/^Mov_Sreg_/.test(name)) {
    if (operandAddress === undefined) builder.set(instruction.op1Register, (BigInt(random.u32()) << 16n) | selector);
    else builder.patch(operandAddress, selector, 2);
  } else if (/^Pop[wd]_[DEFGS]S$/.test(name)) {
    builder.patch(builder.stackAddress, selector, 2);
  }
}
